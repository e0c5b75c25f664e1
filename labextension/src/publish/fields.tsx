import * as React from 'react';

interface IFieldProps {
  label: string;
  value: string;
  placeholder?: string;
  problem?: string | null;
  input?: React.Ref<HTMLInputElement>;

  /**
   * Name of the field, for those who look for it in the page.
   */
  field?: string;
  onChange: (value: string) => void;
}

/**
 * A labelled line of text.
 */
export function Text(props: IFieldProps): React.ReactElement {
  const { label, value, placeholder, problem = null, input, field, onChange } = props;
  const id = React.useId();
  return (
    <div className="jp-MlsvcPublish-field">
      <label htmlFor={id}>{label}</label>
      <input
        id={id}
        ref={input}
        data-field={field}
        className="jp-mod-styled"
        value={value}
        placeholder={placeholder}
        spellCheck={false}
        autoComplete="off"
        aria-invalid={problem !== null}
        aria-describedby={problem === null ? undefined : `${id}-problem`}
        onChange={event => {
          onChange(event.target.value);
        }}
      />
      {problem !== null && (
        <span className="jp-MlsvcPublish-problem" id={`${id}-problem`}>
          {problem}
        </span>
      )}
    </div>
  );
}

/**
 * A labelled text of several lines.
 */
export function Area(props: IFieldProps & { rows: number }): React.ReactElement {
  const { label, value, rows, problem = null, onChange } = props;
  const id = React.useId();
  return (
    <div className="jp-MlsvcPublish-field">
      <label htmlFor={id}>{label}</label>
      <textarea
        id={id}
        className="jp-mod-styled jp-MlsvcPublish-code"
        value={value}
        rows={rows}
        spellCheck={false}
        aria-invalid={problem !== null}
        aria-describedby={problem === null ? undefined : `${id}-problem`}
        onChange={event => {
          onChange(event.target.value);
        }}
      />
      {problem !== null && (
        <span className="jp-MlsvcPublish-problem" id={`${id}-problem`}>
          {problem}
        </span>
      )}
    </div>
  );
}
