import * as React from 'react';

import { IServiceHistory, IServiceVersion, Period, ServicesApi } from './api';
import { Chart } from './chart';
import { formatMilliseconds, harmless, harmlessLines, RelativeTime, useSignal } from './components';
import { StateDot, stateName } from './figures';
import { TryForm } from './form';
import { useLoaded } from './load';
import { ProgramCall } from './program';
import { Schema } from './schema';
import { ILanguage } from './snippets';
import { ITranslation } from './translation';
import { TryIt } from './try';

interface IVersionProps {
  service: IServiceVersion;

  /**
   * All versions of the service, newest first.
   */
  versions: readonly IServiceVersion[];
  form: TryForm;
  api: Pick<ServicesApi, 'history'>;
  trans: ITranslation;

  /**
   * Address of the API that programs call, without a slash at its end.
   */
  callUrl: string;

  /**
   * The ways to write a call that are offered.
   */
  languages: readonly ILanguage[];

  /**
   * Whether the reader may see how it runs; those who may only call do not.
   */
  maySeeFigures: boolean;

  /**
   * What is known of its calls from elsewhere; when it changes, they are looked up again.
   */
  seen?: unknown;

  /**
   * What stands in place of the form, for those who can't call.
   */
  instead?: React.ReactNode;

  /**
   * What stands at the end of the line with the name.
   */
  aside?: React.ReactNode;

  /**
   * Links to the documents for programs.
   */
  documents: React.ReactNode;
  onVersion: (version: string) => void;

  /**
   * Sections for those who look after it.
   */
  children?: React.ReactNode;
}

/**
 * A version of a service as a document: what it does, a form, what it takes, how programs call it.
 */
export function Version(props: IVersionProps): React.ReactElement {
  const { service, versions, form, trans, callUrl, languages, documents, onVersion } = props;
  const { name, version } = service;
  return (
    <article className="jp-MlsvcDocument" data-service={name} data-version={version}>
      <div className="jp-MlsvcDocument-titleLine">
        <h2>{harmless(name)}</h2>
        <select
          className="jp-Mlsvc-select"
          aria-label={trans.__('Version')}
          value={version}
          onChange={event => {
            onVersion(event.target.value);
          }}
        >
          {versions.map(each => (
            <option key={each.version} value={each.version}>
              {harmless(each.version)}
            </option>
          ))}
        </select>
        {props.aside}
      </div>
      <p className="jp-Mlsvc-text">
        {harmlessLines(service.description ?? '') || trans.__('No description')}
      </p>
      {service.tags && service.tags.length > 0 && (
        <ul className="jp-Mlsvc-tags" aria-label={trans.__('Tags')}>
          {service.tags.map(tag => (
            <li key={tag}>{harmless(tag)}</li>
          ))}
        </ul>
      )}
      <Status {...props} />
      <section aria-label={trans.__('Try it')}>
        <h3>{trans.__('Try it')}</h3>
        {props.instead ?? (
          <TryIt
            service={service}
            form={form}
            trans={trans}
            onRun={() => void form.submit()}
            onCancel={() => {
              form.cancel();
            }}
          />
        )}
      </section>
      <section aria-label={trans.__('Inputs and outputs')}>
        <h3>{trans.__('Inputs and outputs')}</h3>
        <Schema service={service} trans={trans} />
      </section>
      <Examples service={service} trans={trans} />
      <section aria-label={trans.__('Call it from a program')}>
        <h3>{trans.__('Call it from a program')}</h3>
        <ProgramCall
          service={service}
          form={form}
          callUrl={callUrl}
          languages={languages}
          trans={trans}
        />
      </section>
      <section aria-label={trans.__('For programs')}>
        <h3>{trans.__('For programs')}</h3>
        <dl className="jp-Mlsvc-facts">
          <dt>{trans.__('Address')}</dt>
          <dd>
            <code>{`POST ${callUrl}/${['api', name, version].map(encodeURIComponent).join('/')}`}</code>
          </dd>
          <dt>{trans.__('Documents')}</dt>
          <dd className="jp-MlsvcDocument-links">{documents}</dd>
          {service.operationId && (
            <>
              <dt>{trans.__('Name in generated clients')}</dt>
              <dd>
                <code>{service.operationId}</code>
              </dd>
            </>
          )}
        </dl>
      </section>
      {props.children}
    </article>
  );
}

/**
 * Who published it and when, and how it runs, for those who may see that.
 */
function Status(props: IVersionProps): React.ReactElement {
  const { service, form, api, trans, maySeeFigures, seen } = props;
  useSignal(form.changed);
  const { name, version } = service;
  const [period, setPeriod] = React.useState<Period>('');
  const load = async (signal: AbortSignal): Promise<IServiceHistory | null> =>
    maySeeFigures ? api.history(name, version, period, signal) : null;
  const { value } = useLoaded(load, [
    ...[api, service, maySeeFigures, form.run.state, period, seen]
  ]);
  const statistics = value ?? undefined;
  return (
    <>
      <p className="jp-Mlsvc-faint">
        {service.versionPublishedBy &&
          trans.__('Published by %1', harmless(service.versionPublishedBy))}{' '}
        <RelativeTime time={service.creationTime} trans={trans} />
        {service.runtimeType && `, ${service.runtimeType}`}
      </p>
      {(statistics ?? service.neverAnswered) && (
        <p className="jp-Mlsvc-state">
          <span aria-hidden="true">
            <StateDot service={service} statistics={statistics} trans={trans} />
          </span>
          {[
            stateName(service, statistics, trans),
            statistics && trans._n('%1 call', '%1 calls', statistics.calls),
            typeof statistics?.p50Milliseconds === 'number' &&
              trans.__('half of them in %1', formatMilliseconds(statistics.p50Milliseconds))
          ]
            .filter(Boolean)
            .join(', ')}
        </p>
      )}
      {value && value.history.length > 0 && (
        <Chart history={value} period={period} onPeriod={setPeriod} trans={trans} />
      )}
      {statistics?.state === 'failing' && statistics.message && (
        <div className="jp-Mlsvc-notice jp-mod-trouble" role="alert">
          <p className="jp-Mlsvc-noticeTitle">
            {trans.__('It is failing, and is tried again by itself')}
          </p>
          <p>{harmlessLines(statistics.message)}</p>
        </div>
      )}
    </>
  );
}

function Examples(props: {
  service: IServiceVersion;
  trans: ITranslation;
}): React.ReactElement | null {
  const { service, trans } = props;
  const { examples = [] } = service;
  if (examples.length === 0) {
    return null;
  }
  return (
    <section aria-label={trans.__('Examples')}>
      <h3>{trans.__('Examples')}</h3>
      {examples.map(({ name, inputs, outputs }, i) => {
        const title = harmless(name ?? '') || trans.__('Example %1', i + 1);
        return (
          <details key={i} className="jp-Mlsvc-section">
            <summary>
              <h4>{title}</h4>
            </summary>
            <pre className="jp-Mlsvc-code" tabIndex={0} role="region" aria-label={title}>
              {JSON.stringify({ inputs, outputs }, null, 2)}
            </pre>
          </details>
        );
      })}
    </section>
  );
}
