import * as React from 'react';

import { IServiceVersion } from '../calls/api';
import { Empty, harmless, Loading, Trouble } from '../calls/components';
import { NOTHING_KEPT, TryForm } from '../calls/form';
import { useLoaded } from '../calls/load';
import { LANGUAGES } from '../calls/snippets';
import { Version } from '../calls/version';
import { Link } from './link';
import { SignIn } from './signin';
import { IWorld } from './world';

/**
 * Those that are for programs elsewhere: a magic is for notebooks that have it.
 */
const CHOICE = LANGUAGES.filter(({ id }) => id !== 'magic');

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
  return <Shown key={shown.version} service={shown} versions={newestFirst} world={world} />;
}

function Shown(props: {
  service: IServiceVersion;

  /**
   * All of them, newest first.
   */
  versions: readonly IServiceVersion[];
  world: IWorld;
}): React.ReactElement {
  const { service, versions, world } = props;
  const { access, api, navigation, trans } = world;
  const { name, version } = service;
  const form = React.useMemo(
    () =>
      new TryForm({
        service,
        consume: (inputs, signal, onPart) => api.answer(service, inputs, signal, onPart),
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
    <Version
      service={service}
      versions={versions}
      form={form}
      api={api}
      trans={trans}
      callUrl={navigation.apiUrl}
      languages={CHOICE}
      maySeeFigures={access.user !== null && access.user.role !== 'caller'}
      instead={
        access.user ? undefined : <SignIn world={world} title={trans.__('Sign in to call it')} />
      }
      documents={
        <>
          <Link navigation={navigation} to={['docs', name, version]}>
            {trans.__('Interactive document')}
          </Link>
          <Link navigation={navigation} to={['api', name, version, 'openapi.json']}>
            {trans.__('OpenAPI 3.1')}
          </Link>
          <Link navigation={navigation} to={['api', name, version, 'swagger.json']}>
            {trans.__('Swagger 2.0')}
          </Link>
        </>
      }
      onVersion={chosen => {
        navigation.go(navigation.href('services', name, chosen));
      }}
    />
  );
}
