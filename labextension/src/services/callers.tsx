import { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { Button, harmless, parseTime, RelativeTime, useSignal } from '../components';
import { IServiceVersion } from '../calls/api';
import { IServiceKey, KeysModel } from './keys';

interface ICallersProps {
  keys: KeysModel;
  service: IServiceVersion;

  /**
   * Address at which programs call.
   */
  callUrl: string;
  isForPages: boolean;
  onCreate: () => void;
  onRevoke: (name: string) => void;
  trans: TranslationBundle;
}

/**
 * Who else can call a version: its keys, a new one, and what is in the way.
 */
export function Callers(props: ICallersProps): React.ReactElement {
  const { keys, service, callUrl, isForPages, onCreate, onRevoke, trans } = props;
  useSignal(keys.changed);
  React.useEffect(() => {
    keys.list.isFollowing = true;
    void keys.list.load();
    return () => {
      keys.list.isFollowing = false;
    };
  }, [keys]);
  const made = keys.made(service);
  const found = keys.for(service);
  const good = found.filter(({ state }) => state === 'active');
  return (
    <>
      <div className="jp-Mlsvc-keyNews" role="status">
        {made && (
          <p>
            {trans.__(
              'The key %1 is in the call above. Copy it now: it is shown until you leave this service, and never again.',
              harmless(made.name)
            )}
          </p>
        )}
      </div>
      <Button onClick={onCreate}>{trans.__('Create a key for a caller…')}</Button>
      {keys.list.trouble && (
        <p className="jp-Mlsvc-problem" role="alert">
          {keys.list.trouble.message}
        </p>
      )}
      {found.length > 0 && (
        <ul className="jp-Mlsvc-keys" aria-label={trans.__('Keys')}>
          {found.map(key => (
            <Key key={key.id} serviceKey={key} onRevoke={onRevoke} trans={trans} />
          ))}
        </ul>
      )}
      <Reach
        isLocal={isThisMachine(callUrl)}
        hasKey={keys.list.value === undefined || good.length > 0}
        hasPage={!isForPages || good.some(({ origins }) => origins.length > 0)}
        trans={trans}
      />
    </>
  );
}

function Key(props: {
  serviceKey: IServiceKey;
  onRevoke: (name: string) => void;
  trans: TranslationBundle;
}): React.ReactElement {
  const { serviceKey, onRevoke, trans } = props;
  const { name, note, services, state, expirationTime, calls, lastUse, origins } = serviceKey;
  const end = parseTime(expirationTime);
  const facts = [
    services === null
      ? trans.__('all services')
      : services.some(each => each.includes('/'))
        ? services.map(harmless).join(', ')
        : trans.__('all versions'),
    state === 'expired' && trans.__('expired'),
    state === 'suspended' && trans.__('suspended: its maker may not change the service'),
    state === 'active' &&
      (end ? trans.__('until %1', end.toLocaleDateString()) : trans.__('until it is revoked')),
    origins.length > 0 && trans.__('pages of %1', origins.map(harmless).join(', ')),
    trans._n('%1 call', '%1 calls', calls)
  ].filter(Boolean);
  return (
    <li data-key={name}>
      <div>
        <strong>{harmless(name)}</strong> {note && harmless(note)}
        <p className="jp-Mlsvc-faint">
          {facts.join(' · ')}
          {lastUse && (
            <>
              {' · '}
              {trans.__('last')} <RelativeTime time={lastUse} trans={trans} />
            </>
          )}
        </p>
      </div>
      <Button
        aria-label={trans.__('Revoke key %1', harmless(name))}
        onClick={() => {
          onRevoke(name);
        }}
      >
        {trans.__('Revoke')}
      </Button>
    </li>
  );
}

/**
 * What keeps others from calling, and what to do about it.
 */
function Reach(props: {
  isLocal: boolean;
  hasKey: boolean;
  hasPage: boolean;
  trans: TranslationBundle;
}): React.ReactElement | null {
  const { isLocal, hasKey, hasPage, trans } = props;
  const problems = [
    isLocal &&
      trans.__(
        'Only programs on this machine reach the address. Whoever runs the server opens it to others with MlsvcApp.public_ip and a certificate, or behind a proxy.'
      ),
    !hasKey &&
      trans.__('Nobody has a key for it. Create one, or give callers an account of the server.'),
    !hasPage &&
      trans.__(
        'A browser lets pages of other origins call with a key that names their origin only, unless MlsvcApp.cors_origins does.'
      )
  ].filter((text): text is string => Boolean(text));
  return problems.length === 0 ? null : (
    <div className="jp-Mlsvc-notice" role="note">
      <p className="jp-Mlsvc-noticeTitle">{trans.__('Not everybody can call it')}</p>
      <ul>
        {problems.map(text => (
          <li key={text}>{text}</li>
        ))}
      </ul>
    </div>
  );
}

function isThisMachine(url: string): boolean {
  try {
    return /^(localhost|.*\.localhost|127(\.\d+){3}|\[::1\])$/.test(new URL(url).hostname);
  } catch {
    return false;
  }
}
