import { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { Tick } from './tick';

/**
 * Whether calls change what is elsewhere, so that none of them may run twice.
 */
export function EffectsTick(props: {
  isChecked: boolean;
  trans: TranslationBundle;
  onChange: (isChecked: boolean) => void;
}): React.ReactElement {
  const { isChecked, trans, onChange } = props;
  return (
    <Tick
      field="effects"
      label={trans.__('Calls change things elsewhere, such as a table or an account')}
      hint={
        isChecked
          ? trans.__('A call whose process is lost is not run again; its caller gets an error.')
          : trans.__('A call whose process is lost is run once more.')
      }
      isChecked={isChecked}
      onChange={onChange}
    />
  );
}
