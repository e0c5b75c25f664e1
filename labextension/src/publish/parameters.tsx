import { TranslationBundle } from '@jupyterlab/translation';
import { addIcon, closeIcon } from '@jupyterlab/ui-components';
import * as React from 'react';

import { InputDescription } from './description';
import { IParameterDraft, parameterDraft, Problem } from './draft';
import { IFormProps } from './props';
import { PARAMETER_TYPES } from './suggestion';

/**
 * The inputs or the outputs, a row each.
 */
export function Parameters(props: IFormProps & { side: 'inputs' | 'outputs' }): React.ReactElement {
  const { draft, problems, trans, edit, side } = props;
  const rows = draft[side];
  const list = React.useRef<HTMLDivElement>(null);
  const focus = React.useRef<{ row: number; field: string } | null>(null);
  const words = wordsFor(side, trans);

  // A row that came or went takes or leaves the focus.
  React.useEffect(() => {
    const { row, field } = focus.current ?? { row: -1, field: '' };
    focus.current = null;
    if (field) {
      const fields = list.current?.querySelectorAll<HTMLElement>(`[data-field="${field}"]`);
      const add = list.current?.querySelector<HTMLElement>('[data-field="add"]');
      (fields?.[Math.min(row, fields.length - 1)] ?? add)?.focus();
    }
  }, [rows.length]);

  const change = (key: number, values: Partial<IParameterDraft>): void => {
    edit({ [side]: rows.map(row => (row.key === key ? { ...row, ...values } : row)) });
  };
  return (
    <div className="jp-MlsvcPublish-group" role="group" aria-label={words.title} ref={list}>
      <div className="jp-MlsvcPublish-groupTitle" aria-hidden="true">
        {words.title}
      </div>
      {rows.length === 0 && <p className="jp-MlsvcPublish-hint">{words.none}</p>}
      {side === 'outputs' && problems.some(({ kind }) => kind === 'no-parameters') && (
        <p className="jp-MlsvcPublish-problem" role="status">
          {trans.__('A service needs an input or an output: assign the result to a variable.')}
        </p>
      )}
      {rows.map((row, at) => (
        <Parameter
          key={row.key}
          row={row}
          number={at + 1}
          side={side}
          problem={problems.find(problem => 'key' in problem && problem.key === row.key)}
          trans={trans}
          onChange={values => {
            change(row.key, values);
          }}
          onRemove={() => {
            focus.current = { row: at, field: 'remove' };
            edit({ [side]: rows.filter(({ key }) => key !== row.key) });
          }}
        />
      ))}
      <button
        type="button"
        className="jp-mod-styled jp-MlsvcPublish-button"
        data-field="add"
        onClick={() => {
          focus.current = { row: rows.length, field: 'name' };
          edit({ [side]: [...rows, parameterDraft()] });
        }}
      >
        <addIcon.react tag="span" aria-hidden="true" />
        {words.add}
      </button>
    </div>
  );
}

function Parameter(props: {
  row: IParameterDraft;
  number: number;
  side: 'inputs' | 'outputs';
  problem: Problem | undefined;
  trans: TranslationBundle;
  onChange: (values: Partial<IParameterDraft>) => void;
  onRemove: () => void;
}): React.ReactElement {
  const { row, number, side, problem, trans, onChange, onRemove } = props;
  const id = React.useId();
  const words = wordsFor(side, trans);
  const types: string[] = [...PARAMETER_TYPES];
  if (!types.includes(row.type)) {
    types.push(row.type);
  }
  const described = problem ? { 'aria-describedby': `${id}-problem` } : {};
  return (
    <div className="jp-MlsvcPublish-row">
      <input
        className="jp-mod-styled"
        data-field="name"
        aria-label={words.name(number)}
        aria-invalid={problem?.kind === 'no-identifier' || problem?.kind === 'twice'}
        {...described}
        placeholder={trans.__('name')}
        spellCheck={false}
        autoComplete="off"
        value={row.name}
        onChange={event => {
          onChange({ name: event.target.value });
        }}
      />
      <select
        className="jp-mod-styled"
        aria-label={words.type(number)}
        value={row.type}
        onChange={event => {
          onChange({ type: event.target.value, isKnown: true });
        }}
      >
        {types.map(type => (
          <option key={type} value={type}>
            {type || trans.__('found out')}
          </option>
        ))}
      </select>
      {side === 'inputs' ? (
        <input
          className="jp-mod-styled jp-MlsvcPublish-example"
          aria-label={words.example(number)}
          aria-invalid={problem?.kind === 'no-json'}
          {...described}
          placeholder={
            row.default === undefined
              ? trans.__('example')
              : trans.__('%1, where it is left out', JSON.stringify(row.default))
          }
          title={trans.__('A value to call it with, as JSON; it goes into the cell with the call.')}
          spellCheck={false}
          autoComplete="off"
          value={row.example}
          onChange={event => {
            onChange({ example: event.target.value });
          }}
        />
      ) : (
        <span className="jp-MlsvcPublish-example" title={row.example}>
          {row.example}
        </span>
      )}
      <button
        type="button"
        className="jp-MlsvcPublish-icon"
        data-field="remove"
        title={words.remove(row.name)}
        aria-label={words.remove(row.name)}
        onClick={onRemove}
      >
        <closeIcon.react tag="span" aria-hidden="true" />
      </button>
      {side === 'inputs' && row.source === 'unknown' && row.name && (
        <span className="jp-MlsvcPublish-hint jp-MlsvcPublish-unset">
          {trans.__(
            '“%1” has no value yet. Run the cells above first if one of them makes it.',
            row.name
          )}
        </span>
      )}
      {side === 'inputs' && <InputDescription row={row} trans={trans} onChange={onChange} />}
      {problem && (
        <span className="jp-MlsvcPublish-problem" id={`${id}-problem`}>
          {problemText(problem, trans)}
        </span>
      )}
    </div>
  );
}

function problemText(problem: Problem, trans: TranslationBundle): string {
  switch (problem.kind) {
    case 'no-identifier':
      return problem.name
        ? trans.__('“%1” is no name of a variable.', problem.name)
        : trans.__('The variable has no name.');
    case 'twice':
      return trans.__('“%1” is there already.', problem.name);
    case 'no-json':
      return trans.__('The example is no JSON, such as 7.5, "text", true or [1, 2].');
    default:
      return '';
  }
}

interface IWords {
  title: string;
  none: string;
  add: string;
  name: (number: number) => string;
  type: (number: number) => string;
  example: (number: number) => string;
  remove: (name: string) => string;
}

function wordsFor(side: 'inputs' | 'outputs', trans: TranslationBundle): IWords {
  return side === 'inputs'
    ? {
        title: trans.__('Inputs'),
        none: trans.__('None: callers send nothing.'),
        add: trans.__('Add an input'),
        name: number => trans.__('Name of input %1', number),
        type: number => trans.__('Type of input %1', number),
        example: number => trans.__('Example of input %1', number),
        remove: name => trans.__('Remove input %1', name)
      }
    : {
        title: trans.__('Outputs'),
        none: trans.__('None: callers get only what the code prints, and files.'),
        add: trans.__('Add an output'),
        name: number => trans.__('Name of output %1', number),
        type: number => trans.__('Type of output %1', number),
        example: number => trans.__('Example of output %1', number),
        remove: name => trans.__('Remove output %1', name)
      };
}
