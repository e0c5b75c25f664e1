import { TranslationBundle } from '@jupyterlab/translation';
import { ReactWidget, UseSignal } from '@jupyterlab/ui-components';
import * as React from 'react';

import { IDraft, Problem } from './draft';
import { IFailure, PublishModel } from './model';
import { OtherNames } from './names';
import { Parameters } from './parameters';
import { PlaceChoice } from './place';
import { ISuggestion } from './suggestion';

/**
 * Gets the package into the environment of the kernel; a line for a cell.
 */
const INSTALL = '%pip install --upgrade jupyter-mlsvc';

/**
 * What the parts of the form share.
 */
export interface IFormProps {
  suggestion: ISuggestion;
  draft: IDraft;
  problems: readonly Problem[];
  isDisabled: boolean;
  trans: TranslationBundle;
  edit: (change: Partial<IDraft>) => void;
}

/**
 * The body of the dialog: what was found out, to correct.
 */
export class PublishForm extends ReactWidget {
  constructor(
    private readonly _model: PublishModel,
    private readonly _trans: TranslationBundle
  ) {
    super();
    this.addClass('jp-MlsvcPublish');
  }

  protected render(): React.ReactElement {
    return (
      <UseSignal signal={this._model.changed}>
        {() => <Content model={this._model} trans={this._trans} />}
      </UseSignal>
    );
  }
}

function Content(props: { model: PublishModel; trans: TranslationBundle }): React.ReactElement {
  const { model, trans } = props;
  const { suggestion, draft } = model;
  return (
    <>
      <Activity model={model} trans={trans} />
      {model.failure && <Failure failure={model.failure} model={model} trans={trans} />}
      {suggestion && draft && (
        <Fields
          suggestion={suggestion}
          draft={draft}
          problems={model.problems}
          isDisabled={model.activity === 'publishing' || model.activity === 'cancelling'}
          trans={trans}
          edit={change => {
            model.edit(change);
          }}
          ask={place => void model.ask(place)}
        />
      )}
    </>
  );
}

/**
 * What is going on; always there, so that screen readers hear of changes.
 */
function Activity(props: { model: PublishModel; trans: TranslationBundle }): React.ReactElement {
  const { model, trans } = props;
  const text = {
    asking: trans.__('Looking at the code and what the kernel and the session hold…'),
    publishing: trans.__('Publishing…'),
    cancelling: trans.__('Cancelling…'),
    none: ''
  }[model.activity ?? 'none'];
  return (
    <div className="jp-MlsvcPublish-activity" role="status">
      {text && (
        <>
          <progress aria-label={text} />
          <span>{text}</span>
          {model.isWaiting && (
            <span className="jp-MlsvcPublish-hint">
              {trans.__('The kernel is busy with something else; this begins when it is done.')}
            </span>
          )}
          {model.progress && <span className="jp-MlsvcPublish-hint">{model.progress}</span>}
        </>
      )}
    </div>
  );
}

function Failure(props: {
  failure: IFailure;
  model: PublishModel;
  trans: TranslationBundle;
}): React.ReactElement {
  const { failure, model, trans } = props;
  const { stage, message, isMissingPackage } = failure;
  const alert = React.useRef<HTMLDivElement>(null);
  // The form may be scrolled to where this is not seen.
  React.useEffect(() => {
    alert.current?.scrollIntoView({ block: 'nearest' });
  }, [failure]);
  if (isMissingPackage) {
    return (
      <div className="jp-MlsvcPublish-failure" role="alert" ref={alert}>
        <p>
          {trans.__(
            "The kernel's environment has no jupyter-mlsvc, or one that is too old. Install it there, and restart the kernel:"
          )}
        </p>
        <pre tabIndex={0}>{INSTALL}</pre>
      </div>
    );
  }
  return (
    <div className="jp-MlsvcPublish-failure" role="alert" ref={alert}>
      <p>
        {stage === 'publishing'
          ? trans.__('It was not published: %1', message)
          : trans.__('It could not be found out what the code needs: %1', message)}
      </p>
      {stage === 'asking' && (
        <button
          type="button"
          className="jp-mod-styled jp-MlsvcPublish-button"
          onClick={() => void model.ask(model.draft?.place)}
        >
          {trans.__('Try again')}
        </button>
      )}
    </div>
  );
}

function Fields(props: IFormProps & { ask: (place: IDraft['place']) => void }): React.ReactElement {
  const { suggestion, draft, problems, isDisabled, trans, edit } = props;
  const has = (kind: Problem['kind']): boolean => problems.some(problem => problem.kind === kind);
  return (
    <fieldset className="jp-MlsvcPublish-fields" disabled={isDisabled}>
      <legend className="jp-MlsvcPublish-hidden">{trans.__('The service')}</legend>
      <div className="jp-MlsvcPublish-pair">
        <Text
          label={trans.__('Name')}
          value={draft.name}
          problem={has('no-name') ? trans.__('A service needs a name.') : null}
          onChange={name => {
            edit({ name });
          }}
        />
        <Text
          label={trans.__('Version')}
          value={draft.version}
          problem={has('no-version') ? trans.__('A service needs a version.') : null}
          onChange={version => {
            edit({ version });
          }}
        />
      </div>
      <Text
        label={trans.__('Description')}
        value={draft.description}
        placeholder={trans.__('A sentence for those who call it')}
        onChange={description => {
          edit({ description });
        }}
      />
      {suggestion.warnings.length > 0 && (
        <ul className="jp-MlsvcPublish-warnings" aria-label={trans.__('Notes')}>
          {suggestion.warnings.map(warning => (
            <li key={warning}>{warning}</li>
          ))}
        </ul>
      )}
      <Parameters {...props} side="inputs" />
      <Parameters {...props} side="outputs" />
      <PlaceChoice {...props} />
      <OtherNames {...props} />
      <More {...props} />
    </fieldset>
  );
}

function More(props: IFormProps): React.ReactElement {
  const { draft, problems, trans, edit } = props;
  const lacksCode = problems.some(({ kind }) => kind === 'no-code');
  return (
    <>
      <details open={lacksCode || undefined}>
        <summary>{trans.__('Code')}</summary>
        <Area
          label={trans.__('Code that runs for each call')}
          value={draft.code}
          rows={Math.min(14, Math.max(3, draft.code.split('\n').length))}
          problem={lacksCode ? trans.__('There is no code to publish.') : null}
          onChange={code => {
            edit({ code });
          }}
        />
        <Area
          label={trans.__('Code that runs before it (optional)')}
          value={draft.initCode}
          rows={Math.min(8, Math.max(2, draft.initCode.split('\n').length))}
          onChange={initCode => {
            edit({ initCode });
          }}
        />
      </details>
      <details>
        <summary>{trans.__('Alias and files')}</summary>
        <Text
          label={trans.__('Alias')}
          value={draft.alias}
          placeholder={trans.__('Name of the call in generated clients')}
          onChange={alias => {
            edit({ alias });
          }}
        />
        <Text
          label={trans.__('Output files')}
          value={draft.files}
          placeholder={trans.__('Files that the code writes and callers get: plot.png, table.csv')}
          onChange={files => {
            edit({ files });
          }}
        />
      </details>
    </>
  );
}

interface IFieldProps {
  label: string;
  value: string;
  placeholder?: string;
  problem?: string | null;
  onChange: (value: string) => void;
}

/**
 * A labelled line of text.
 */
export function Text(props: IFieldProps): React.ReactElement {
  const { label, value, placeholder, problem = null, onChange } = props;
  const id = React.useId();
  return (
    <div className="jp-MlsvcPublish-field">
      <label htmlFor={id}>{label}</label>
      <input
        id={id}
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

function Area(props: IFieldProps & { rows: number }): React.ReactElement {
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
