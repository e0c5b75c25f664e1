import * as React from 'react';

import { IColumnDefinition, IItemsDefinition, IParameterDefinition, IServiceVersion } from './api';
import { harmless, harmlessLines } from './components';
import { spaced } from './snippets';
import { ITranslation } from './translation';

/**
 * Longest example, in characters, that is shown in a table.
 */
const SHOWN = 200;

/**
 * Inputs, outputs and files of a version.
 */
export function Schema(props: {
  service: IServiceVersion;
  trans: ITranslation;
}): React.ReactElement {
  const { service, trans } = props;
  const { outputFileNames: files = [] } = service;
  return (
    <>
      <Parameters
        title={trans.__('Inputs')}
        none={trans.__('No inputs')}
        parameters={service.inputParameterDefinitions ?? []}
        trans={trans}
      />
      <Parameters
        title={trans.__('Outputs')}
        none={trans.__('No outputs')}
        parameters={service.outputParameterDefinitions ?? []}
        trans={trans}
      />
      {files.length > 0 && <p>{trans.__('Files: %1', harmless(files.join(', ')))}</p>}
    </>
  );
}

/**
 * Inputs or outputs of a version: names and types, what is said of them, and their columns.
 */
function Parameters(props: {
  title: string;
  none: string;
  parameters: readonly IParameterDefinition[];
  trans: ITranslation;
}): React.ReactElement {
  const { title, none, parameters, trans } = props;
  if (parameters.length === 0) {
    return <p className="jp-Mlsvc-faint">{none}</p>;
  }
  return (
    <table className="jp-Mlsvc-table jp-mod-wide jp-mod-schema">
      <caption>{title}</caption>
      <thead>
        <tr>
          <th scope="col">{trans.__('Name')}</th>
          <th scope="col">{trans.__('Type')}</th>
        </tr>
      </thead>
      <tbody>
        {parameters.map(parameter => (
          <React.Fragment key={parameter.name}>
            <Row
              name={parameter.name}
              type={typeOf(parameter)}
              notes={notesOf(parameter, trans)}
              text={parameter.description}
            />
            {(parameter.columns ?? []).map(column => (
              <Row
                key={column.name}
                isColumn
                name={column.name}
                type={column.type ?? ''}
                notes={limitsOf(column, trans)}
                text={column.description}
              />
            ))}
          </React.Fragment>
        ))}
      </tbody>
    </table>
  );
}

function Row(props: {
  name: string;
  type: string;
  notes: readonly string[];
  text?: string | undefined;
  isColumn?: boolean;
}): React.ReactElement {
  const { name, type, notes, text, isColumn = false } = props;
  return (
    <tr className={isColumn ? 'jp-mod-column' : ''}>
      <td className="jp-Mlsvc-parameter">{harmless(name)}</td>
      <td>
        {type}
        {text && <p className="jp-Mlsvc-text">{harmlessLines(text)}</p>}
        {notes.length > 0 && <p className="jp-Mlsvc-faint">{notes.join('; ')}</p>}
      </td>
    </tr>
  );
}

function typeOf({ type, items, shape }: IParameterDefinition): string {
  const lengths = (shape ?? []).map(length => length ?? 'n').join(' × ');
  return [type, lengths && `[${lengths}]`, items?.type && `(${items.type})`]
    .filter(Boolean)
    .join(' ');
}

function notesOf(parameter: IParameterDefinition, trans: ITranslation): string[] {
  const { items, example } = parameter;
  return [
    ...(items ? limitsOf(items, trans) : []),
    ...(parameter.default === undefined
      ? []
      : [trans.__('may be left out, then it is %1', cut(parameter.default))]),
    ...(example === undefined ? [] : [trans.__('for example %1', cut(example))])
  ];
}

function limitsOf(of: IItemsDefinition | IColumnDefinition, trans: ITranslation): string[] {
  const { categories, minimum, maximum, nullable } = of;
  const isNumber = (value: number | null | undefined): value is number => typeof value === 'number';
  const range =
    isNumber(minimum) && isNumber(maximum)
      ? trans.__('from %1 to %2', minimum, maximum)
      : isNumber(minimum)
        ? trans.__('at least %1', minimum)
        : isNumber(maximum)
          ? trans.__('at most %1', maximum)
          : '';
  return [
    categories ? trans.__('one of %1', harmless(categories.map(spaced).join(', '))) : '',
    range,
    nullable === true ? trans.__('may be missing') : ''
  ].filter(Boolean);
}

function cut(value: unknown): string {
  const text = harmless(spaced(value));
  return text.length > SHOWN ? `${text.slice(0, SHOWN)}…` : text;
}
