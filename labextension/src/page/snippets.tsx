import * as React from 'react';

import { IServiceVersion } from '../calls/api';
import { Button, copyIcon, copyText, useSignal } from '../calls/components';
import { exampleInputs } from '../calls/examples';
import { TryForm } from '../calls/form';
import { callOf, Language, LANGUAGES } from '../calls/snippets';
import { IWorld } from './world';

/**
 * Those that are for programs elsewhere: a magic is for notebooks that have it.
 */
const CHOICE = LANGUAGES.filter(({ id }) => id !== 'magic');

/**
 * The call of the form, as programs make it.
 */
export function Snippets(props: {
  service: IServiceVersion;
  form: TryForm;
  world: IWorld;
}): React.ReactElement {
  const { service, form, world } = props;
  const { navigation, trans } = world;
  useSignal(form.changed);
  const [language, setLanguage] = React.useState<Language>('curl');
  const [said, setSaid] = React.useState('');
  const chosen = CHOICE.find(({ id }) => id === language);
  const values = form.inputs.length > 0 ? form.values : {};
  const code = callOf(language, service, values ?? exampleInputs(service), navigation.apiUrl);
  return (
    <>
      <div className="jp-Mlsvc-formActions">
        <select
          className="jp-Mlsvc-select"
          aria-label={trans.__('Language of the call')}
          value={language}
          onChange={event => {
            setLanguage(event.target.value as Language);
            setSaid('');
          }}
        >
          {CHOICE.map(({ id, name }) => (
            <option key={id} value={id}>
              {name}
            </option>
          ))}
        </select>
        <Button
          onClick={() => {
            setSaid(
              copyText(code) ? trans.__('Copied') : trans.__('Select the text and copy it yourself')
            );
          }}
        >
          <copyIcon.react /> {trans.__('Copy')}
        </Button>
        <span className="jp-Mlsvc-faint" role="status">
          {said}
        </span>
      </div>
      <pre
        className="jp-Mlsvc-code jp-mod-wrapped"
        tabIndex={0}
        role="region"
        aria-label={trans.__('Call as %1', chosen?.name ?? '')}
      >
        {code}
      </pre>
      <p className="jp-Mlsvc-faint">
        {values
          ? trans.__('With the inputs of the form.')
          : trans.__('With example inputs, until those of the form can be sent.')}{' '}
        {trans.__('The token is a key, or the access_token that POST /login answers.')}{' '}
        {language === 'javascript' &&
          trans.__('Pages of other addresses may call where the server allows it (cors_origins).')}
      </p>
    </>
  );
}
