import * as React from 'react';

import { formatBytes } from '../components';
import { otherNames, parameterDraft, typeOfObject } from './draft';
import { IFormProps } from './form';

/**
 * Names that the code reads and that are no inputs: where each comes from.
 */
export function OtherNames(props: IFormProps): React.ReactElement | null {
  const { suggestion, draft, trans, edit } = props;
  const names = otherNames(suggestion, draft);
  const { place } = draft;
  if (names.session.length + names.notebook.length + names.missing.length === 0) {
    return null;
  }
  const makeInput = (name: string): void => {
    const suggested = suggestion.inputs.find(input => input.name === name);
    const row = suggested
      ? parameterDraft(name, suggested.type, suggested.example, suggested.source)
      : parameterDraft(name, typeOfObject(suggestion, name));
    edit({ inputs: [...draft.inputs, row] });
  };
  const items = (list: string[]): React.ReactElement => (
    <ul className="jp-MlsvcPublish-names">
      {list.map(name => (
        <li key={name}>
          <code>{name}</code>
          <MakeInput name={name} trans={trans} onClick={makeInput} />
        </li>
      ))}
    </ul>
  );
  return (
    <div
      className="jp-MlsvcPublish-group"
      role="group"
      aria-label={trans.__('Other names that the code reads')}
    >
      {names.session.length > 0 && (
        <>
          <p>
            {place.kind === 'snapshot'
              ? trans.__('Found in the snapshot:')
              : trans.__('Found in the session:')}
          </p>
          {items(names.session)}
        </>
      )}
      {names.notebook.length > 0 && place.kind === 'session' && (
        <>
          <p>{trans.__('Only in this notebook; sent to the session first:')}</p>
          <ul className="jp-MlsvcPublish-names">
            {names.notebook.map(name => (
              <li key={name}>
                <label>
                  <input
                    type="checkbox"
                    aria-label={trans.__('Send %1', name)}
                    checked={!draft.kept.includes(name)}
                    onChange={event => {
                      const others = draft.kept.filter(kept => kept !== name);
                      edit({ kept: event.target.checked ? others : [...others, name] });
                    }}
                  />
                  <code>{name}</code>
                  <span className="jp-MlsvcPublish-hint">{sizeOf(suggestion, name)}</span>
                </label>
                <MakeInput name={name} trans={trans} onClick={makeInput} />
              </li>
            ))}
          </ul>
        </>
      )}
      {names.notebook.length > 0 && place.kind !== 'session' && (
        <>
          <p className="jp-MlsvcPublish-problem">
            {trans.__('Only in this notebook, so calls would not find them:')}
          </p>
          {items(names.notebook)}
        </>
      )}
      {names.missing.length > 0 && (
        <>
          <p className="jp-MlsvcPublish-problem">
            {place.kind === 'nothing'
              ? trans.__('Calls would not find these; make them inputs, or choose a session:')
              : trans.__('Nowhere to be found, so calls would fail; make them inputs:')}
          </p>
          {items(names.missing)}
        </>
      )}
    </div>
  );
}

function MakeInput(props: {
  name: string;
  trans: IFormProps['trans'];
  onClick: (name: string) => void;
}): React.ReactElement {
  const { name, trans, onClick } = props;
  return (
    <button
      type="button"
      className="jp-MlsvcPublish-link"
      aria-label={trans.__('Make %1 an input', name)}
      onClick={() => {
        onClick(name);
      }}
    >
      {trans.__('make it an input')}
    </button>
  );
}

function sizeOf(suggestion: IFormProps['suggestion'], name: string): string {
  const object = suggestion.sendable.find(each => each.name === name);
  if (!object) {
    return '';
  }
  return object.size ? `${object.type}, ${formatBytes(object.size)}` : object.type;
}
