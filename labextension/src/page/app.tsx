import * as React from 'react';

import { Button, harmless, useSignal } from '../calls/components';
import { Answer } from './answer';
import { CataloguePage } from './catalogue';
import { Documentation } from './documentation';
import { Link } from './link';
import { Place } from './place';
import { Service } from './service';
import { SignIn } from './signin';
import { IWorld } from './world';

/**
 * The page: who is signed in, and what the address shows.
 */
export function App(props: { world: IWorld }): React.ReactElement {
  const { world } = props;
  const { access, isOpen, navigation, trans } = world;
  useSignal(access.changed);
  useSignal(navigation.changed);
  const { place } = navigation;
  const [isAsked, setAsked] = React.useState(false);
  const main = React.useRef<HTMLElement>(null);
  const isFirst = React.useRef(true);
  const title = titleOf(place, world);
  React.useEffect(() => {
    document.title = title;
    // Those who hear the page learn where a link has led them.
    if (!isFirst.current) {
      main.current?.focus({ preventScroll: true });
    }
    isFirst.current = false;
  }, [title]);
  React.useEffect(() => {
    setAsked(false);
  }, [access.user]);
  const isShown = access.user !== null || (isOpen && hasDocument(place));
  return (
    <div className="jp-Mlsvc jp-MlsvcPage">
      <header className="jp-MlsvcPage-header">
        <h1>
          <Link navigation={navigation} to={[]}>
            {trans.__('Services')}
          </Link>
        </h1>
        <nav aria-label={trans.__('Pages')}>
          <Link navigation={navigation} to={['docs']}>
            {trans.__('API')}
          </Link>
        </nav>
        {access.user ? (
          <>
            <span className="jp-Mlsvc-user">{harmless(access.user.name)}</span>
            <Button
              onClick={() => {
                access.signOut();
              }}
            >
              {trans.__('Sign out')}
            </Button>
          </>
        ) : (
          isShown && (
            <Button
              onClick={() => {
                setAsked(true);
              }}
            >
              {trans.__('Sign in')}
            </Button>
          )
        )}
      </header>
      <main tabIndex={-1} ref={main} aria-label={title}>
        {(!isShown || isAsked) && <SignIn world={world} title={trans.__('Sign in')} />}
        {isShown && <Shown key={access.user?.name ?? ''} place={place} world={world} />}
      </main>
    </div>
  );
}

function Shown(props: { place: Place; world: IWorld }): React.ReactElement {
  const { place, world } = props;
  switch (place.kind) {
    case 'catalogue':
      return <CataloguePage world={world} />;
    case 'service':
      return <Service key={place.name} name={place.name} version={place.version} world={world} />;
    case 'documentation':
      return <Documentation service={place.service} world={world} />;
    case 'answer':
      return <Answer key={place.path.join('/')} path={place.path} world={world} />;
  }
}

/**
 * Whether a place is read without a token where documents are.
 */
function hasDocument(place: Place): boolean {
  return place.kind !== 'answer' || /^(swagger|openapi)\.json$/.test(place.path.at(-1) ?? '');
}

function titleOf(place: Place, { trans }: IWorld): string {
  switch (place.kind) {
    case 'catalogue':
      return trans.__('Services');
    case 'service':
      return harmless([place.name, place.version].filter(Boolean).join(' '));
    case 'documentation':
      return place.service
        ? trans.__('%1 %2: API', harmless(place.service.name), harmless(place.service.version))
        : trans.__('API');
    case 'answer':
      return harmless(`/${place.path.join('/')}`);
  }
}
