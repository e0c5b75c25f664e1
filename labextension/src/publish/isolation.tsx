import { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { Isolation } from './suggestion';

/**
 * Choice of what a call may see of the calls before it.
 */
export function IsolationChoice(props: {
  value: Isolation | '';
  trans: TranslationBundle;
  onChange: (value: Isolation | '') => void;
}): React.ReactElement {
  const { value, trans, onChange } = props;
  const id = React.useId();
  const choices: Record<Isolation | '', { label: string; hint: string }> = {
    '': {
      label: trans.__('As the server does by itself (worker)'),
      hint: trans.__('What a call changes is put back, or its process is replaced.')
    },
    worker: {
      label: trans.__('worker: processes are shared, changes are put back'),
      hint: trans.__('What a call changes is put back, or its process is replaced.')
    },
    call: {
      label: trans.__('call: a process for each call'),
      hint: trans.__('No call sees anything of another. Each call takes some milliseconds longer.')
    },
    none: {
      label: trans.__('none: calls share what they change'),
      hint: trans.__('For caches, counters and connections. Each process has its own.')
    }
  };
  return (
    <div className="jp-MlsvcPublish-field">
      <label htmlFor={id}>{trans.__('Isolation of calls')}</label>
      <select
        id={id}
        className="jp-mod-styled"
        data-field="isolation"
        value={value}
        aria-describedby={`${id}-hint`}
        onChange={event => {
          onChange(event.target.value as Isolation | '');
        }}
      >
        {Object.entries(choices).map(([key, { label }]) => (
          <option key={key} value={key}>
            {label}
          </option>
        ))}
      </select>
      <span className="jp-MlsvcPublish-hint" id={`${id}-hint`}>
        {choices[value].hint}
      </span>
    </div>
  );
}
