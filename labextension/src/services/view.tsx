import { TranslationBundle } from '@jupyterlab/translation';
import { closeIcon, searchIcon } from '@jupyterlab/ui-components';
import * as React from 'react';

import {
  Button,
  Command,
  Empty,
  harmless,
  IconButton,
  Loading,
  Trouble,
  useSignal
} from '../components';
import { IMlsvc, IPanelView } from '../tokens';
import { ServicesApi } from '../calls/api';
import { BatchesApi } from './batchapi';
import { addServiceCommands, ServiceCommandIDs } from './commands';
import { Details } from './details';
import { addCard, ServiceTabs } from './document';
import { EXAMPLE } from './example';
import { KeysModel } from './keys';
import { ORDERS, Publishers, ServicesModel } from './model';
import { idOf, isChangeable, keyOf, Order } from '../calls/rows';
import { ServiceTree } from './tree';
import { addTutorialCommand, TUTORIAL_COMMAND, tutorials } from './tutorials';
import { PublishCommandIDs } from '../publish/tokens';

/**
 * Make the tab that lists services, and its commands.
 */
export function createServicesView(mlsvc: IMlsvc): IPanelView {
  const { trans, events, status, settings, state } = mlsvc;
  const api = new ServicesApi(mlsvc.requests);
  const keys = new KeysModel(mlsvc.requests, events);
  const batches = new BatchesApi(mlsvc.requests);
  const model = new ServicesModel({ api, batches, keys, events, status, settings, state, trans });
  const tabs = new ServiceTabs(mlsvc, model);
  addServiceCommands(mlsvc, model, tabs);
  addTutorialCommand(mlsvc);
  if (mlsvc.restorer) {
    tabs.restore(mlsvc.restorer, ServiceCommandIDs.openTab);
  }
  if (mlsvc.launcher) {
    addCard(mlsvc.launcher, ServiceCommandIDs.openTab, mlsvc);
  }
  return {
    id: 'services',
    label: trans.__('Services'),
    render: () => <ServicesView model={model} mlsvc={mlsvc} />,
    activate: () => {
      model.activate();
    },
    deactivate: () => {
      model.deactivate();
    },
    refresh: () => model.refresh(),
    dispose: () => {
      model.dispose();
    }
  };
}

/**
 * The list of services, or the version that is open.
 */
export function ServicesView(props: { model: ServicesModel; mlsvc: IMlsvc }): React.ReactElement {
  const { model, mlsvc } = props;
  return (
    <div
      className="jp-Mlsvc-services"
      onClick={({ detail }) => {
        // The first click has opened it in the panel, so that the second finds another element.
        if (detail === 2 && model.openKey && model.isJustOpened) {
          const { name, version } = model.openKey;
          model.openKey = null;
          void mlsvc.app.commands.execute(ServiceCommandIDs.openTab, { name, version });
        }
      }}
    >
      <ListOrDetails model={model} mlsvc={mlsvc} />
    </div>
  );
}

function ListOrDetails(props: { model: ServicesModel; mlsvc: IMlsvc }): React.ReactElement {
  const { model, mlsvc } = props;
  const { app, trans, status } = mlsvc;
  useSignal(model.changed);
  const { list, open } = model;
  const retry = (): void => {
    void mlsvc.panel.refresh();
  };
  const trouble = list.trouble && <Trouble trouble={list.trouble} trans={trans} onRetry={retry} />;
  if (!list.value) {
    return trouble ?? <Loading trans={trans} />;
  }
  if (!open) {
    return (
      <>
        {trouble}
        <ServiceList model={model} mlsvc={mlsvc} />
      </>
    );
  }
  const execute = (command: string, args = {}): void => {
    void app.commands.execute(command, args);
  };
  return (
    <>
      {trouble}
      <Details
        model={model}
        service={open}
        rendermime={mlsvc.rendermime}
        callUrl={status.callUrl}
        apiUrl={mlsvc.requests.url}
        trans={trans}
        actions={{
          close: () => {
            execute(ServiceCommandIDs.close);
          },
          open: ({ name, version }) => {
            execute(ServiceCommandIDs.open, { name, version });
          },
          run: () => {
            execute(ServiceCommandIDs.run, { name: open.name, version: open.version });
          },
          cancel: () => {
            execute(ServiceCommandIDs.cancel);
          },
          delete: ({ name, version }) => {
            execute(ServiceCommandIDs.delete, { name, version });
          },
          copy: ({ name, version }, language) => {
            execute(ServiceCommandIDs.copy, { name, version, language });
          },
          createKey: ({ name, version }) => {
            execute(ServiceCommandIDs.createKey, { name, version });
          },
          revokeKey: key => {
            execute(ServiceCommandIDs.revokeKey, { key });
          },
          showSnapshot: id => {
            execute('mlsvc:open-snapshot', { id });
          }
        }}
      />
    </>
  );
}

function ServiceList(props: { model: ServicesModel; mlsvc: IMlsvc }): React.ReactElement {
  const { model, mlsvc } = props;
  const { app, trans } = mlsvc;
  const count = model.groups.length;
  const versions = model.groups.flatMap(group => group.versions);
  const { value: figures } = model.statistics;
  const failing = versions.filter(each => figures?.get(idOf(each))?.state === 'failing').length;
  if (model.list.value?.length === 0) {
    // What was empty once need not be so where the last question failed.
    return model.list.trouble ? (
      <></>
    ) : (
      <Empty title={trans.__('No services yet')}>
        <p>
          {trans.__(
            'Publish code of a notebook as a service: its inputs and outputs get names and types, and any program can call it.'
          )}
        </p>
        <p>
          {trans.__(
            'The arrow in the toolbar of a notebook publishes the selected cell. In a cell of its own, this does:'
          )}
        </p>
        <Command command={EXAMPLE.join('\n\n')} />
        <div className="jp-Mlsvc-noticeActions">
          {app.commands.hasCommand(PublishCommandIDs.insertExample) && (
            <Button
              kind="accept"
              onClick={() => void app.commands.execute(PublishCommandIDs.insertExample)}
            >
              {trans.__('Insert into notebook')}
            </Button>
          )}
        </div>
        <h3>{trans.__('Tutorials')}</h3>
        <ul className="jp-Mlsvc-tutorials">
          {tutorials(trans).map(({ file, title }) => (
            <li key={file}>
              <button
                type="button"
                className="jp-Mlsvc-link"
                onClick={() => void app.commands.execute(TUTORIAL_COMMAND, { file })}
              >
                {title}
              </button>
            </li>
          ))}
        </ul>
      </Empty>
    );
  }
  return (
    <>
      <div className="jp-Mlsvc-toolbar">
        <label className="jp-Mlsvc-search">
          <searchIcon.react tag="span" aria-hidden="true" />
          <input
            type="search"
            aria-label={trans.__('Search services')}
            placeholder={trans.__('Search')}
            value={model.filterText}
            onChange={event => {
              model.filterText = event.target.value;
            }}
          />
        </label>
        <Filters model={model} trans={trans} />
      </div>
      {model.selected.size > 0 && (
        <Selection
          model={model}
          mlsvc={mlsvc}
          onDelete={() => void app.commands.execute(ServiceCommandIDs.delete)}
        />
      )}
      {count > 0 ? (
        <ServiceTree
          model={model}
          trans={trans}
          onOpen={({ name, version }) =>
            void app.commands.execute(ServiceCommandIDs.open, { name, version })
          }
          onOpenTab={({ name, version }) =>
            void app.commands.execute(ServiceCommandIDs.openTab, { name, version })
          }
        />
      ) : (
        <Empty title={trans.__('No service fits')}>
          <Button
            onClick={() => {
              model.clearFilters();
            }}
          >
            {trans.__('List all')}
          </Button>
        </Empty>
      )}
      <p className="jp-Mlsvc-count" role="status">
        {trans.__(
          '%1, %2',
          trans._n('%1 service', '%1 services', count),
          trans._n('%1 version', '%1 versions', versions.length)
        )}
        {failing > 0 && (
          <span className="jp-Mlsvc-errors">{trans._n('%1 failing', '%1 failing', failing)}</span>
        )}
      </p>
    </>
  );
}

/**
 * Whose services are listed, with what tag, and in what order.
 */
function Filters(props: { model: ServicesModel; trans: TranslationBundle }): React.ReactElement {
  const { model, trans } = props;
  const { tags } = model;
  const orders: Record<Order, string> = {
    name: trans.__('By name'),
    newest: trans.__('Newest'),
    calls: trans.__('Most calls'),
    errors: trans.__('Most errors')
  };
  return (
    <div className="jp-Mlsvc-filters">
      <select
        className="jp-Mlsvc-select"
        aria-label={trans.__('Published by')}
        title={trans.__('Published by')}
        value={model.publishers}
        onChange={event => {
          model.publishers = event.target.value as Publishers;
        }}
      >
        <option value="all">{trans.__('By anybody')}</option>
        <option value="mine">{trans.__('By me')}</option>
        {model.everyPublisher.map(name => (
          <option key={name} value={`by:${name}`}>
            {trans.__('By %1', harmless(name))}
          </option>
        ))}
      </select>
      <select
        className="jp-Mlsvc-select"
        aria-label={trans.__('Sort')}
        title={trans.__('Sort')}
        value={model.order}
        onChange={event => {
          model.order = event.target.value as Order;
        }}
      >
        {ORDERS.map(order => (
          <option key={order} value={order}>
            {orders[order]}
          </option>
        ))}
      </select>
      {tags.length > 0 && (
        <select
          className="jp-Mlsvc-select"
          aria-label={trans.__('Tag')}
          title={trans.__('Tag')}
          value={model.tag}
          onChange={event => {
            model.tag = event.target.value;
          }}
        >
          <option value="">{trans.__('Any tag')}</option>
          {tags.map(tag => (
            <option key={tag} value={tag}>
              {harmless(tag)}
            </option>
          ))}
        </select>
      )}
    </div>
  );
}

/**
 * What can be done with the versions that are selected.
 */
function Selection(props: {
  model: ServicesModel;
  mlsvc: IMlsvc;
  onDelete: () => void;
}): React.ReactElement {
  const { model, mlsvc, onDelete } = props;
  const { trans } = mlsvc;
  const count = model.selected.size;
  const services = [...model.selected].flatMap(id => model.find(keyOf(id)) ?? []);
  // The list has the older ones first.
  const [older, newer] = model.list.value?.filter(each => services.includes(each)) ?? [];
  const changeable = services.filter(isChangeable).length;
  return (
    <div className="jp-Mlsvc-selection" role="toolbar" aria-label={trans.__('Selected versions')}>
      <span role="status">{trans._n('%1 selected', '%1 selected', count)}</span>
      {changeable > 0 ? (
        <Button kind="warn" onClick={onDelete}>
          {trans._n('Delete %1…', 'Delete %1…', changeable)}
        </Button>
      ) : (
        <span className="jp-Mlsvc-faint">{trans.__('not yours to delete')}</span>
      )}
      {older && newer && services.length === 2 && mlsvc.hasTabs && (
        <Button
          onClick={() => {
            const { name, version } = newer;
            const args = { name, version, against: idOf(older) };
            void mlsvc.app.commands.execute(ServiceCommandIDs.openTab, args);
          }}
        >
          {trans.__('Compare')}
        </Button>
      )}
      <IconButton
        icon={closeIcon}
        label={trans.__('Select none')}
        onClick={() => {
          model.select([]);
        }}
      />
    </div>
  );
}
