import * as React from 'react';

import { Button, formatMilliseconds, harmless, useSignal } from './components';
import { IParameterDefinition, IServiceVersion } from './api';
import { TryForm } from './form';
import { FrameFields } from './frame';
import { gridOf } from './grid';
import { Outputs } from './outputs';
import { streams } from './stream';
import { ITranslation } from './translation';
import { textOfValue } from './values';

/**
 * A form made from a version's inputs, and what the last call gave.
 */
export function TryIt(props: {
  service: IServiceVersion;
  form: TryForm;
  trans: ITranslation;
  onRun: () => void;
  onCancel: () => void;
}): React.ReactElement {
  const { service, form, trans, onRun, onCancel } = props;
  useSignal(form.changed);
  const element = React.useRef<HTMLFormElement>(null);
  const isRunning = form.run.state === 'running';
  const firstProblem = form.inputs.find(({ name }) => form.problem(name) !== null)?.name;
  React.useEffect(() => {
    if (firstProblem !== undefined && !isRunning) {
      element.current?.querySelector<HTMLElement>('[aria-invalid="true"]')?.focus();
    }
    // Only when a run found it, not while it is mended.
  }, [form.run, firstProblem]);
  return (
    <form
      className="jp-Mlsvc-form"
      ref={element}
      aria-label={trans.__('Inputs of %1 %2', service.name, service.version)}
      noValidate
      onSubmit={event => {
        event.preventDefault();
        onRun();
      }}
    >
      {form.inputs.length === 0 && (
        <p className="jp-Mlsvc-faint">{trans.__('The service takes no inputs.')}</p>
      )}
      {form.inputs.map(input => (
        <Field key={input.name} input={input} form={form} trans={trans} />
      ))}
      <div className="jp-Mlsvc-formActions">
        {/* Not disabled while it runs: it would lose the focus. */}
        <Button type="submit" kind="accept" aria-disabled={isRunning}>
          {trans.__('Run')}
        </Button>
        {isRunning ? (
          <Button onClick={onCancel}>
            {streams(service) ? trans.__('Stop') : trans.__('Cancel')}
          </Button>
        ) : (
          <Button
            onClick={() => {
              form.clear();
            }}
          >
            {trans.__('Clear')}
          </Button>
        )}
        <RunStatus form={form} trans={trans} />
      </div>
      <RunResult service={service} form={form} trans={trans} />
    </form>
  );
}

/**
 * Inputs that take a whole table, by paste or from a file.
 */
const TABLES = new Set(['matrix', 'data.frame']);

function Field(props: {
  input: IParameterDefinition;
  form: TryForm;
  trans: ITranslation;
}): React.ReactElement {
  const { input, form, trans } = props;
  const { name, type } = input;
  const id = React.useId();
  const problem = form.problem(name);
  const text = form.text(name);
  const summary = text.trim() === '' ? '' : (form.parsed(input)?.summary ?? '');
  const common = {
    id,
    name,
    'aria-invalid': problem !== null,
    'aria-describedby': `${id}-note`,
    spellCheck: false,
    autoComplete: 'off'
  };
  const onType = (event: React.ChangeEvent<HTMLInputElement | HTMLTextAreaElement>): void => {
    form.type(name, event.target.value);
  };
  const [isText, setIsText] = React.useState(false);
  const grid = isText ? null : gridOf(input, text, trans);
  let field: React.ReactElement;
  if (grid) {
    field = (
      <FrameFields
        input={input}
        table={grid}
        id={id}
        isInvalid={problem !== null}
        describedBy={`${id}-note`}
        trans={trans}
        onChange={changed => {
          form.type(name, changed);
        }}
      />
    );
  } else if (type === 'logical') {
    field = (
      <input
        {...common}
        type="checkbox"
        role="switch"
        className="jp-Mlsvc-switch"
        checked={text === '' ? input.default === true : text === 'true'}
        onChange={event => {
          form.type(name, String(event.target.checked));
        }}
      />
    );
  } else if (type === 'numeric' || type === 'integer') {
    field = (
      <input
        {...common}
        type="text"
        inputMode={type === 'integer' ? 'numeric' : 'decimal'}
        className="jp-mod-styled jp-Mlsvc-input"
        value={text}
        onChange={onType}
      />
    );
  } else {
    field = (
      <textarea
        {...common}
        className="jp-mod-styled jp-Mlsvc-input"
        rows={TABLES.has(type) ? 4 : Math.min(6, text.split('\n').length)}
        placeholder={placeholderOf(type, trans)}
        value={text}
        onChange={onType}
      />
    );
  }
  return (
    <div className={`jp-Mlsvc-field jp-mod-${type === 'logical' ? 'switch' : 'text'}`}>
      <label htmlFor={grid ? `${id}-0` : id}>
        <span className="jp-Mlsvc-parameter">{name}</span>{' '}
        <span className="jp-Mlsvc-type">{type}</span>
      </label>
      {input.description && (
        <div className="jp-Mlsvc-note jp-Mlsvc-faint">{harmless(input.description)}</div>
      )}
      {field}
      <div id={`${id}-note`} className="jp-Mlsvc-note">
        {problem === null ? (
          summary && <span className="jp-Mlsvc-faint">{summary}</span>
        ) : (
          <span className="jp-Mlsvc-problem">{problem}</span>
        )}
      </div>
      <div className="jp-Mlsvc-fieldActions">
        {TABLES.has(type) && <FileButton name={name} form={form} trans={trans} />}
        {type === 'data.frame' && (input.columns?.length ?? 0) > 0 && (
          <button
            type="button"
            className="jp-Mlsvc-link"
            aria-pressed={isText}
            onClick={() => {
              setIsText(!isText);
            }}
          >
            {trans.__('Edit as text')}
          </button>
        )}
        {type !== 'logical' && (
          <button
            type="button"
            className="jp-Mlsvc-link"
            onClick={() => {
              form.type(name, textOfValue(form.exampleOf(input), type));
            }}
          >
            {input.example === undefined && !form.hasExample(input)
              ? trans.__('Fill in made-up values')
              : trans.__('Fill in the example')}
          </button>
        )}
      </div>
    </div>
  );
}

/**
 * Fills a field with a file's text.
 */
function FileButton(props: {
  name: string;
  form: TryForm;
  trans: ITranslation;
}): React.ReactElement {
  const { name, form, trans } = props;
  const input = React.useRef<HTMLInputElement>(null);
  return (
    <>
      <button type="button" className="jp-Mlsvc-link" onClick={() => input.current?.click()}>
        {trans.__('Take a CSV or TSV file…')}
      </button>
      <input
        ref={input}
        type="file"
        hidden
        aria-label={trans.__('File for %1', name)}
        accept=".csv,.tsv,.txt,.json,text/csv,text/tab-separated-values"
        onChange={event => {
          const file = event.target.files?.[0];
          event.target.value = '';
          void file?.text().then(text => {
            form.type(name, text);
          });
        }}
      />
    </>
  );
}

function placeholderOf(type: string, trans: ITranslation): string {
  switch (type) {
    case 'vector':
      return trans.__('1, 2, 3');
    case 'matrix':
      return trans.__('Paste rows of a table, CSV or TSV');
    case 'data.frame':
      return trans.__('Paste a table with a line of names, CSV or TSV');
    case 'character':
      return '';
    default:
      return trans.__('Text or JSON');
  }
}

/**
 * How the run goes, in a word, told politely to those who hear the page.
 */
function RunStatus(props: { form: TryForm; trans: ITranslation }): React.ReactElement {
  const { form, trans } = props;
  const { run } = form;
  return (
    <span className="jp-Mlsvc-runStatus" role="status">
      {run.state === 'running' && <Elapsed since={run.since} trans={trans} />}
      {run.state === 'cancelled' && (run.part ? trans.__('Stopped') : trans.__('Cancelled'))}
      {run.state === 'done' &&
        (run.result.success
          ? trans.__('Done in %1', formatMilliseconds(run.milliseconds))
          : trans.__('Failed after %1', formatMilliseconds(run.milliseconds)))}
      {run.state === 'failed' && trans.__('Failed after %1', formatMilliseconds(run.milliseconds))}
    </span>
  );
}

/**
 * Counts the seconds; only the first word is told, not every second.
 */
function Elapsed(props: { since: number; trans: ITranslation }): React.ReactElement {
  const { since, trans } = props;
  const [seconds, setSeconds] = React.useState(0);
  React.useEffect(() => {
    const timer = setInterval(() => {
      setSeconds(Math.floor((performance.now() - since) / 1000));
    }, 250);
    return () => {
      clearInterval(timer);
    };
  }, [since]);
  return (
    <>
      <span className="jp-Mlsvc-spinner" aria-hidden="true" /> {trans.__('Running…')}
      <span aria-hidden="true">{seconds > 0 && ` ${seconds} s`}</span>
    </>
  );
}

function RunResult(props: {
  service: IServiceVersion;
  form: TryForm;
  trans: ITranslation;
}): React.ReactElement | null {
  const { service, form, trans } = props;
  const { run } = form;
  if (run.state === 'failed') {
    const isTold = form.inputs.some(({ name }) => form.problem(name) !== null);
    return (
      <div className="jp-Mlsvc-notice jp-mod-trouble" role="alert">
        <p className="jp-Mlsvc-noticeTitle">
          {isTold
            ? trans.__('The inputs do not fit')
            : run.trouble.kind === 'offline'
              ? trans.__('The server does not answer')
              : trans.__('The call was refused')}
        </p>
        <p>{run.trouble.message}</p>
      </div>
    );
  }
  if (run.state === 'running' || run.state === 'cancelled') {
    return run.part ? (
      <Outputs
        result={run.part}
        definitions={service.outputParameterDefinitions ?? []}
        trans={trans}
      />
    ) : null;
  }
  if (run.state !== 'done') {
    return null;
  }
  const { result } = run;
  return (
    <>
      {!result.success && (
        <div className="jp-Mlsvc-notice jp-mod-trouble" role="alert">
          <p className="jp-Mlsvc-noticeTitle">{trans.__('The code of the service failed')}</p>
          <p>{result.errorMessage}</p>
        </div>
      )}
      <Outputs
        result={result}
        definitions={service.outputParameterDefinitions ?? []}
        trans={trans}
      />
    </>
  );
}
