import { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { Loading, parseTime, useSignal } from '../components';
import { IServiceLogEntry } from '../calls/api';
import { ServicesModel } from './model';

/**
 * What the code of the open version has printed and raised, newest first.
 */
export function Log(props: { model: ServicesModel; trans: TranslationBundle }): React.ReactElement {
  const { model, trans } = props;
  useSignal(model.changed);
  const { log, logTrouble } = model;
  return (
    <>
      {logTrouble && (
        <div className="jp-Mlsvc-notice jp-mod-trouble" role="alert">
          <p className="jp-Mlsvc-noticeTitle">{trans.__('The log cannot be read')}</p>
          <p>{logTrouble}</p>
        </div>
      )}
      {!log && !logTrouble && <Loading trans={trans} />}
      {log?.length === 0 && (
        <p className="jp-Mlsvc-faint">
          {trans.__('Nothing was printed, and nothing failed, since the server started.')}
        </p>
      )}
      {log && log.length > 0 && (
        <ol className="jp-Mlsvc-log" aria-label={trans.__('Log')}>
          {log.map(entry => (
            <Entry key={entry.id} entry={entry} trans={trans} />
          ))}
        </ol>
      )}
    </>
  );
}

function Entry(props: { entry: IServiceLogEntry; trans: TranslationBundle }): React.ReactElement {
  const { entry, trans } = props;
  const time = parseTime(entry.time);
  const isError = entry.level === 'error';
  return (
    <li className={isError ? 'jp-mod-error' : ''}>
      <p className="jp-Mlsvc-faint">
        {time && (
          <time dateTime={time.toISOString()} title={time.toLocaleString()}>
            {time.toLocaleTimeString()}
          </time>
        )}
        {isError && <strong>{trans.__('Error')}</strong>}
        {entry.requestId && (
          <span>
            {trans.__('Request')} <code>{entry.requestId}</code>
          </span>
        )}
      </p>
      {entry.problem && <p className="jp-Mlsvc-problem">{entry.problem}</p>}
      {entry.text && (
        <pre className="jp-Mlsvc-console" tabIndex={0}>
          {entry.text}
        </pre>
      )}
    </li>
  );
}
