import * as React from 'react';

import { IFormProps } from './props';

/**
 * What becomes a service; a choice where the cell makes a model.
 */
export function KindChoice(props: IFormProps): React.ReactElement | null {
  const { suggestion, draft, trans, edit } = props;
  const name = React.useId();
  if (suggestion.kind === 'function') {
    return (
      <p className="jp-MlsvcPublish-hint">
        {trans.__(
          'Each call of the service calls the function %1: its parameters are the inputs.',
          suggestion.function ?? ''
        )}
      </p>
    );
  }
  if (suggestion.kind !== 'model') {
    return null;
  }
  const choice = (kind: 'model' | 'code', label: string, hint: string): React.ReactElement => (
    <label>
      <input
        type="radio"
        name={name}
        checked={draft.kind === kind}
        onChange={() => {
          edit({ kind });
        }}
      />
      <span>
        {label} <span className="jp-MlsvcPublish-hint">{hint}</span>
      </span>
    </label>
  );
  return (
    <div
      className="jp-MlsvcPublish-group"
      role="radiogroup"
      aria-label={trans.__('What becomes the service')}
    >
      <div className="jp-MlsvcPublish-groupTitle" aria-hidden="true">
        {trans.__('What becomes the service')}
      </div>
      {choice(
        'model',
        trans.__('The fitted model %1', suggestion.model ?? ''),
        trans.__('Callers send rows and get predictions, in real time.')
      )}
      {choice('code', trans.__('The code of the cell'), trans.__('It runs anew for each call.'))}
    </div>
  );
}
