import * as React from 'react';

import {
  Button,
  Empty,
  formatBytes,
  formatDuration,
  harmless,
  RelativeTime
} from '../calls/components';
import { messageOf } from '../calls/error';
import { ITranslation } from '../calls/translation';
import { ISession } from './panel';
import { IPanelProps, Question } from './view';

/**
 * The reader's sessions, and what can be done with each.
 */
export function Sessions(props: IPanelProps): React.ReactElement {
  const { model, trans } = props;
  const [said, setSaid] = React.useState('');
  return (
    <>
      {model.sessions.length === 0 && (
        <Empty title={trans.__('No sessions')}>
          <p>{trans.__('%1 starts one, and keeps its objects there.', '%%remote_exec')}</p>
        </Empty>
      )}
      <ul className="jp-MlsvcWidget-list" aria-label={trans.__('Sessions')}>
        {model.sessions.map(session => (
          <Line key={session.id} {...props} session={session} onSaid={setSaid} />
        ))}
      </ul>
      <p className="jp-MlsvcWidget-said" role="status">
        {said}
      </p>
    </>
  );
}

function Line(
  props: IPanelProps & { session: ISession; onSaid: (text: string) => void }
): React.ReactElement {
  const { model, trans, session, onSaid } = props;
  const [isAsked, setAsked] = React.useState(false);
  const name = harmless(session.name);
  const act = async (action: () => Promise<string>): Promise<void> => {
    onSaid(trans.__('Working…'));
    try {
      onSaid(await action());
    } catch (error) {
      onSaid(messageOf(error));
    }
  };
  const interrupt = async (): Promise<string> => {
    await model.interrupt(session);
    return trans.__('Interrupted session “%1”.', name);
  };
  const keep = async (): Promise<string> => {
    const skipped = await model.snapshot(session);
    const taken = trans.__('Took a snapshot of session “%1”, named like it.', name);
    return skipped.length === 0
      ? taken
      : `${taken} ${trans.__('It could not keep %1.', harmless(skipped.join(', ')))}`;
  };
  return (
    <li className="jp-MlsvcWidget-session" data-session={session.name}>
      <span className="jp-Mlsvc-line">
        <span className="jp-MlsvcWidget-name">{name}</span>
        <span className="jp-Mlsvc-faint">{about(session, trans)}</span>
        <span className="jp-Mlsvc-aside" title={trans.__('Started')}>
          <RelativeTime time={session.creationTime} trans={trans} />
        </span>
      </span>
      <span className="jp-Mlsvc-formActions">
        <Button disabled={session.state !== 'busy'} onClick={() => void act(interrupt)}>
          {trans.__('Interrupt')}
        </Button>
        <Button onClick={() => void act(keep)}>{trans.__('Take a snapshot')}</Button>
        <Button
          onClick={() => {
            setAsked(true);
          }}
        >
          {trans.__('Close…')}
        </Button>
      </span>
      {isAsked && (
        <Question
          text={`${trans.__('Close session “%1”? Its variables go with it.', name)}${
            session.state === 'busy' ? ` ${trans.__('It is running code now.')}` : ''
          }`}
          verb={trans.__('Close')}
          trans={trans}
          act={() => model.close(session)}
          onDone={() => {
            onSaid(trans.__('Closed session “%1”.', name));
          }}
          onLeft={() => {
            setAsked(false);
          }}
        />
      )}
    </li>
  );
}

function about(session: ISession, trans: ITranslation): string {
  const { state, queued = 0, memoryBytes, leaseSeconds } = session;
  return [
    state === 'busy'
      ? queued > 0
        ? trans._n('busy, %1 waits', 'busy, %1 wait', queued)
        : trans.__('busy')
      : state === 'starting'
        ? trans.__('starting')
        : trans.__('idle'),
    typeof memoryBytes === 'number' && formatBytes(memoryBytes),
    state === 'idle' &&
      typeof leaseSeconds === 'number' &&
      trans.__('closes in %1', formatDuration(leaseSeconds, trans))
  ]
    .filter(Boolean)
    .join(', ');
}
