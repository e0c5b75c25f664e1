import { TranslationBundle } from '@jupyterlab/translation';
import { ReactWidget, UseSignal } from '@jupyterlab/ui-components';
import * as React from 'react';

import { IDraft } from './draft';
import { IFailure, PublishModel } from './model';
import { Calls } from './calls';
import { Area, Text } from './fields';
import { Identity } from './identity';
import { ConfinementTicks } from './confinement';
import { EffectsTick } from './effects';
import { IsolationChoice } from './isolation';
import { KindChoice } from './kind';
import { OtherNames } from './names';
import { Parameters } from './parameters';
import { PlaceChoice } from './place';
import { IFormProps } from './props';
import { Result } from './result';

/**
 * Gets the package into the environment of the kernel; a line for a cell.
 */
const INSTALL = '%pip install --upgrade jupyter-mlsvc';

/**
 * The body of the dialog: what was found out, to correct.
 */
export class PublishForm extends ReactWidget {
  constructor(
    private readonly _model: PublishModel,
    private readonly _trans: TranslationBundle,
    private readonly _insist: () => void
  ) {
    super();
    this.addClass('jp-MlsvcPublish');
  }

  protected render(): React.ReactElement {
    return (
      <UseSignal signal={this._model.changed}>
        {() => <Content model={this._model} trans={this._trans} insist={this._insist} />}
      </UseSignal>
    );
  }
}

interface IContentProps {
  model: PublishModel;
  trans: TranslationBundle;

  /**
   * Publish although calls will fail.
   */
  insist: () => void;
}

function Content(props: IContentProps): React.ReactElement {
  const { model, trans } = props;
  const { suggestion, draft, published } = model;
  if (published) {
    return <Result published={published} trans={trans} />;
  }
  return (
    <>
      <Activity model={model} trans={trans} />
      {model.failure && <Failure {...props} failure={model.failure} />}
      {suggestion && draft && (
        <Fields
          suggestion={suggestion}
          draft={draft}
          problems={model.problems}
          naming={model.naming}
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

function Failure(props: IContentProps & { failure: IFailure }): React.ReactElement {
  const { failure, model, trans, insist } = props;
  const { stage, message, isMissingPackage, remedy } = failure;
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
      {remedy.force && (
        <button
          type="button"
          className="jp-mod-styled jp-MlsvcPublish-button"
          disabled={!model.canPublish}
          onClick={insist}
        >
          {trans.__('Publish anyway')}
        </button>
      )}
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
  const { suggestion, draft, isDisabled, trans, edit } = props;
  const sentences = [...new Set([...suggestion.problems, ...suggestion.warnings])];
  return (
    <fieldset className="jp-MlsvcPublish-fields" disabled={isDisabled}>
      <legend className="jp-MlsvcPublish-hidden">{trans.__('The service')}</legend>
      <Identity {...props} />
      <Text
        label={trans.__('Description')}
        value={draft.description}
        placeholder={trans.__('A sentence for those who call it')}
        onChange={description => {
          edit({ description });
        }}
      />
      <KindChoice {...props} />
      {sentences.length > 0 && draft.kind !== 'model' && (
        <ul className="jp-MlsvcPublish-warnings" aria-label={trans.__('Notes')}>
          {sentences.map(sentence => (
            <li key={sentence}>{sentence}</li>
          ))}
        </ul>
      )}
      {draft.kind === 'model' ? (
        <Text
          label={trans.__('Names of what it predicts (optional)')}
          value={draft.response}
          placeholder={trans.__('Such as: price')}
          onChange={response => {
            edit({ response });
          }}
        />
      ) : (
        <>
          <Parameters {...props} side="inputs" />
          <Parameters {...props} side="outputs" />
          <PlaceChoice {...props} />
          <OtherNames {...props} />
        </>
      )}
      <More {...props} />
    </fieldset>
  );
}

function More(props: IFormProps): React.ReactElement {
  const { suggestion, draft, problems, trans, edit } = props;
  const lacksCode = problems.some(({ kind }) => kind === 'no-code');
  return (
    <>
      {draft.kind !== 'model' && (
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
            label={trans.__('Code that runs before each call (optional)')}
            value={draft.initCode}
            rows={Math.min(8, Math.max(2, draft.initCode.split('\n').length))}
            onChange={initCode => {
              edit({ initCode });
            }}
          />
          <Area
            label={trans.__('Code that runs once in each process (optional)')}
            value={draft.setupCode}
            rows={Math.min(8, Math.max(2, draft.setupCode.split('\n').length))}
            onChange={setupCode => {
              edit({ setupCode });
            }}
          />
          <EffectsTick
            isChecked={draft.effects}
            trans={trans}
            onChange={effects => {
              edit({ effects });
            }}
          />
          {/* Each call of a service in R has a process of its own. */}
          {suggestion.runtimeType !== 'R' && (
            <IsolationChoice
              value={draft.isolation}
              trans={trans}
              onChange={isolation => {
                edit({ isolation });
              }}
            />
          )}
        </details>
      )}
      <details>
        <summary>{trans.__('Confinement')}</summary>
        <ConfinementTicks draft={draft} trans={trans} edit={edit} />
      </details>
      <Calls {...props} />
      <details>
        <summary>{trans.__('Tags, alias and files')}</summary>
        <Text
          label={trans.__('Tags')}
          value={draft.tags}
          placeholder={trans.__('Words to find it by: credit, risk')}
          onChange={tags => {
            edit({ tags });
          }}
        />
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
