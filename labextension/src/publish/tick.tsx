import * as React from 'react';

/**
 * A box to tick, with a sentence on what that does.
 */
export function Tick(props: {
  field: string;
  label: string;
  hint: string;
  isChecked: boolean;
  onChange: (isChecked: boolean) => void;
}): React.ReactElement {
  const { field, label, hint, isChecked, onChange } = props;
  const id = React.useId();
  return (
    <div className="jp-MlsvcPublish-field">
      <label>
        <input
          type="checkbox"
          data-field={field}
          checked={isChecked}
          aria-describedby={`${id}-hint`}
          onChange={event => {
            onChange(event.target.checked);
          }}
        />
        {label}
      </label>
      <span className="jp-MlsvcPublish-hint" id={`${id}-hint`}>
        {hint}
      </span>
    </div>
  );
}
