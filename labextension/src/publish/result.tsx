import { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { IPublished } from './suggestion';

/**
 * Characters of what a check answered and printed that are shown.
 */
const SHOWN = 4000;

/**
 * What was published, and what calling it once showed.
 */
export function Result(props: {
  published: IPublished;
  trans: TranslationBundle;
}): React.ReactElement {
  const { published, trans } = props;
  const { name, version, url, notes, check = null, checkText = '' } = published;
  const hasFailed = check !== null && !check.success && check.errorMessage !== '';
  const outputs = Object.entries(check?.outputParameters ?? {});
  // Some of it is told while it is published, too.
  const sentences = new Set([...notes, ...(check?.notes ?? [])]);
  sentences.delete(checkText);
  return (
    <div className="jp-MlsvcPublish-result" role="status">
      <p className="jp-MlsvcPublish-groupTitle">{trans.__('%1 %2 is published.', name, version)}</p>
      <p>
        <code>{url}</code>
      </p>
      {hasFailed ? (
        <div className="jp-MlsvcPublish-failure">
          <p>{trans.__('Calls will fail: %1', check.errorMessage)}</p>
        </div>
      ) : (
        checkText && <p>{checkText}</p>
      )}
      {outputs.length > 0 && (
        <details>
          <summary>{trans.__('What it answered')}</summary>
          <pre tabIndex={0}>
            {cut(outputs.map(([key, value]) => `${key} = ${JSON.stringify(value)}`).join('\n'))}
          </pre>
        </details>
      )}
      {check?.consoleOutput && (
        <>
          <p>{trans.__('It printed:')}</p>
          <pre tabIndex={0}>{cut(check.consoleOutput)}</pre>
        </>
      )}
      {sentences.size > 0 && (
        <ul className="jp-MlsvcPublish-notes" aria-label={trans.__('Notes')}>
          {[...sentences].map(note => (
            <li key={note}>{note}</li>
          ))}
        </ul>
      )}
      <p className="jp-MlsvcPublish-hint">
        {trans.__('A cell that calls it is added to the notebook.')}
      </p>
    </div>
  );
}

function cut(text: string): string {
  return text.length > SHOWN ? `${text.slice(0, SHOWN)}…` : text;
}
