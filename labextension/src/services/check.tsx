import { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { RelativeTime } from '../components';
import { IPublishCheck } from '../calls/api';

/**
 * Characters of an answer, and of what was printed, that are shown.
 */
const SHOWN = 4000;

/**
 * What trying a version showed when it was published.
 */
export function PublishCheck(props: {
  check: IPublishCheck;
  trans: TranslationBundle;
}): React.ReactElement {
  const { check, trans } = props;
  const outputs = Object.entries(check.outputParameters);
  return (
    <>
      <p>
        {outcomeOf(check, trans)}{' '}
        {check.time && (
          <span className="jp-Mlsvc-faint">
            <RelativeTime time={check.time} trans={trans} />
          </span>
        )}
      </p>
      {check.errorMessage && (
        <div className="jp-Mlsvc-notice jp-mod-trouble">
          <pre className="jp-Mlsvc-console" tabIndex={0}>
            {cut(check.errorMessage)}
          </pre>
        </div>
      )}
      {outputs.length > 0 && (
        <>
          <p>{trans.__('It answered:')}</p>
          <pre className="jp-Mlsvc-console" tabIndex={0}>
            {cut(outputs.map(([name, value]) => `${name} = ${JSON.stringify(value)}`).join('\n'))}
          </pre>
        </>
      )}
      {check.consoleOutput && (
        <>
          <p>{trans.__('It printed:')}</p>
          <pre className="jp-Mlsvc-console" tabIndex={0}>
            {cut(check.consoleOutput)}
          </pre>
        </>
      )}
      {check.notes.length > 0 && (
        <ul aria-label={trans.__('Notes of the publish check')}>
          {check.notes.map(note => (
            <li key={note}>{note}</li>
          ))}
        </ul>
      )}
    </>
  );
}

function outcomeOf({ called, success }: IPublishCheck, trans: TranslationBundle): string {
  if (!success) {
    return called ? trans.__('Tried with a call, which failed.') : trans.__('It did not start.');
  }
  return called ? trans.__('Tried with a call.') : trans.__('Tried without a call: it starts.');
}

function cut(text: string): string {
  return text.length > SHOWN ? `${text.slice(0, SHOWN)}…` : text;
}
