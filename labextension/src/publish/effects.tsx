import { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

/**
 * Whether calls change what is elsewhere, so that none of them may run twice.
 */
export function EffectsTick(props: {
  isChecked: boolean;
  trans: TranslationBundle;
  onChange: (isChecked: boolean) => void;
}): React.ReactElement {
  const { isChecked, trans, onChange } = props;
  const id = React.useId();
  return (
    <div className="jp-MlsvcPublish-field">
      <label>
        <input
          type="checkbox"
          data-field="effects"
          checked={isChecked}
          aria-describedby={`${id}-hint`}
          onChange={event => {
            onChange(event.target.checked);
          }}
        />
        {trans.__('Calls change things elsewhere, such as a table or an account')}
      </label>
      <span className="jp-MlsvcPublish-hint" id={`${id}-hint`}>
        {isChecked
          ? trans.__('A call whose process is lost is not run again; its caller gets an error.')
          : trans.__('A call whose process is lost is run once more.')}
      </span>
    </div>
  );
}
