import * as React from 'react';

import { Button, copyIcon, copyText, Loading, Trouble } from '../calls/components';
import { useLoaded } from '../calls/load';
import { IWorld } from './world';

/**
 * What the API answers at an address that has no page, such as a document.
 */
export function Answer(props: { path: readonly string[]; world: IWorld }): React.ReactElement {
  const { path, world } = props;
  const { access, navigation, trans } = world;
  const title = `/${path.join('/')}`;
  const { value, trouble, reload } = useLoaded(
    signal => access.text('GET', path, { signal }),
    [access, title, access.user]
  );
  const download = React.useMemo(
    () =>
      value === null ? '' : `data:application/json;charset=utf-8,${encodeURIComponent(value)}`,
    [value]
  );
  if (trouble) {
    return <Trouble trouble={trouble} trans={trans} onRetry={reload} />;
  }
  if (value === null) {
    return <Loading trans={trans} />;
  }
  return (
    <>
      <h2 className="jp-MlsvcPage-address">{title}</h2>
      <div className="jp-Mlsvc-formActions">
        <Button
          onClick={() => {
            copyText(value);
          }}
        >
          <copyIcon.react /> {trans.__('Copy')}
        </Button>
        <Button
          onClick={() => {
            copyText(navigation.href(...path));
          }}
        >
          <copyIcon.react /> {trans.__('Copy the address')}
        </Button>
        <a className="jp-Mlsvc-link" href={download} download={path.at(-1)}>
          {trans.__('Download')}
        </a>
      </div>
      <pre className="jp-Mlsvc-code jp-mod-whole" tabIndex={0} role="region" aria-label={title}>
        {value}
      </pre>
    </>
  );
}
