import { TranslationBundle } from '@jupyterlab/translation';
import { JSONValue } from '@lumino/coreutils';
import * as React from 'react';

import { IColumnDefinition } from '../calls/api';
import { Text } from './fields';
import { exampleOf, IParameterDraft, shownOf, Shows } from './draft';

/**
 * Rows of an example that are looked at.
 */
const SHOWN_ROWS = 5;

/**
 * What callers see of an input: a sentence, its columns, and an example where its publisher says so.
 */
export function InputDescription(props: {
  row: IParameterDraft;
  trans: TranslationBundle;
  onChange: (values: Partial<IParameterDraft>) => void;
}): React.ReactElement {
  const { row, trans, onChange } = props;
  const { columns } = row;
  const name = row.name || trans.__('the input');
  return (
    <details className="jp-MlsvcPublish-described">
      <summary>{trans.__('What callers see of %1', name)}</summary>
      <Text
        label={trans.__('Description of %1', name)}
        value={row.description}
        placeholder={trans.__('What it is, in which unit')}
        onChange={description => {
          onChange({ description });
        }}
      />
      {columns && row.type === 'data.frame' && (
        <Columns
          columns={columns}
          name={name}
          trans={trans}
          onChange={changed => {
            onChange({ columns: changed });
          }}
        />
      )}
      <ShownExample {...props} name={name} />
    </details>
  );
}

function Columns(props: {
  columns: readonly IColumnDefinition[];
  name: string;
  trans: TranslationBundle;
  onChange: (columns: IColumnDefinition[]) => void;
}): React.ReactElement {
  const { columns, name, trans, onChange } = props;
  const change = (at: number, values: Partial<IColumnDefinition>): void => {
    onChange(columns.map((column, i) => (i === at ? { ...column, ...values } : column)));
  };
  return (
    <div className="jp-MlsvcPublish-table" tabIndex={0}>
      <table>
        <caption>{trans.__('Columns of %1', name)}</caption>
        <thead>
          <tr>
            <th scope="col">{trans.__('Column')}</th>
            <th scope="col">{trans.__('Type')}</th>
            <th scope="col">{trans.__('May be missing')}</th>
            <th scope="col">{trans.__('Description')}</th>
          </tr>
        </thead>
        <tbody>
          {columns.map((column, at) => (
            <tr key={column.name}>
              <th scope="row">{column.name}</th>
              <td>
                <input
                  className="jp-mod-styled"
                  aria-label={trans.__('Type of %1', column.name)}
                  placeholder={trans.__('any')}
                  spellCheck={false}
                  autoComplete="off"
                  value={column.type ?? ''}
                  onChange={event => {
                    change(at, { type: event.target.value });
                  }}
                />
                {column.type === 'category' && (column.categories?.length ?? 0) > 0 && (
                  <label title={column.categories?.map(String).join(', ')}>
                    <input
                      type="checkbox"
                      checked={column.hideCategories !== true}
                      onChange={event => {
                        change(at, { hideCategories: !event.target.checked });
                      }}
                    />
                    {trans._n(
                      'Show its %1 value',
                      'Show its %1 values',
                      column.categories?.length ?? 0
                    )}
                  </label>
                )}
              </td>
              <td>
                <select
                  className="jp-mod-styled"
                  aria-label={trans.__('Whether %1 may be missing', column.name)}
                  value={
                    column.nullable === true ? 'yes' : column.nullable === false ? 'no' : 'unknown'
                  }
                  onChange={event => {
                    const { value } = event.target;
                    change(at, { nullable: value === 'unknown' ? null : value === 'yes' });
                  }}
                >
                  <option value="unknown">{trans.__('not said')}</option>
                  <option value="yes">{trans.__('yes')}</option>
                  <option value="no">{trans.__('no')}</option>
                </select>
              </td>
              <td>
                <input
                  className="jp-mod-styled"
                  aria-label={trans.__('Description of %1', column.name)}
                  value={column.description ?? ''}
                  onChange={event => {
                    change(at, { description: event.target.value });
                  }}
                />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/**
 * What is shown of the notebook's data, or in its place; nothing until somebody chooses.
 */
function ShownExample(props: {
  row: IParameterDraft;
  name: string;
  trans: TranslationBundle;
  onChange: (values: Partial<IParameterDraft>) => void;
}): React.ReactElement {
  const { row, name, trans, onChange } = props;
  const group = React.useId();
  const choices: [Shows, string][] = [
    ['none', trans.__('No example')],
    ['data', trans.__('The values of this notebook, and what the service answers to them')],
    ['synthetic', trans.__('A synthetic example: made-up values of the same types')]
  ];
  const hasData = exampleOf(row) !== undefined;
  const shown = shownOf(row);
  return (
    <fieldset className="jp-MlsvcPublish-shown">
      <legend>{trans.__('Example of %1 for callers', name)}</legend>
      {choices.map(([value, text]) => (
        <label key={value}>
          <input
            type="radio"
            name={group}
            checked={row.shows === value}
            disabled={value === 'data' && !hasData}
            onChange={() => {
              onChange({ shows: value });
            }}
          />
          {text}
        </label>
      ))}
      {shown === undefined ? (
        hasData && (
          <>
            <p className="jp-MlsvcPublish-hint">
              {trans.__('Callers do not see these values; they serve to try the service once:')}
            </p>
            <Value value={exampleOf(row) ?? null} trans={trans} />
          </>
        )
      ) : (
        <>
          <p className="jp-MlsvcPublish-hint">{trans.__('Callers see:')}</p>
          <Value value={shown} trans={trans} />
        </>
      )}
    </fieldset>
  );
}

function Value(props: { value: JSONValue; trans: TranslationBundle }): React.ReactElement {
  const { value, trans } = props;
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return <pre tabIndex={0}>{JSON.stringify(value)}</pre>;
  }
  const columns = Object.entries(value);
  const height = Math.max(
    0,
    ...columns.map(([, cells]) => (Array.isArray(cells) ? cells.length : 0))
  );
  return (
    <div className="jp-MlsvcPublish-table" tabIndex={0}>
      <table>
        <caption className="jp-MlsvcPublish-hidden">{trans.__('Example')}</caption>
        <thead>
          <tr>
            {columns.map(([name]) => (
              <th key={name} scope="col">
                {name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {Array.from({ length: Math.min(height, SHOWN_ROWS) }, (_, i) => (
            <tr key={i}>
              {columns.map(([name, cells]) => (
                <td key={name}>{Array.isArray(cells) ? cellText(cells[i]) : ''}</td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function cellText(cell: JSONValue | undefined): string {
  return cell === null || cell === undefined
    ? '–'
    : typeof cell === 'string'
      ? cell
      : JSON.stringify(cell);
}
