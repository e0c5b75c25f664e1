import * as React from 'react';

import { IServiceHistory, IServiceVersion, Period } from '../calls/api';
import { Chart } from '../calls/chart';
import {
  Empty,
  formatMilliseconds,
  harmless,
  harmlessLines,
  Loading,
  RelativeTime,
  Trouble,
  useSignal
} from '../calls/components';
import { StateDot, stateName } from '../calls/figures';
import { IKept, TryForm } from '../calls/form';
import { TryIt } from '../calls/try';
import { Link } from './link';
import { useLoaded } from './load';
import { Parameters } from './schema';
import { SignIn } from './signin';
import { Snippets } from './snippets';
import { IWorld } from './world';

/**
 * What is typed into forms may be nobody else's business: it lasts as long as its form.
 */
const NOTHING_KEPT: IKept = { get: (_key, fallback) => fallback, set: () => undefined };

/**
 * A service, in one of its versions.
 */
export function Service(props: {
  name: string;
  version: string | null;
  world: IWorld;
}): React.ReactElement {
  const { name, version, world } = props;
  const { api, trans } = world;
  const { value, trouble, reload } = useLoaded(signal => api.versions(name, signal), [api, name]);
  if (trouble) {
    return <Trouble trouble={trouble} trans={trans} onRetry={reload} />;
  }
  if (!value) {
    return <Loading trans={trans} />;
  }
  const newestFirst = [...value].reverse();
  const shown = newestFirst.find(each => version === null || each.version === version);
  if (!shown) {
    const title =
      value.length === 0
        ? trans.__('There is no service “%1”', harmless(name))
        : trans.__('“%1” has no version “%2”', harmless(name), harmless(version ?? ''));
    return (
      <Empty title={title}>
        <p>
          <Link navigation={world.navigation} to={value.length === 0 ? [] : ['services', name]}>
            {value.length === 0 ? trans.__('See which there are') : trans.__('See its newest one')}
          </Link>
        </p>
      </Empty>
    );
  }
  return <Version key={shown.version} service={shown} versions={newestFirst} world={world} />;
}

interface IVersionProps {
  service: IServiceVersion;

  /**
   * All of them, newest first.
   */
  versions: readonly IServiceVersion[];
  world: IWorld;
}

function Version(props: IVersionProps): React.ReactElement {
  const { service, versions, world } = props;
  const { access, api, navigation, trans } = world;
  const { name, version } = service;
  const form = React.useMemo(
    () =>
      new TryForm({
        service,
        consume: (inputs, signal) => api.consume(name, version, inputs, signal),
        state: NOTHING_KEPT,
        trans
      }),
    [service]
  );
  React.useEffect(
    () => () => {
      form.cancel();
    },
    [form]
  );
  return (
    <article data-service={name} data-version={version}>
      <div className="jp-MlsvcPage-titleLine">
        <h2>{harmless(name)}</h2>
        <select
          className="jp-Mlsvc-select"
          aria-label={trans.__('Version')}
          value={version}
          onChange={event => {
            navigation.go(navigation.href('services', name, event.target.value));
          }}
        >
          {versions.map(each => (
            <option key={each.version} value={each.version}>
              {harmless(each.version)}
            </option>
          ))}
        </select>
      </div>
      <p className="jp-MlsvcPage-description">
        {harmlessLines(service.description ?? '') || trans.__('No description')}
      </p>
      {service.tags && service.tags.length > 0 && (
        <ul className="jp-MlsvcPage-tags" aria-label={trans.__('Tags')}>
          {service.tags.map(tag => (
            <li key={tag}>{harmless(tag)}</li>
          ))}
        </ul>
      )}
      <Status service={service} form={form} world={world} />
      <section aria-label={trans.__('Try it')}>
        <h3>{trans.__('Try it')}</h3>
        {access.user ? (
          <TryIt
            service={service}
            form={form}
            trans={trans}
            onRun={() => void form.submit()}
            onCancel={() => {
              form.cancel();
            }}
          />
        ) : (
          <SignIn world={world} title={trans.__('Sign in to call it')} />
        )}
      </section>
      <section aria-label={trans.__('Inputs and outputs')}>
        <h3>{trans.__('Inputs and outputs')}</h3>
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
        {(service.outputFileNames ?? []).length > 0 && (
          <p>{trans.__('Files: %1', harmless((service.outputFileNames ?? []).join(', ')))}</p>
        )}
      </section>
      <Examples service={service} world={world} />
      <section aria-label={trans.__('Call it from a program')}>
        <h3>{trans.__('Call it from a program')}</h3>
        <Snippets service={service} form={form} world={world} />
      </section>
      <section aria-label={trans.__('For programs')}>
        <h3>{trans.__('For programs')}</h3>
        <dl className="jp-Mlsvc-facts">
          <dt>{trans.__('Address')}</dt>
          <dd>
            <code>{`POST ${navigation.href('api', name, version)}`}</code>
          </dd>
          <dt>{trans.__('Documents')}</dt>
          <dd className="jp-MlsvcPage-links">
            <Link navigation={navigation} to={['docs', name, version]}>
              {trans.__('Interactive document')}
            </Link>
            <Link navigation={navigation} to={['api', name, version, 'openapi.json']}>
              {trans.__('OpenAPI 3.1')}
            </Link>
            <Link navigation={navigation} to={['api', name, version, 'swagger.json']}>
              {trans.__('Swagger 2.0')}
            </Link>
          </dd>
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
    </article>
  );
}

/**
 * Who published it and when, and how it runs, for those who may see that.
 */
function Status(props: {
  service: IServiceVersion;
  form: TryForm;
  world: IWorld;
}): React.ReactElement {
  const { service, form, world } = props;
  const { access, api, trans } = world;
  useSignal(form.changed);
  const { name, version } = service;
  // Those who may only call do not see it.
  const maySee = access.user !== null && access.user.role !== 'caller';
  const [period, setPeriod] = React.useState<Period>('');
  const load = async (signal: AbortSignal): Promise<IServiceHistory | null> =>
    maySee ? api.history(name, version, period, signal) : null;
  const { value } = useLoaded(load, [api, service, maySee, form.run.state, period]);
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

function Examples(props: { service: IServiceVersion; world: IWorld }): React.ReactElement | null {
  const { service, world } = props;
  const { trans } = world;
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
