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
        <Credentials
          label={trans.__('Sign in with an account')}
          fields={[
            { name: 'username', label: trans.__('Name'), complete: 'username' },
            {
              name: 'password',
              label: trans.__('Password'),
              complete: 'current-password',
              isSecret: true
            }
          ]}
          accept={trans.__('Sign in')}
          isBusy={isBusy}
          onAccept={({ username = '', password = '' }) =>
            void attempt(() => access.signIn(username, password))
          }
        />
        <Credentials
          label={trans.__('Sign in with a key')}
          fields={[
            { name: 'key', label: trans.__('Key or token'), complete: 'off', isSecret: true }
          ]}
          accept={trans.__('Use it')}
          isBusy={isBusy}
          onAccept={({ key = '' }) => void attempt(() => access.take(key.trim()))}
        />
      </div>
      <p className="jp-Mlsvc-faint">
        {trans.__('Only this page remembers it, until it is closed or loaded again.')}
      </p>
    </section>
  );
}

interface ICredential {
  name: string;
  label: string;

  /**
   * What the browser may fill in.
   */
  complete: string;
  isSecret?: boolean;
}

/**
 * A form for what somebody is known by.
 */
function Credentials(props: {
  label: string;
  fields: readonly ICredential[];
  accept: string;
  isBusy: boolean;
  onAccept: (values: Readonly<Record<string, string>>) => void;
}): React.ReactElement {
  const { label, fields, accept, isBusy, onAccept } = props;
  const id = React.useId();
  const [values, setValues] = React.useState<Readonly<Record<string, string>>>({});
  return (
    <form
      className="jp-Mlsvc-form"
      aria-label={label}
      onSubmit={event => {
        event.preventDefault();
        onAccept(values);
      }}
    >
      {fields.map(({ name, label: title, complete, isSecret = false }) => (
        <div key={name} className="jp-Mlsvc-field">
          <label htmlFor={id + name}>{title}</label>
          <input
            id={id + name}
            className="jp-Mlsvc-input"
            type={isSecret ? 'password' : 'text'}
            autoComplete={complete}
            autoCapitalize="none"
            spellCheck={false}
            required
            value={values[name] ?? ''}
            onChange={event => {
              setValues({ ...values, [name]: event.target.value });
            }}
          />
        </div>
      ))}
      <div className="jp-Mlsvc-formActions">
        <Button type="submit" kind="accept" aria-disabled={isBusy}>
          {accept}
        </Button>
      </div>
    </form>
  );
}
