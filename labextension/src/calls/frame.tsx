import * as React from 'react';

import { harmless } from './components';
import { IColumnDefinition, IParameterDefinition } from './api';
import { formatTable, pasted } from './grid';
import { ITranslation } from './translation';
import { isNumeric } from './values';

/**
 * Rows of a grid that are shown; more are left to the text.
 */
const SHOWN_ROWS = 50;

interface IGridProps {
  input: IParameterDefinition;
  table: string[][];
  id: string;
  isInvalid: boolean;
  describedBy: string;
  trans: ITranslation;
  onChange: (text: string) => void;
}

/**
 * A data.frame by its columns: a field for each of one row, a grid of several.
 */
export function FrameFields(props: IGridProps): React.ReactElement {
  const { input, table, trans, onChange } = props;
  const [names = [], ...rows] = table;
  const columns = names.map(
    name => input.columns?.find(column => column.name === name) ?? { name }
  );
  const set = (row: number, column: number, value: string): void => {
    const changed = table.map(line => [...line]);
    const line = changed[row + 1];
    if (line) {
      line[column] = value;
    }
    onChange(formatTable(changed));
  };
  const paste = (event: React.ClipboardEvent, row: number, column: number): void => {
    const text = event.clipboardData.getData('text/plain');
    if (/[\t\n]/.test(text.trim())) {
      event.preventDefault();
      onChange(formatTable(pasted(table, text, row + 1, column)));
    }
  };
  const shown = rows.slice(0, SHOWN_ROWS);
  return (
    <>
      {rows.length === 1 ? (
        <div className="jp-Mlsvc-columns">
          {columns.map((column, at) => (
            <div className="jp-Mlsvc-column" key={column.name}>
              <label htmlFor={`${props.id}-${at}`}>
                <span className="jp-Mlsvc-parameter">{harmless(column.name)}</span>{' '}
                <span className="jp-Mlsvc-type">{column.type}</span>
              </label>
              <Cell
                {...props}
                column={column}
                id={`${props.id}-${at}`}
                value={rows[0]?.[at] ?? ''}
                onChange={value => {
                  set(0, at, value);
                }}
                onPaste={event => {
                  paste(event, 0, at);
                }}
              />
              {column.description && (
                <div className="jp-Mlsvc-note jp-Mlsvc-faint">{harmless(column.description)}</div>
              )}
            </div>
          ))}
        </div>
      ) : (
        <div className="jp-Mlsvc-grid" tabIndex={-1}>
          <table>
            <thead>
              <tr>
                {columns.map(column => (
                  <th key={column.name} scope="col" title={column.description}>
                    {harmless(column.name)}
                  </th>
                ))}
                <td />
              </tr>
            </thead>
            <tbody>
              {shown.map((line, row) => (
                <tr key={row}>
                  {columns.map((column, at) => (
                    <td key={column.name}>
                      <Cell
                        {...props}
                        column={column}
                        id={`${props.id}-${row}-${at}`}
                        label={trans.__('%1 of row %2', column.name, row + 1)}
                        value={line[at] ?? ''}
                        onChange={value => {
                          set(row, at, value);
                        }}
                        onPaste={event => {
                          paste(event, row, at);
                        }}
                      />
                    </td>
                  ))}
                  <td>
                    <button
                      type="button"
                      className="jp-Mlsvc-link"
                      aria-label={trans.__('Remove row %1', row + 1)}
                      onClick={() => {
                        onChange(formatTable(table.filter((_, i) => i !== row + 1)));
                      }}
                    >
                      ×
                    </button>
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      {rows.length > SHOWN_ROWS && (
        <div className="jp-Mlsvc-note jp-Mlsvc-faint">
          {trans.__('%1 rows, of which the first %2 are shown.', rows.length, SHOWN_ROWS)}
        </div>
      )}
      <button
        type="button"
        className="jp-Mlsvc-link"
        onClick={() => {
          onChange(formatTable([...table, names.map(() => '')]));
        }}
      >
        {trans.__('Add a row')}
      </button>
    </>
  );
}

function Cell(props: {
  column: IColumnDefinition;
  id: string;
  label?: string;
  value: string;
  isInvalid: boolean;
  describedBy: string;
  trans: ITranslation;
  onChange: (value: string) => void;
  onPaste: (event: React.ClipboardEvent) => void;
}): React.ReactElement {
  const { column, id, label, value, isInvalid, describedBy, trans, onChange, onPaste } = props;
  const common = {
    id,
    'aria-label': label,
    'aria-invalid': isInvalid,
    'aria-describedby': describedBy,
    className: `jp-mod-styled jp-Mlsvc-input ${column.type?.startsWith('datetime') ? 'jp-mod-time' : ''}`,
    value
  };
  const choices = choicesOf(column);
  if (choices && (value === '' || choices.includes(value))) {
    return (
      <select
        {...common}
        onChange={event => {
          onChange(event.target.value);
        }}
      >
        <option value="">{column.nullable === false ? '' : trans.__('(none)')}</option>
        {choices.map(choice => (
          <option key={choice} value={choice}>
            {choice}
          </option>
        ))}
      </select>
    );
  }
  return (
    <input
      {...common}
      type="text"
      inputMode={isNumeric(column) ? 'decimal' : 'text'}
      placeholder={placeholderOf(column, trans)}
      spellCheck={false}
      autoComplete="off"
      onChange={event => {
        onChange(event.target.value);
      }}
      onPaste={onPaste}
    />
  );
}

function choicesOf({ type = '', categories }: IColumnDefinition): string[] | null {
  if (categories?.length) {
    return categories.map(String);
  }
  return type.startsWith('bool') ? ['true', 'false'] : null;
}

function placeholderOf(
  { type = '', minimum, maximum, nullable }: IColumnDefinition,
  trans: ITranslation
): string {
  if (/^(datetime64|timestamp)/.test(type)) {
    return type.includes(',') ? '2024-01-31T12:00:00Z' : '2024-01-31';
  }
  if (typeof minimum === 'number' && typeof maximum === 'number') {
    return trans.__('%1 to %2', minimum, maximum);
  }
  return nullable === true ? trans.__('may be missing') : '';
}
