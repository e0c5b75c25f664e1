import * as React from 'react';

import { copyIcon, copyText, formatBytes, IconButton } from './components';
import { IParameterDefinition, IServiceResult } from './api';
import { formatRows } from './csv';
import { fileImageUrl, imageUrl } from './images';
import { ITranslation } from './translation';

/**
 * Rows of a table, and elements of a vector, that are drawn; the copy has all.
 */
const MAX_ROWS = 100;
const MAX_ELEMENTS = 500;

/**
 * What a call gave: outputs as text, table or image, files, and what was printed.
 */
export function Outputs(props: {
  result: IServiceResult;
  definitions: readonly IParameterDefinition[];
  trans: ITranslation;
}): React.ReactElement {
  const { result, definitions, trans } = props;
  const types = new Map(definitions.map(({ name, type }) => [name, type]));
  const outputs = Object.entries(result.outputParameters);
  const files = Object.entries(result.outputFiles);
  return (
    <div className="jp-Mlsvc-outputs">
      {outputs.map(([name, value]) => (
        <Output key={name} name={name} type={types.get(name) ?? ''} value={value} trans={trans} />
      ))}
      {files.map(([name, content]) => (
        <OutputFile key={name} name={name} content={content} trans={trans} />
      ))}
      {result.success && outputs.length === 0 && files.length === 0 && (
        <p className="jp-Mlsvc-faint">{trans.__('The service has no outputs.')}</p>
      )}
      {result.consoleOutput && (
        <section className="jp-Mlsvc-output" aria-label={trans.__('Printed')}>
          <h5>{trans.__('Printed')}</h5>
          <pre className="jp-Mlsvc-console" tabIndex={0}>
            {result.consoleOutput}
          </pre>
        </section>
      )}
    </div>
  );
}

function Output(props: {
  name: string;
  type: string;
  value: unknown;
  trans: ITranslation;
}): React.ReactElement {
  const { name, type, value, trans } = props;
  const table = tableOf(value, type);
  const text = (): string =>
    table
      ? formatRows(table.header ? [table.header, ...table.rows] : table.rows)
      : typeof value === 'string'
        ? value
        : JSON.stringify(value);
  return (
    <section className="jp-Mlsvc-output" aria-label={name} data-output={name}>
      <h5>
        <span className="jp-Mlsvc-parameter">{name}</span>
        <span className="jp-Mlsvc-type">{type}</span>
        <IconButton
          icon={copyIcon}
          label={trans.__('Copy %1', name)}
          onClick={() => {
            copyText(text());
          }}
        />
      </h5>
      {table ? (
        <Table {...table} label={name} trans={trans} />
      ) : (
        <Value value={value} name={name} trans={trans} />
      )}
    </section>
  );
}

function Value(props: { value: unknown; name: string; trans: ITranslation }): React.ReactElement {
  const { value, name, trans } = props;
  if (typeof value === 'string') {
    const url = imageUrl(value);
    return url ? (
      <img className="jp-Mlsvc-image" src={url} alt={trans.__('Image %1', name)} />
    ) : (
      <Text>{value}</Text>
    );
  }
  if (Array.isArray(value) && value.every(isScalar)) {
    const shown = value.slice(0, MAX_ELEMENTS).map(elementText).join(', ');
    const left = value.length - MAX_ELEMENTS;
    return (
      <Text>
        {(value.length === 0 ? trans.__('(empty)') : shown) +
          (left > 0 ? trans._n(' … and %1 more', ' … and %1 more', left) : '')}
      </Text>
    );
  }
  return isScalar(value) ? (
    <Text>{textOf(value)}</Text>
  ) : (
    <pre className="jp-Mlsvc-console" tabIndex={0}>
      {JSON.stringify(value, null, 2)}
    </pre>
  );
}

/**
 * Characters from which on a value may have to be scrolled, by keys as well.
 */
const LONG = 500;

function Text(props: { children: string }): React.ReactElement {
  const { children } = props;
  return (
    <output className="jp-Mlsvc-value" tabIndex={children.length > LONG ? 0 : undefined}>
      {children}
    </output>
  );
}

interface ITable {
  header: string[] | null;
  rows: unknown[][];
}

function Table(props: ITable & { label: string; trans: ITranslation }): React.ReactElement {
  const { header, rows, label, trans } = props;
  return (
    <>
      <div className="jp-Mlsvc-tableFrame" tabIndex={0} role="group" aria-label={label}>
        <table className="jp-Mlsvc-table">
          {header && (
            <thead>
              <tr>
                {header.map((name, i) => (
                  <th key={i} scope="col">
                    {name}
                  </th>
                ))}
              </tr>
            </thead>
          )}
          <tbody>
            {rows.slice(0, MAX_ROWS).map((row, i) => (
              <tr key={i}>
                {row.map((cell, j) => (
                  <td key={j} className={typeof cell === 'number' ? 'jp-mod-number' : ''}>
                    {textOf(cell)}
                  </td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {rows.length > MAX_ROWS && (
        <p className="jp-Mlsvc-faint">
          {trans.__('The first %1 of %2 rows; a copy has all.', MAX_ROWS, rows.length)}
        </p>
      )}
    </>
  );
}

function OutputFile(props: {
  name: string;
  content: string | null;
  trans: ITranslation;
}): React.ReactElement {
  const { name, content, trans } = props;
  const image = content === null ? null : fileImageUrl(name, content);
  return (
    <section className="jp-Mlsvc-output" aria-label={name} data-output-file={name}>
      <h5>
        <span className="jp-Mlsvc-parameter">{name}</span>
        <span className="jp-Mlsvc-type">
          {content === null ? '' : formatBytes(sizeOf(content))}
        </span>
      </h5>
      {image && <img className="jp-Mlsvc-image" src={image} alt={trans.__('Image %1', name)} />}
      {content === null ? (
        <p className="jp-Mlsvc-faint">{trans.__('The code did not write this file.')}</p>
      ) : (
        <a download={name} href={`data:application/octet-stream;base64,${content}`}>
          {trans.__('Download %1', name)}
        </a>
      )}
    </section>
  );
}

/**
 * Take a matrix or a data frame for a table; null for anything else.
 */
export function tableOf(value: unknown, type: string): ITable | null {
  if (Array.isArray(value) && value.length > 0 && value.every(Array.isArray)) {
    return { header: null, rows: value as unknown[][] };
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return null;
  }
  const columns = Object.entries(value);
  if (type !== 'data.frame' || !columns.every(([, column]) => Array.isArray(column))) {
    return null;
  }
  const count = Math.max(0, ...columns.map(([, column]) => (column as unknown[]).length));
  return {
    header: columns.map(([name]) => name),
    rows: Array.from({ length: count }, (_, i) =>
      columns.map(([, column]) => (column as unknown[])[i] ?? null)
    )
  };
}

function isScalar(value: unknown): boolean {
  return value === null || typeof value !== 'object';
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value ?? null);
}

/**
 * Write an element of a list so that it can be told from its neighbours, and typed into a form.
 */
function elementText(value: unknown): string {
  return typeof value === 'string' && (value === '' || /[,"\n]|^\s|\s$/.test(value))
    ? `"${value.replaceAll('"', '""')}"`
    : textOf(value);
}

function sizeOf(base64: string): number {
  return Math.floor((base64.length * 3) / 4) - (/=*$/.exec(base64)?.[0].length ?? 0);
}
