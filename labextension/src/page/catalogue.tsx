import * as React from 'react';

import { Catalogue } from '../calls/catalogue';
import { Loading, Trouble } from '../calls/components';
import { useLoaded } from '../calls/load';
import { Link } from './link';
import { IWorld } from './world';

/**
 * All services that there are for the reader.
 */
export function CataloguePage(props: { world: IWorld }): React.ReactElement {
  const { api, navigation, trans } = props.world;
  const { value, trouble, reload } = useLoaded(signal => api.list(signal), [api]);
  if (trouble) {
    return <Trouble trouble={trouble} trans={trans} onRetry={reload} />;
  }
  if (!value) {
    return <Loading trans={trans} />;
  }
  return (
    <Catalogue
      services={value}
      trans={trans}
      renderLink={(name, text) => (
        <Link navigation={navigation} to={['services', name]}>
          {text}
        </Link>
      )}
    />
  );
}
