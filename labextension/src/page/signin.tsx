import * as React from 'react';

import { Button } from '../calls/components';
import { messageOf } from '../calls/error';
import { IWorld } from './world';

/**
 * Asks who is asking, by name and password or by a key, and says whom to ask for either.
 */
export function SignIn(props: { world: IWorld; title: string }): React.ReactElement {
  const { world, title } = props;
  const { access, contact, trans } = world;
  const id = React.useId();
  const [name, setName] = React.useState('');
  const [password, setPassword] = React.useState('');
  const [key, setKey] = React.useState('');
  const [problem, setProblem] = React.useState('');
  const [isBusy, setBusy] = React.useState(false);
  const attempt = async (enter: () => Promise<void>): Promise<void> => {
    setBusy(true);
    setProblem('');
    try {
      await enter();
    } catch (error) {
      setProblem(messageOf(error));
      setBusy(false);
    }
  };
  return (
    <section className="jp-MlsvcPage-card" aria-labelledby={`${id}-title`}>
      <h2 id={`${id}-title`}>{title}</h2>
      <p>
        {access.isExpired
          ? trans.__('Your sign-in has ended. Sign in again to go on.')
          : trans.__(
              'The services of this server are for those who have an account or a key.'
            )}{' '}
        {contact
          ? trans.__('Ask for one here: %1', contact)
          : trans.__('Ask whoever gave you this address, or runs the server, for one.')}
      </p>
      {problem && (
        <div className="jp-Mlsvc-notice jp-mod-trouble" role="alert">
          <p>{problem}</p>
        </div>
      )}
      <div className="jp-MlsvcPage-ways">
        <form
          className="jp-Mlsvc-form"
          aria-label={trans.__('Sign in with an account')}
          onSubmit={event => {
            event.preventDefault();
            void attempt(() => access.signIn(name, password));
          }}
        >
          <div className="jp-Mlsvc-field">
            <label htmlFor={`${id}-name`}>{trans.__('Name')}</label>
            <input
              id={`${id}-name`}
              className="jp-Mlsvc-input"
              autoComplete="username"
              autoCapitalize="none"
              spellCheck={false}
              required
              value={name}
              onChange={event => {
                setName(event.target.value);
              }}
            />
          </div>
          <div className="jp-Mlsvc-field">
            <label htmlFor={`${id}-password`}>{trans.__('Password')}</label>
            <input
              id={`${id}-password`}
              type="password"
              className="jp-Mlsvc-input"
              autoComplete="current-password"
              required
              value={password}
              onChange={event => {
                setPassword(event.target.value);
              }}
            />
          </div>
          <div className="jp-Mlsvc-formActions">
            <Button type="submit" kind="accept" aria-disabled={isBusy}>
              {trans.__('Sign in')}
            </Button>
          </div>
        </form>
        <form
          className="jp-Mlsvc-form"
          aria-label={trans.__('Sign in with a key')}
          onSubmit={event => {
            event.preventDefault();
            void attempt(() => access.take(key.trim()));
          }}
        >
          <div className="jp-Mlsvc-field">
            <label htmlFor={`${id}-key`}>{trans.__('Key or token')}</label>
            <input
              id={`${id}-key`}
              type="password"
              className="jp-Mlsvc-input"
              autoComplete="off"
              required
              value={key}
              onChange={event => {
                setKey(event.target.value);
              }}
            />
          </div>
          <div className="jp-Mlsvc-formActions">
            <Button type="submit" aria-disabled={isBusy}>
              {trans.__('Use it')}
            </Button>
          </div>
        </form>
      </div>
      <p className="jp-Mlsvc-faint">
        {trans.__('Only this page remembers it, until it is closed or loaded again.')}
      </p>
    </section>
  );
}
