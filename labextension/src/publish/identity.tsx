import * as React from 'react';

import { Problem } from './draft';
import { Text } from './fields';
import { IFormProps } from './props';

/**
 * Name and version, with what is wrong with them and a way out.
 */
export function Identity(props: IFormProps): React.ReactElement {
  const { draft, problems, naming, trans, edit } = props;
  const name = React.useRef<HTMLInputElement>(null);
  const id = React.useId();
  // Typing begins here, as soon as there is something to type into.
  React.useEffect(() => {
    name.current?.focus();
  }, []);
  const has = (kind: Problem['kind']): boolean => problems.some(problem => problem.kind === kind);
  const refusal = naming && !naming.ok ? naming : null;
  const next = refusal?.next === draft.version.trim() ? '' : (refusal?.next ?? '');
  return (
    <div>
      <div className="jp-MlsvcPublish-pair">
        <Text
          label={trans.__('Name')}
          field="service"
          input={name}
          value={draft.name}
          problem={has('no-name') ? trans.__('A service needs a name.') : null}
          onChange={value => {
            edit({ name: value });
          }}
        />
        <Text
          label={trans.__('Version')}
          value={draft.version}
          problem={has('no-version') ? trans.__('A service needs a version.') : null}
          onChange={version => {
            edit({ version });
          }}
        />
      </div>
      <div className="jp-MlsvcPublish-naming" role="status">
        {refusal && (
          <>
            <span className="jp-MlsvcPublish-problem" id={id}>
              {refusal.message}
            </span>
            {next && (
              <button
                type="button"
                className="jp-mod-styled jp-MlsvcPublish-button"
                onClick={() => {
                  edit({ version: next });
                }}
              >
                {trans.__('Use %1', next)}
              </button>
            )}
            {refusal.neverAnswered && (
              <label>
                <input
                  type="checkbox"
                  checked={draft.replace}
                  onChange={event => {
                    edit({ replace: event.target.checked });
                  }}
                />
                {trans.__('Replace it: it has never answered a call rightly')}
              </label>
            )}
          </>
        )}
      </div>
    </div>
  );
}
