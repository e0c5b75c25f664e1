import { TranslationBundle } from '@jupyterlab/translation';
import { copyIcon, deleteIcon, editIcon } from '@jupyterlab/ui-components';
import { IRenderMimeRegistry } from '@jupyterlab/rendermime';
import * as React from 'react';

import {
  Button,
  Code,
  formatBytes,
  formatMilliseconds,
  formatNumber,
  harmless,
  harmlessLines,
  IconButton,
  RelativeTime,
  useSignal
} from '../components';
import { backIcon } from '../list/icon';
import { messageOf } from '../calls/error';
import { IServiceStatistics, IServiceVersion } from '../calls/api';
import { Chart } from '../calls/chart';
import { Batches } from './batches';
import { Callers } from './callers';
import { PublishCheck } from './check';
import { StateDot, stateName } from '../calls/figures';
import { Log } from './log';
import { LOG_SECTION, ServicesModel } from './model';
import { RecentCalls } from './recent';
import { exampleInputs } from '../calls/examples';
import { LanguageChoice } from '../calls/program';
import { idOf, isChangeable, IVersionKey } from '../calls/rows';
import { Schema } from '../calls/schema';
import { callOf, Language, LANGUAGES } from '../calls/snippets';
import { TryIt } from '../calls/try';

/**
 * What an open version lets its reader do; each is a command.
 */
export interface IDetailsActions {
  close: () => void;
  open: (key: IVersionKey) => void;
  run: () => void;
  cancel: () => void;
  delete: (key: IVersionKey) => void;
  copy: (key: IVersionKey, language: Language) => void;
  createKey: (key: IVersionKey) => void;
  revokeKey: (name: string) => void;
  showSnapshot: (id: string) => void;
}

interface IDetailsProps {
  model: ServicesModel;
  service: IServiceVersion;
  actions: IDetailsActions;
  rendermime: IRenderMimeRegistry | null;
  apiUrl: string;
  callUrl: string;
  trans: TranslationBundle;
}

/**
 * One version of a service: try it, watch it, read about it, call it from elsewhere.
 */
export function Details(props: IDetailsProps): React.ReactElement {
  const { model, service, actions, trans } = props;
  useSignal(model.changed);
  const form = model.form(service);
  const statistics = model.history ?? model.statistics.value?.get(idOf(service));
  return (
    <article
      className="jp-Mlsvc-details"
      aria-label={`${service.name} ${service.version}`}
      data-service={service.name}
      data-version={service.version}
      onKeyDown={event => {
        if (event.key === 'Escape' && !event.defaultPrevented) {
          event.preventDefault();
          actions.close();
        }
      }}
    >
      <Title {...props} />
      <div className="jp-Mlsvc-about">
        <Description model={model} service={service} trans={trans} />
        <p className="jp-Mlsvc-faint">
          {service.versionPublishedBy &&
            trans.__('Published by %1', harmless(service.versionPublishedBy))}{' '}
          <RelativeTime time={service.creationTime} trans={trans} />
          {service.runtimeType && `, ${service.runtimeType}`}
        </p>
        {service.tags && service.tags.length > 0 && (
          <ul className="jp-Mlsvc-tags" aria-label={trans.__('Tags')}>
            {service.tags.map(tag => (
              <li key={tag}>{harmless(tag)}</li>
            ))}
          </ul>
        )}
        {statistics?.state === 'failing' && statistics.message && (
          <div className="jp-Mlsvc-notice jp-mod-trouble" role="alert">
            <p className="jp-Mlsvc-noticeTitle">
              {trans.__('It is failing, and is tried again by itself')}
            </p>
            <p>{statistics.message}</p>
          </div>
        )}
      </div>
      <Section id="try" title={trans.__('Try it')} model={model} isUnfoldedAtFirst>
        <TryIt
          key={idOf(service)}
          service={service}
          form={form}
          trans={trans}
          onRun={actions.run}
          onCancel={actions.cancel}
        />
      </Section>
      <Section id="calls" title={trans.__('Calls')} model={model} isUnfoldedAtFirst>
        <Calls service={service} model={model} statistics={statistics} trans={trans} />
      </Section>
      {isChangeable(service) && (
        <Section id="recent" title={trans.__('Newest calls')} model={model}>
          <RecentCalls
            service={service}
            api={model.api}
            seconds={model.pollSeconds}
            onKeepBodies={keepBodies => model.change(service, { keepBodies })}
            trans={trans}
          />
        </Section>
      )}
      {isChangeable(service) && (
        <Section id={LOG_SECTION} title={trans.__('Log')} model={model}>
          <Log model={model} trans={trans} />
        </Section>
      )}
      <Section id="batches" title={trans.__('Batches')} model={model}>
        <Batches
          service={service}
          api={model.batches}
          apiUrl={props.apiUrl}
          seconds={model.pollSeconds}
          trans={trans}
        />
      </Section>
      <Section id="schema" title={trans.__('Inputs and outputs')} model={model}>
        <Schema service={service} trans={trans} />
      </Section>
      <Section id="call" title={trans.__('Call it from a program')} model={model}>
        <Snippets {...props} />
      </Section>
      {service.publishCheck && (
        <Section id="check" title={trans.__('Publish check')} model={model}>
          <PublishCheck check={service.publishCheck} trans={trans} />
        </Section>
      )}
      {typeof service.code === 'string' && (
        <Section id="code" title={trans.__('Code')} model={model}>
          <SourceCode {...props} />
        </Section>
      )}
      <Section id="more" title={trans.__('More')} model={model}>
        <More {...props} />
      </Section>
    </article>
  );
}

function Title(props: IDetailsProps): React.ReactElement {
  const { model, service, actions, trans } = props;
  const versions = model.list.value?.filter(({ name }) => name === service.name).reverse() ?? [];
  const heading = React.useRef<HTMLHeadingElement>(null);
  React.useEffect(() => {
    // What was focused in the list is gone; reading and tabbing go on here.
    if (model.takeFocus()) {
      heading.current?.focus({ preventScroll: true });
    }
  }, [service.name, service.version]);
  return (
    <div className="jp-Mlsvc-detailsTitle">
      <IconButton icon={backIcon} label={trans.__('Back to the list')} onClick={actions.close} />
      <h3 tabIndex={-1} ref={heading} title={service.name}>
        {service.name}
      </h3>
      <select
        className="jp-Mlsvc-select"
        aria-label={trans.__('Version')}
        value={service.version}
        onChange={event => {
          actions.open({ name: service.name, version: event.target.value });
        }}
      >
        {versions.map(({ version }) => (
          <option key={version}>{version}</option>
        ))}
      </select>
      {isChangeable(service) && (
        <IconButton
          icon={deleteIcon}
          label={trans.__('Delete %1 %2', service.name, service.version)}
          onClick={() => {
            actions.delete(service);
          }}
        />
      )}
    </div>
  );
}

/**
 * The description, edited in place: Ctrl Enter saves, Escape gives up.
 */
function Description(props: {
  model: ServicesModel;
  service: IServiceVersion;
  trans: TranslationBundle;
}): React.ReactElement {
  const { model, service, trans } = props;
  const [error, setError] = React.useState<string | null>(null);
  const [isSaving, setSaving] = React.useState(false);
  const [text, setText] = React.useState('');
  const button = React.useRef<HTMLButtonElement>(null);
  const id = idOf(service);
  const isEdited = model.edited === id;
  React.useEffect(() => {
    if (isEdited) {
      setText(service.description ?? '');
      setError(null);
    }
  }, [isEdited]);

  const stop = (): void => {
    model.edited = null;
    requestAnimationFrame(() => button.current?.focus());
  };
  const save = async (): Promise<void> => {
    setSaving(true);
    setError(null);
    try {
      await model.change(service, { description: text.trim() });
      stop();
    } catch (reason) {
      setError(messageOf(reason));
    } finally {
      setSaving(false);
    }
  };

  if (!isEdited) {
    return (
      <div className="jp-Mlsvc-descriptionLine">
        <p className={service.description ? '' : 'jp-Mlsvc-faint'}>
          {harmlessLines(service.description ?? '') || trans.__('No description')}
        </p>
        {isChangeable(service) && (
          <button
            ref={button}
            type="button"
            className="jp-Mlsvc-iconButton"
            title={trans.__('Edit the description')}
            aria-label={trans.__('Edit the description')}
            onClick={() => {
              model.edited = id;
            }}
          >
            <editIcon.react tag="span" aria-hidden="true" />
          </button>
        )}
      </div>
    );
  }
  return (
    <form
      className="jp-Mlsvc-descriptionForm"
      onSubmit={event => {
        event.preventDefault();
        void save();
      }}
      onKeyDown={event => {
        if (event.key === 'Escape') {
          event.preventDefault();
          stop();
        } else if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) {
          event.preventDefault();
          void save();
        }
      }}
    >
      <textarea
        className="jp-mod-styled jp-Mlsvc-input"
        aria-label={trans.__('Description')}
        aria-invalid={error !== null}
        autoFocus
        rows={3}
        value={text}
        onChange={event => {
          setText(event.target.value);
        }}
      />
      {error !== null && (
        <p className="jp-Mlsvc-problem" role="alert">
          {trans.__('It was not saved: %1', error)}
        </p>
      )}
      <div className="jp-Mlsvc-formActions">
        <Button type="submit" kind="accept" disabled={isSaving}>
          {trans.__('Save')}
        </Button>
        <Button onClick={stop}>{trans.__('Cancel')}</Button>
      </div>
    </form>
  );
}

/**
 * A part that can be folded; which ones are is the same for all versions.
 */
function Section(props: {
  id: string;
  title: string;
  model: ServicesModel;
  isUnfoldedAtFirst?: boolean;
  children: React.ReactNode;
}): React.ReactElement {
  const { id, title, model, isUnfoldedAtFirst = false, children } = props;
  const isOpen = model.isUnfolded(id, isUnfoldedAtFirst);
  return (
    <details
      className="jp-Mlsvc-section"
      data-section={id}
      open={isOpen}
      onToggle={event => {
        if (event.currentTarget.open !== isOpen) {
          model.setUnfolded(id, event.currentTarget.open);
        }
      }}
    >
      <summary>
        <h4>{title}</h4>
      </summary>
      {isOpen && <div className="jp-Mlsvc-sectionBody">{children}</div>}
    </details>
  );
}

function Calls(props: {
  service: IServiceVersion;
  model: ServicesModel;
  statistics: IServiceStatistics | undefined;
  trans: TranslationBundle;
}): React.ReactElement {
  const { service, model, statistics, trans } = props;
  const { history } = model;
  const time = (value: number | null | undefined): string =>
    value === null || value === undefined ? '–' : formatMilliseconds(value);
  const memory = history?.memoryBytes;
  const { workers = 0, rejected = 0, note = '' } = statistics ?? {};
  return (
    <>
      <p className="jp-Mlsvc-state">
        <span aria-hidden="true">
          <StateDot service={service} statistics={statistics} trans={trans} />
        </span>
        {[
          stateName(service, statistics, trans),
          workers > 0 && trans._n('%1 worker', '%1 workers', workers),
          memory ? formatBytes(memory) : '',
          statistics && statistics.waiting > 0 && trans.__('%1 waiting', statistics.waiting)
        ]
          .filter(Boolean)
          .join(', ')}
      </p>
      {statistics && <Replaced statistics={statistics} trans={trans} />}
      {note && (
        <div className="jp-Mlsvc-notice jp-mod-warning" role="note">
          <p>{note}</p>
        </div>
      )}
      <dl className="jp-Mlsvc-numbers">
        <Figure
          label={trans.__('a minute')}
          value={formatNumber(statistics?.callsPerMinute ?? 0)}
        />
        <Figure label={trans.__('calls')} value={String(statistics?.calls ?? 0)} />
        <Figure
          label={trans.__('errors')}
          value={String(statistics?.errors ?? 0)}
          isBad={Boolean(statistics?.errors)}
        />
        {rejected > 0 && <Figure label={trans.__('rejected')} value={String(rejected)} />}
        <Figure label={trans.__('p50')} value={time(statistics?.p50Milliseconds)} />
        <Figure label={trans.__('p99')} value={time(statistics?.p99Milliseconds)} />
      </dl>
      {history && history.history.length > 0 && (
        <Chart
          history={history}
          period={model.period}
          onPeriod={period => {
            model.period = period;
          }}
          trans={trans}
        />
      )}
      <p className="jp-Mlsvc-faint">
        {statistics?.lastCall ? (
          <>
            {trans.__('Last call:')} <RelativeTime time={statistics.lastCall} trans={trans} />
          </>
        ) : (
          trans.__('No calls since the server started.')
        )}
      </p>
    </>
  );
}

/**
 * How many workers were replaced or lost, and why.
 */
function Replaced(props: {
  statistics: IServiceStatistics;
  trans: TranslationBundle;
}): React.ReactElement | null {
  const { statistics, trans } = props;
  const { retired = 0, retiredFor = '', lostWorkers = 0 } = statistics;
  const lines = [
    retired > 0 &&
      trans._n(
        '%1 worker was replaced after a call that changed what cannot be put back.',
        '%1 workers were replaced after calls that changed what cannot be put back.',
        retired
      ),
    retired > 0 && retiredFor && trans.__('The last one: %1', harmless(retiredFor)),
    lostWorkers > 0 &&
      trans._n(
        '%1 worker ended unexpectedly; the log says how.',
        '%1 workers ended unexpectedly; the log says how.',
        lostWorkers
      )
  ].filter(Boolean);
  return lines.length > 0 ? <p className="jp-Mlsvc-faint">{lines.join(' ')}</p> : null;
}

function Figure(props: { label: string; value: string; isBad?: boolean }): React.ReactElement {
  return (
    <div className={props.isBad ? 'jp-mod-bad' : ''}>
      <dt>{props.label}</dt>
      <dd>{props.value}</dd>
    </div>
  );
}

function Snippets(props: IDetailsProps): React.ReactElement {
  const { model, service, actions, rendermime, callUrl, trans } = props;
  const form = model.form(service);
  useSignal(form.changed);
  useSignal(model.keys.changed);
  const { language } = model;
  const made = model.keys.made(service);
  const chosen = LANGUAGES.find(({ id }) => id === language);
  const values = form.inputs.length > 0 ? form.values : {};
  return (
    <>
      <div className="jp-Mlsvc-formActions">
        <LanguageChoice
          languages={LANGUAGES}
          language={language}
          trans={trans}
          onChange={chosenNow => {
            model.language = chosenNow;
          }}
        />
        <Button
          onClick={() => {
            actions.copy(service, language);
          }}
        >
          <copyIcon.react tag="span" aria-hidden="true" /> {trans.__('Copy')}
        </Button>
      </div>
      <Code
        code={callOf(language, service, values ?? exampleInputs(service), callUrl, made?.key)}
        language={chosen?.code ?? ''}
        label={trans.__('Call as %1', chosen?.name ?? '')}
        rendermime={rendermime}
      />
      <p className="jp-Mlsvc-faint">
        {values
          ? trans.__('With the inputs of the form.')
          : trans.__('With example inputs, until those of the form can be sent.')}{' '}
        {language !== 'magic' &&
          !made &&
          trans.__(
            'MLSVC_TOKEN is the access_token that POST /login answers. Kernels and terminals of this Jupyter have one in the file that MLSVC_CONNECTION_FILE names.'
          )}
      </p>
      {isChangeable(service) && (
        <Callers
          keys={model.keys}
          service={service}
          callUrl={callUrl}
          isForPages={language === 'javascript'}
          onCreate={() => {
            actions.createKey(service);
          }}
          onRevoke={actions.revokeKey}
          trans={trans}
        />
      )}
    </>
  );
}

function SourceCode(props: IDetailsProps): React.ReactElement {
  const { service, rendermime, trans } = props;
  const language = service.runtimeType === 'R' ? 'r' : 'python';
  return (
    <>
      {service.initCode && (
        <>
          <h5>{trans.__('Run before each call')}</h5>
          <Code
            code={service.initCode}
            language={language}
            label={trans.__('Code that runs before each call')}
            rendermime={rendermime}
          />
        </>
      )}
      <Code
        code={service.code ?? ''}
        language={language}
        label={trans.__('Code of the service')}
        rendermime={rendermime}
      />
    </>
  );
}

function More(props: IDetailsProps): React.ReactElement {
  const { service, actions, callUrl, apiUrl, trans } = props;
  const path = `api/${encodeURIComponent(service.name)}/${encodeURIComponent(service.version)}`;
  const { snapshotId } = service;
  return (
    <dl className="jp-Mlsvc-facts">
      <dt>{trans.__('Address')}</dt>
      <dd>
        <code>{`${callUrl}/${path}`}</code>
      </dd>
      {callUrl !== apiUrl && (
        <>
          <dt>{trans.__('Page for callers')}</dt>
          <dd>
            <a href={`${callUrl}/${path}`} target="_blank" rel="noreferrer">
              {trans.__('Open it in a browser')}
            </a>
          </dd>
        </>
      )}
      <dt>{trans.__('Description for programs')}</dt>
      <dd>
        <a href={`${apiUrl}/${path}/swagger.json`} target="_blank" rel="noreferrer">
          {trans.__('Swagger document')}
        </a>
        {', '}
        <a href={`${apiUrl}/${path}/openapi.json`} target="_blank" rel="noreferrer">
          {trans.__('OpenAPI 3.1 document')}
        </a>
      </dd>
      {service.operationId && (
        <>
          <dt>{trans.__('Name in generated clients')}</dt>
          <dd>
            <code>{service.operationId}</code>
          </dd>
        </>
      )}
      {snapshotId && (
        <>
          <dt>{trans.__('Snapshot')}</dt>
          <dd>
            <button
              type="button"
              className="jp-Mlsvc-link"
              onClick={() => {
                actions.showSnapshot(snapshotId);
              }}
            >
              {snapshotId}
            </button>
          </dd>
        </>
      )}
      {service.group && (
        <>
          <dt>{trans.__('Group')}</dt>
          <dd>{trans.__('Members of %1 may change and delete it', harmless(service.group))}</dd>
        </>
      )}
      <dt>{trans.__('You may')}</dt>
      <dd>
        {isChangeable(service)
          ? trans.__('call, change and delete it')
          : trans.__('call it, not change it')}
      </dd>
    </dl>
  );
}
