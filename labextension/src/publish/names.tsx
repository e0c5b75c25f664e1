import * as React from 'react';

import { formatBytes } from '../components';
import { IDraft, otherNames, parameterDraft, typeOfObject } from './draft';
import { IFormProps } from './props';
import { IWorkspaceObject } from './suggestion';

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
      ? parameterDraft(name, suggested.type, suggested)
      : parameterDraft(name, typeOfObject(suggestion, name));
    edit({ inputs: [...draft.inputs, row] });
  };
  const items = (
    list: string[],
    render: (name: string) => React.ReactNode = () => null
  ): React.ReactElement => (
    <ul className="jp-MlsvcPublish-names">
      {list.map(name => (
        <li key={name}>
          <code>{name}</code>
          {render(name)}
          {name !== suggestion.function && (
            <MakeInput name={name} trans={trans} onClick={makeInput} />
          )}
        </li>
      ))}
    </ul>
  );
  const sendable = (name: string): IWorkspaceObject | undefined =>
    suggestion.sendable.find(each => each.name === name);
  const isElsewhere = (name: string): boolean =>
    place.kind === 'session' && (sendable(name)?.reason ?? 'missing') !== 'missing';
  const size = (name: string): React.ReactElement => (
    <span className="jp-MlsvcPublish-hint">{sizeOf(sendable(name))}</span>
  );
  const plain = names.notebook.filter(name => !isElsewhere(name));
  const contested = names.notebook.filter(isElsewhere);
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
      {contested.length > 0 && (
        <ul className="jp-MlsvcPublish-contested">
          {contested.map(name => (
            <Contested
              key={name}
              {...props}
              name={name}
              object={sendable(name)}
              onMakeInput={makeInput}
            />
          ))}
        </ul>
      )}
      {plain.length > 0 && place.kind !== 'snapshot' && (
        <>
          <p>
            {place.kind === 'session'
              ? trans.__('Only in this notebook; sent to the session first:')
              : trans.__('Sent along from this notebook:')}
          </p>
          {items(plain, size)}
        </>
      )}
      {plain.length > 0 && place.kind === 'snapshot' && (
        <>
          <p className="jp-MlsvcPublish-problem">
            {trans.__('Only in this notebook, so calls would not find them:')}
          </p>
          {items(plain)}
        </>
      )}
      {names.missing.length > 0 && (
        <>
          <p className="jp-MlsvcPublish-problem">
            {trans.__(
              'Not there yet. Run the cells above first, or make them inputs; else calls fail:'
            )}
          </p>
          {items(names.missing)}
        </>
      )}
    </div>
  );
}

/**
 * An object that the notebook has otherwise than the session, and which of the two is taken.
 */
function Contested(
  props: IFormProps & {
    name: string;
    object: IWorkspaceObject | undefined;
    onMakeInput: (name: string) => void;
  }
): React.ReactElement {
  const { suggestion, draft, trans, edit, name, object, onMakeInput } = props;
  const isKept = draft.kept.includes(name);
  const keep = (value: boolean): Pick<IDraft, 'kept'> => ({
    kept: value ? [...draft.kept, name] : draft.kept.filter(other => other !== name)
  });
  const isDifferent = object?.reason === 'differs';
  return (
    <li>
      <span>
        <code>{name}</code>{' '}
        {isKept
          ? trans.__('stays as the session has it; this notebook’s is not sent')
          : isDifferent
            ? trans.__('differs from the session’s; this notebook’s is sent')
            : trans.__('could not be compared with the session’s; this notebook’s is sent')}{' '}
        <span className="jp-MlsvcPublish-hint">{sizeOf(object)}</span>
        {name !== suggestion.function && (
          <MakeInput name={name} trans={trans} onClick={onMakeInput} />
        )}
      </span>
      <label>
        <input
          type="checkbox"
          role="switch"
          aria-label={trans.__('Keep the session’s %1', name)}
          checked={isKept}
          onChange={event => {
            edit(keep(event.target.checked));
          }}
        />
        {trans.__('keep the session’s')}
      </label>
    </li>
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

function sizeOf(object: IWorkspaceObject | undefined): string {
  if (!object) {
    return '';
  }
  return object.size ? `${object.type}, ${formatBytes(object.size)}` : object.type;
}
