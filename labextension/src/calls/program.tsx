import * as React from 'react';

import { IServiceVersion } from './api';
import { Button, copyIcon, copyText, useSignal } from './components';
import { exampleInputs } from './examples';
import { TryForm } from './form';
import { callOf, ILanguage, Language } from './snippets';
import { ITranslation } from './translation';

/**
 * In what language a call is shown.
 */
export function LanguageChoice(props: {
  languages: readonly ILanguage[];
  language: Language;
  trans: ITranslation;
  onChange: (language: Language) => void;
}): React.ReactElement {
  const { languages, language, trans, onChange } = props;
  return (
    <select
      className="jp-Mlsvc-select"
      aria-label={trans.__('Language of the call')}
      value={language}
      onChange={event => {
        onChange(event.target.value as Language);
      }}
    >
      {languages.map(({ id, name }) => (
        <option key={id} value={id}>
          {name}
        </option>
      ))}
    </select>
  );
}

/**
 * The call of the form, as programs make it.
 */
export function ProgramCall(props: {
  service: IServiceVersion;
  form: TryForm;
  callUrl: string;
  languages: readonly ILanguage[];
  trans: ITranslation;
}): React.ReactElement {
  const { service, form, callUrl, languages, trans } = props;
  useSignal(form.changed);
  const [language, setLanguage] = React.useState<Language>('curl');
  const [said, setSaid] = React.useState('');
  const chosen = languages.find(({ id }) => id === language);
  const values = form.inputs.length > 0 ? form.values : {};
  const code = callOf(language, service, values ?? exampleInputs(service), callUrl);
  return (
    <>
      <div className="jp-Mlsvc-formActions">
        <LanguageChoice
          languages={languages}
          language={language}
          trans={trans}
          onChange={chosenNow => {
            setLanguage(chosenNow);
            setSaid('');
          }}
        />
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
        {language !== 'magic' &&
          trans.__('The token is a key, or the access_token that POST /login answers.')}{' '}
        {language === 'javascript' &&
          trans.__('Pages of other addresses may call where the server allows it (cors_origins).')}
      </p>
    </>
  );
}
