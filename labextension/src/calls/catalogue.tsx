import * as React from 'react';

import { IServiceVersion } from './api';
import { Empty, harmless, harmlessLines, RelativeTime } from './components';
import { filterServices, groupByName, IServiceGroup } from './rows';
import { ITranslation } from './translation';

/**
 * All services that there are for the reader, to search and to open.
 */
export function Catalogue(props: {
  services: readonly IServiceVersion[];
  trans: ITranslation;

  /**
   * Draws what opens a service.
   */
  renderLink: (name: string, text: string) => React.ReactNode;
}): React.ReactElement {
  const { services, trans, renderLink } = props;
  const [text, setText] = React.useState('');
  const groups = React.useMemo(
    () => groupByName(filterServices(services, { text, publisher: null })),
    [services, text]
  );
  return (
    <div className="jp-MlsvcDocument">
      <h2>{trans.__('Services')}</h2>
      {services.length === 0 ? (
        <Empty title={trans.__('No services yet')} />
      ) : (
        <>
          <input
            type="search"
            className="jp-Mlsvc-input jp-MlsvcDocument-search"
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
          <ul className="jp-MlsvcDocument-list">
            {groups.map(group => (
              <Item key={group.name} group={group} trans={trans} renderLink={renderLink} />
            ))}
          </ul>
        </>
      )}
    </div>
  );
}

function Item(props: {
  group: IServiceGroup;
  trans: ITranslation;
  renderLink: (name: string, text: string) => React.ReactNode;
}): React.ReactElement {
  const { group, trans, renderLink } = props;
  const [newest] = group.versions;
  return (
    <li>
      <h3>{renderLink(group.name, harmless(group.name))}</h3>
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
