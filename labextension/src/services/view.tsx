import * as React from 'react';

import { Empty, Loading, Trouble, useSignal } from '../components';
import { Resource } from '../resource';
import { IMlsvc, IPanelView } from '../tokens';
import { IServiceVersion, ServicesApi } from './api';

/**
 * Make the tab that lists services.
 */
export function createServicesView(mlsvc: IMlsvc): IPanelView {
  const { trans } = mlsvc;
  const api = new ServicesApi(mlsvc.requests);
  const services = new Resource(signal => api.list(signal));
  services.follow(mlsvc.events, 'service');
  return {
    id: 'services',
    label: trans.__('Services'),
    render: () => <Services services={services} mlsvc={mlsvc} />,
    activate: () => {
      services.isFollowing = true;
      void services.load();
    },
    deactivate: () => {
      services.isFollowing = false;
    },
    refresh: () => services.load()
  };
}

function Services(props: {
  services: Resource<IServiceVersion[]>;
  mlsvc: IMlsvc;
}): React.ReactElement {
  const { services, mlsvc } = props;
  useSignal(services.changed);
  const list = services.value;
  return (
    <>
      {services.trouble && (
        <Trouble
          trouble={services.trouble}
          trans={mlsvc.trans}
          onRetry={() => void services.load()}
        />
      )}
      {!list && !services.trouble && <Loading trans={mlsvc.trans} />}
      {list?.length === 0 && <Empty title={mlsvc.trans.__('No services yet')} />}
      <ul>
        {list?.map(({ name, version }) => (
          <li key={`${name} ${version}`}>
            {name} {version}
          </li>
        ))}
      </ul>
    </>
  );
}
