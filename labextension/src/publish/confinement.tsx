import { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { IDraft } from './draft';
import { Tick } from './tick';

type Confinement = Pick<IDraft, 'network' | 'readOnly'>;

/**
 * What the code may not do although the server lets code do it.
 */
export function ConfinementTicks(props: {
  draft: Confinement;
  trans: TranslationBundle;
  edit: (change: Partial<Confinement>) => void;
}): React.ReactElement {
  const { draft, trans, edit } = props;
  return (
    <>
      <Tick
        field="no-network"
        label={trans.__('Keep the code from the network')}
        hint={
          draft.network
            ? trans.__('It may use the network where the server lets code do that.')
            : trans.__('It reaches no other machine, and no port of this one.')
        }
        isChecked={!draft.network}
        onChange={isChecked => {
          edit({ network: !isChecked });
        }}
      />
      <Tick
        field="read-only"
        label={trans.__('Keep the code from writing files')}
        hint={
          draft.readOnly
            ? trans.__('It writes temporary files, and output files where it has any.')
            : trans.__('It writes its own folders, and those that the server opens.')
        }
        isChecked={draft.readOnly}
        onChange={readOnly => {
          edit({ readOnly });
        }}
      />
    </>
  );
}
