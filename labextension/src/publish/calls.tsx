import * as React from 'react';

import { MOST_CALLS } from './draft';
import { Text } from './fields';
import { IFormProps } from './props';
import { Tick } from './tick';

/**
 * How calls run, and what is kept of them.
 */
export function Calls(props: IFormProps): React.ReactElement {
  const { suggestion, draft, problems, trans, edit } = props;
  const lacksCount = problems.some(({ kind }) => kind === 'no-count');
  const lacksSeconds = problems.some(({ kind }) => kind === 'no-seconds');
  return (
    <details open={lacksCount || lacksSeconds || undefined}>
      <summary>{trans.__('Calls')}</summary>
      <Tick
        field="keep-bodies"
        label={trans.__('Keep what is sent and answered')}
        hint={
          draft.keepBodies
            ? trans.__(
                'Of the newest calls, in the memory of the server, for those who may change the service. Inputs may be personal.'
              )
            : trans.__('Of each call the server keeps time, caller, status and sizes only.')
        }
        isChecked={draft.keepBodies}
        onChange={keepBodies => {
          edit({ keepBodies });
        }}
      />
      {draft.kind !== 'model' && (
        <>
          {/* R runs one call at a time. */}
          {suggestion.runtimeType !== 'R' && (
            <Text
              field="concurrency"
              label={trans.__('Calls that a worker runs at a time (optional)')}
              value={draft.concurrency}
              placeholder={trans.__('1, or 100 where the code awaits')}
              problem={
                lacksCount ? trans.__('This is a whole number from 1 to %1.', MOST_CALLS) : null
              }
              onChange={concurrency => {
                edit({ concurrency });
              }}
            />
          )}
          <Text
            field="deadline"
            label={trans.__('Seconds that a call may take (optional)')}
            value={draft.deadline}
            placeholder={trans.__('As many as the server allows')}
            problem={lacksSeconds ? trans.__('This is a number above 0.') : null}
            onChange={deadline => {
              edit({ deadline });
            }}
          />
        </>
      )}
    </details>
  );
}
