import { TranslationBundle } from '@jupyterlab/translation';
import { addIcon, stopIcon } from '@jupyterlab/ui-components';
import * as React from 'react';

import {
  Button,
  Empty,
  formatBytes,
  formatDuration,
  harmless,
  IconButton,
  Loading,
  parseTime,
  RelativeTime,
  Trouble,
  useSignal
} from '../components';
import {
  Actions,
  Detail,
  Facts,
  ListPage,
  ObjectTable,
  powerIcon,
  Section,
  snapshotIcon
} from '../list';
import { IMlsvc } from '../tokens';
import { IExecution, ISession } from './api';
import { SessionsModel } from './model';
import { IHistory, SessionDetail } from './open';
import { Output } from './output';
import { SessionCommandIDs } from './tokens';

interface IViewProps {
  model: SessionsModel;
  mlsvc: IMlsvc;
}

/**
 * The list of sessions, or the one that is open.
 */
export function Sessions(props: IViewProps): React.ReactElement {
  const { model } = props;
  useSignal(model.changed);
  return model.open ? (
    <OpenSession key={model.open.id} {...props} detail={model.open} />
  ) : (
    <SessionList {...props} />
  );
}

function SessionList({ model, mlsvc }: IViewProps): React.ReactElement {
  const { trans, app } = mlsvc;
  const execute = (command: string) => () => {
    void app.commands.execute(command);
  };
  const start = execute(SessionCommandIDs.start);
  const close = execute(SessionCommandIDs.close);
  return (
    <ListPage
      label={trans.__('Sessions')}
      className="jp-MlsvcSessions"
      model={model}
      trans={trans}
      actions={[
        {
          icon: stopIcon,
          label: trans.__('Interrupt'),
          execute: execute(SessionCommandIDs.interrupt)
        },
        { icon: powerIcon, label: trans.__('Close'), execute: close }
      ]}
      aside={<IconButton icon={addIcon} label={trans.__('Start a session')} onClick={start} />}
      empty={
        <Empty title={trans.__('No sessions')}>
          <p>
            {trans.__(
              'A session is an interpreter on the server. %1 in a notebook starts one, and keeps its objects there.',
              '%%remote_exec'
            )}
          </p>
          <div>
            <Button onClick={start}>{trans.__('Start a session')}</Button>
          </div>
        </Empty>
      }
      render={session => <SessionLines session={session} trans={trans} />}
      onDelete={close}
    />
  );
}

function SessionLines(props: { session: ISession; trans: TranslationBundle }): React.ReactElement {
  const { session, trans } = props;
  const { name, runtimeType, creationTime, memoryBytes } = session;
  const about = [stateText(session, trans), leaseText(session, trans), runtimeType];
  return (
    <>
      <span className="jp-MlsvcList-line">
        <span className="jp-MlsvcSessions-dot" data-state={session.state} aria-hidden="true" />
        <span className="jp-MlsvcList-name" title={harmless(name)}>
          {harmless(name)}
        </span>
        <span className="jp-MlsvcList-aside">
          {typeof memoryBytes === 'number' && (
            <span title={trans.__('Memory')}>{formatBytes(memoryBytes)}</span>
          )}
        </span>
      </span>
      <span className="jp-MlsvcList-line jp-mod-second">
        <span className="jp-MlsvcList-text">{about.filter(Boolean).join(', ')}</span>
        <span className="jp-MlsvcList-aside">
          <RelativeTime time={creationTime} trans={trans} />
        </span>
      </span>
    </>
  );
}

function State(props: { session: ISession; trans: TranslationBundle }): React.ReactElement {
  const { session, trans } = props;
  return (
    <span className="jp-MlsvcSessions-state">
      <span className="jp-MlsvcSessions-dot" data-state={session.state} aria-hidden="true" />
      {stateText(session, trans)}
    </span>
  );
}

function stateText({ state, queued = 0 }: ISession, trans: TranslationBundle): string {
  switch (state) {
    case 'starting':
      return trans.__('starting');
    case 'busy':
      return queued > 0 ? trans._n('busy, %1 waits', 'busy, %1 wait', queued) : trans.__('busy');
    default:
      return trans.__('idle');
  }
}

function leaseText(session: ISession, trans: TranslationBundle): string {
  const { leaseSeconds, state } = session;
  return state === 'idle' && typeof leaseSeconds === 'number'
    ? trans.__('closes in %1', formatDuration(leaseSeconds, trans))
    : '';
}

// --- one session ---------------------------------------------------------------------------------

function OpenSession(props: IViewProps & { detail: SessionDetail }): React.ReactElement {
  const { detail, model, mlsvc } = props;
  const { trans, app } = mlsvc;
  useSignal(detail.changed);
  const { session, isGone } = detail;
  const back = trans.__('Back to the sessions');
  const leave = (): void => {
    model.show(null);
  };
  const execute = (command: string) => () => {
    void app.commands.execute(command, { id: detail.id });
  };
  return (
    <Detail
      title={session ? harmless(session.name) : trans.__('Session')}
      back={back}
      trans={trans}
      onBack={leave}
      actions={
        !isGone && (
          <Actions
            actions={[
              {
                icon: stopIcon,
                label: trans.__('Interrupt'),
                isDisabled: session?.state !== 'busy',
                execute: execute(SessionCommandIDs.interrupt)
              },
              {
                icon: snapshotIcon,
                label: trans.__('Take a snapshot'),
                execute: execute(SessionCommandIDs.snapshot)
              },
              {
                icon: powerIcon,
                label: trans.__('Close the session'),
                execute: execute(SessionCommandIDs.close)
              }
            ]}
          />
        )
      }
    >
      {isGone && (
        <Empty title={trans.__('This session has ended')}>
          <p>
            {trans.__(
              'It was closed, nobody used it for long, or its interpreter ended. Its objects are gone.'
            )}
          </p>
          <div>
            <Button onClick={leave}>{back}</Button>
          </div>
        </Empty>
      )}
      {session && !isGone && <SessionFacts session={session} trans={trans} />}
      {!session && !isGone && <Loading trans={trans} />}
      {session && <Console detail={detail} trans={trans} />}
      {session && !isGone && (
        <>
          <Objects detail={detail} trans={trans} />
          <History detail={detail} trans={trans} />
        </>
      )}
    </Detail>
  );
}

function SessionFacts(props: { session: ISession; trans: TranslationBundle }): React.ReactElement {
  const { session, trans } = props;
  const { runtimeType, creationTime, memoryBytes, leaseSeconds, idleSeconds, state, id } = session;
  return (
    <Facts
      facts={[
        [trans.__('State'), <State key="state" session={session} trans={trans} />],
        [trans.__('Runtime'), runtimeType],
        [trans.__('Started'), <RelativeTime key="time" time={creationTime} trans={trans} />],
        [
          trans.__('Memory'),
          typeof memoryBytes === 'number' ? formatBytes(memoryBytes) : trans.__('unknown')
        ],
        [
          trans.__('Unused for'),
          state === 'idle' && typeof idleSeconds === 'number'
            ? formatDuration(idleSeconds, trans)
            : null
        ],
        [
          trans.__('Closes'),
          typeof leaseSeconds === 'number'
            ? trans.__('after %1 more without use', formatDuration(leaseSeconds, trans))
            : leaseSeconds === null
              ? trans.__('only when you close it')
              : null
        ],
        [trans.__('Id'), <code key="id">{id}</code>]
      ]}
    />
  );
}

function Console(props: { detail: SessionDetail; trans: TranslationBundle }): React.ReactElement {
  const { detail, trans } = props;
  const { console: log, history } = detail;
  useSignal(log.changed);
  useSignal(history.changed);
  const shown = history.value?.executions.find(
    ({ executionId }) => executionId === log.executionId
  );
  const isEmpty = log.outputs.length === 0;
  const hasError = log.outputs.some(output => output.output_type === 'error');
  return (
    <Section title={detail.isFollowing ? trans.__('Console') : trans.__('Console, earlier output')}>
      {shown && <Code code={shown.code} />}
      {log.executionId === null && (
        <p className="jp-MlsvcDetail-hint">{trans.__('Nothing was run here yet.')}</p>
      )}
      {log.executionId !== null && <Output log={log} label={trans.__('Console')} />}
      <p className="jp-MlsvcDetail-hint" role="status">
        {log.isRunning && log.executionId !== null && (
          <>
            <span className="jp-Mlsvc-spinner" aria-hidden="true" /> {trans.__('running')}
          </>
        )}
        {!log.isRunning && isEmpty && log.executionId !== null && !log.trouble
          ? trans.__('It put out nothing.')
          : ''}
      </p>
      {log.trouble && (
        <p className="jp-MlsvcDetail-problem" role="alert">
          {log.trouble}
        </p>
      )}
      {shown?.state === 'failed' && !hasError && shown.errorMessage && (
        <p className="jp-MlsvcDetail-problem">{shown.errorMessage}</p>
      )}
      {!detail.isFollowing && (
        <Button
          onClick={() => {
            detail.choose(null);
          }}
        >
          {trans.__('Back to the newest')}
        </Button>
      )}
    </Section>
  );
}

function Code({ code }: { code: string }): React.ReactElement {
  return (
    <pre className="jp-MlsvcDetail-code" tabIndex={0}>
      {code.trim()}
    </pre>
  );
}

function Objects(props: { detail: SessionDetail; trans: TranslationBundle }): React.ReactElement {
  const { detail, trans } = props;
  const { objects, session } = detail;
  useSignal(objects.changed);
  const list = objects.value;
  const isWaiting = session?.state !== 'idle';
  return (
    <Section title={trans.__('Objects')} count={list?.length}>
      {objects.trouble && (
        <Trouble trouble={objects.trouble} trans={trans} onRetry={() => void objects.load()} />
      )}
      {isWaiting && (
        <p className="jp-MlsvcDetail-hint" role="status">
          {list
            ? trans.__('As they were before the code that runs.')
            : trans.__('They are listed when the code that runs is done.')}
        </p>
      )}
      {!list && !isWaiting && !objects.trouble && <Loading trans={trans} />}
      {list?.length === 0 && (
        <p className="jp-MlsvcDetail-hint">{trans.__('The workspace is empty.')}</p>
      )}
      {list && list.length > 0 && (
        <ObjectTable label={trans.__('Objects')} objects={list} trans={trans} />
      )}
    </Section>
  );
}

function History(props: { detail: SessionDetail; trans: TranslationBundle }): React.ReactElement {
  const { detail, trans } = props;
  const { history } = detail;
  useSignal(history.changed);
  const value = history.value;
  const count = value && value.executions.length + value.earlier.length;
  return (
    <Section title={trans.__('History')} count={count}>
      {history.trouble && (
        <Trouble trouble={history.trouble} trans={trans} onRetry={() => void history.load()} />
      )}
      {!value && !history.trouble && <Loading trans={trans} />}
      {count === 0 && (
        <p className="jp-MlsvcDetail-hint">{trans.__('Nothing was run here yet.')}</p>
      )}
      {value && <Entries value={value} detail={detail} trans={trans} />}
    </Section>
  );
}

function Entries(props: {
  value: IHistory;
  detail: SessionDetail;
  trans: TranslationBundle;
}): React.ReactElement {
  const { value, detail, trans } = props;
  useSignal(detail.console.changed);
  return (
    <ol className="jp-MlsvcSessions-history" aria-label={trans.__('History, newest first')}>
      {value.executions.map(execution => (
        <li key={execution.executionId}>
          <button
            type="button"
            className="jp-MlsvcSessions-entry"
            aria-pressed={detail.console.executionId === execution.executionId}
            title={trans.__('Show its output')}
            onClick={() => {
              detail.choose(execution.executionId);
            }}
          >
            <code>{firstLines(execution.code)}</code>
            <span className="jp-MlsvcDetail-hint" data-state={execution.state}>
              {outcome(execution, trans)}
            </span>
          </button>
        </li>
      ))}
      {value.earlier.map((code, at) => (
        <li key={value.earlier.length - at} className="jp-MlsvcSessions-earlier">
          <code>{firstLines(code)}</code>
        </li>
      ))}
    </ol>
  );
}

const LINES = 3;

function firstLines(code: string): string {
  const lines = code.trim().split('\n');
  return lines.length > LINES ? `${lines.slice(0, LINES).join('\n')}\n…` : lines.join('\n');
}

function outcome(execution: IExecution, trans: TranslationBundle): string {
  const { state, startTime, endTime, errorMessage } = execution;
  const start = parseTime(startTime);
  const end = parseTime(endTime);
  const took = start && end ? formatDuration((end.getTime() - start.getTime()) / 1000, trans) : '';
  const word = {
    queued: trans.__('waits'),
    running: trans.__('runs'),
    succeeded: took ? trans.__('took %1', took) : trans.__('done'),
    failed: errorMessage ? trans.__('failed: %1', errorMessage) : trans.__('failed'),
    cancelled: trans.__('cancelled')
  }[state];
  return word;
}
