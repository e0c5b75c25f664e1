import * as React from 'react';

import { formatBytes } from '../components';
import { Place } from './draft';
import { IFormProps } from './props';
import { ISuggestion } from './suggestion';

/**
 * Chooses where the objects come from that the code finds, and shows what is there.
 *
 * Who has neither sessions nor snapshots has nothing to choose, and need not know of them.
 */
export function PlaceChoice(
  props: IFormProps & { ask: (place: Place) => void }
): React.ReactElement | null {
  const { suggestion, draft, trans, edit, ask } = props;
  const id = React.useId();
  const { session, snapshots } = suggestion;
  const sessions = new Set(suggestion.sessions);
  if (session?.exists) {
    sessions.add(session.name);
  }
  if (draft.place.kind === 'session') {
    sessions.add(draft.place.name);
  }
  const choose = (key: string): void => {
    const place = placeOf(key);
    if (place.kind === 'notebook') {
      edit({ place });
    } else {
      ask(place);
    }
  };
  if (sessions.size === 0 && snapshots.length === 0) {
    return null;
  }
  return (
    <div
      className="jp-MlsvcPublish-group"
      role="group"
      aria-label={trans.__('Objects that the code finds')}
    >
      <div className="jp-MlsvcPublish-field">
        <label htmlFor={id}>{trans.__('Objects that the code finds come from')}</label>
        <select
          id={id}
          className="jp-mod-styled"
          value={keyOf(draft.place)}
          onChange={event => {
            choose(event.target.value);
          }}
        >
          <option value={keyOf({ kind: 'notebook' })}>{trans.__('This notebook')}</option>
          {sessions.size > 0 && (
            <optgroup label={trans.__('This notebook and the session')}>
              {[...sessions].map(name => (
                <option key={name} value={keyOf({ kind: 'session', name })}>
                  {trans.__('Session %1', name)}
                </option>
              ))}
            </optgroup>
          )}
          {snapshots.length > 0 && (
            <optgroup label={trans.__('The snapshot')}>
              {snapshots.map(snapshot => (
                <option key={snapshot.id} value={keyOf({ kind: 'snapshot', id: snapshot.id })}>
                  {trans.__('Snapshot %1', snapshot.name || snapshot.id)}
                </option>
              ))}
            </optgroup>
          )}
        </select>
      </div>
      {draft.place.kind !== 'notebook' && <Objects suggestion={suggestion} trans={trans} />}
    </div>
  );
}

function Objects(props: {
  suggestion: ISuggestion;
  trans: IFormProps['trans'];
}): React.ReactElement {
  const { suggestion, trans } = props;
  const { objects, snapshotSize } = suggestion;
  if (objects.length === 0) {
    return <p className="jp-MlsvcPublish-hint">{trans.__('It holds no objects yet.')}</p>;
  }
  return (
    <details>
      <summary>
        {trans._n(
          '%1 object, about %2',
          '%1 objects, about %2',
          objects.length,
          formatBytes(snapshotSize)
        )}
      </summary>
      <table className="jp-MlsvcPublish-objects">
        <thead>
          <tr>
            <th scope="col">{trans.__('Object')}</th>
            <th scope="col">{trans.__('Type')}</th>
            <th scope="col">{trans.__('Size')}</th>
          </tr>
        </thead>
        <tbody>
          {objects.map(({ name, type, size }) => (
            <tr key={name}>
              <td>{name}</td>
              <td>{type}</td>
              <td>{size === null ? '' : formatBytes(size)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </details>
  );
}

function keyOf(place: Place): string {
  switch (place.kind) {
    case 'session':
      return `session:${place.name}`;
    case 'snapshot':
      return `snapshot:${place.id}`;
    case 'notebook':
      return 'notebook';
  }
}

function placeOf(key: string): Place {
  const at = key.indexOf(':');
  const rest = key.slice(at + 1);
  switch (key.slice(0, Math.max(at, 0))) {
    case 'session':
      return { kind: 'session', name: rest };
    case 'snapshot':
      return { kind: 'snapshot', id: rest };
    default:
      return { kind: 'notebook' };
  }
}
