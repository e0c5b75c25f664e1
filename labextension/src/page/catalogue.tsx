import * as React from 'react';

import {
  Empty,
  harmless,
  harmlessLines,
  Loading,
  RelativeTime,
  Trouble
} from '../calls/components';
import { filterServices, groupByName, IServiceGroup } from '../calls/rows';
import { Link } from './link';
import { useLoaded } from '../calls/load';
import { IWorld } from './world';

/**
 * All services that there are for the reader.
 */
export function Catalogue(props: { world: IWorld }): React.ReactElement {
  const { api, trans } = props.world;
  const [text, setText] = React.useState('');
  const { value, trouble, reload } = useLoaded(signal => api.list(signal), [api]);
  if (trouble) {
    return <Trouble trouble={trouble} trans={trans} onRetry={reload} />;
  }
  if (!value) {
    return <Loading trans={trans} />;
  }
  const groups = groupByName(filterServices(value, { text, publisher: null }));
  return (
    <>
      <h2>{trans.__('Services')}</h2>
      {value.length === 0 ? (
        <Empty title={trans.__('No services yet')} />
      ) : (
        <>
          <input
            type="search"
            className="jp-Mlsvc-input jp-MlsvcPage-search"
            aria-label={trans.__('Search services')}
            placeholder={trans.__('Search')}
            value={text}
            onChange={event => {
              setText(event.target.value);
            }}
          />
          <p className="jp-Mlsvc-faint" role="status">
            {trans._n('%1 service', '%1 services', groups.length)}
          </p>
          <ul className="jp-MlsvcPage-list">
            {groups.map(group => (
              <Item key={group.name} group={group} world={props.world} />
            ))}
          </ul>
        </>
      )}
    </>
  );
}

function Item(props: { group: IServiceGroup; world: IWorld }): React.ReactElement {
  const { group, world } = props;
  const { navigation, trans } = world;
  const [newest] = group.versions;
  return (
    <li>
      <h3>
        <Link navigation={navigation} to={['services', group.name]}>
          {harmless(group.name)}
        </Link>
      </h3>
      {newest?.description && <p className="jp-Mlsvc-text">{harmlessLines(newest.description)}</p>}
      <p className="jp-Mlsvc-faint">
        {newest && harmless(newest.version)}
        {group.versions.length > 1 &&
          ` ${trans._n('and %1 older version', 'and %1 older versions', group.versions.length - 1)}`}
        {newest?.creationTime && (
          <>
            {', '}
            <RelativeTime time={newest.creationTime} trans={trans} />
          </>
        )}
        {newest?.tags && newest.tags.length > 0 && ` · ${newest.tags.map(harmless).join(', ')}`}
      </p>
    </li>
  );
}
