import { Clipboard, Dialog, InputDialog, Notification, showDialog } from '@jupyterlab/apputils';
import { TranslationBundle } from '@jupyterlab/translation';
import { copyIcon, deleteIcon, editIcon, runIcon, stopIcon } from '@jupyterlab/ui-components';
import { JSONObject, ReadonlyPartialJSONObject } from '@lumino/coreutils';
import { Menu } from '@lumino/widgets';
import * as React from 'react';

import { messageOf } from '../calls/error';
import { confirm } from '../list';
import { servicesIcon } from '../icon';
import { IMlsvc } from '../tokens';
import { IServiceVersion } from '../calls/api';
import { describeCalls } from '../calls/figures';
import { askForKey } from './keyform';
import { ServiceTabs } from './document';
import { ServicesModel } from './model';
import { exampleInputs } from '../calls/examples';
import { idOf, isChangeable, IVersionKey, keyOf } from '../calls/rows';
import { callOf, Language, LANGUAGES } from '../calls/snippets';

export const ServiceCommandIDs = {
  open: 'mlsvc:open-service',
  openTab: 'mlsvc:open-service-tab',
  close: 'mlsvc:close-service',
  run: 'mlsvc:run-service',
  cancel: 'mlsvc:cancel-service-run',
  copy: 'mlsvc:copy-service-call',
  createKey: 'mlsvc:create-service-key',
  revokeKey: 'mlsvc:revoke-service-key',
  describe: 'mlsvc:describe-service',
  delete: 'mlsvc:delete-service',
  filter: 'mlsvc:filter-services'
} as const;

/**
 * A label for menus, and a longer one for the palette.
 */
const inFull =
  (short: string, long: string) =>
  (args: ReadonlyPartialJSONObject): string =>
    args['isPalette'] ? long : short;

/**
 * Rows of services and versions, which have the context menu; a service's is about its newest
 * version, and deletes all of them.
 */
const ROW = '.jp-Mlsvc-row';

/**
 * Add what can be done with services as commands: for palette, context menu and shortcuts.
 *
 * Without arguments a command is about the versions that the panel points at; where it points at
 * none, its user is asked for one.
 */
export function addServiceCommands(mlsvc: IMlsvc, model: ServicesModel, tabs: ServiceTabs): void {
  const { addCommand, trans, status } = mlsvc;
  const ids = ServiceCommandIDs;
  const which = (): JSONObject => ({
    name: { type: 'string', description: trans.__('Name of the service') },
    version: { type: 'string', description: trans.__('Its version') }
  });
  const one = async (
    args: ReadonlyPartialJSONObject,
    title: string,
    isOffered?: (service: IServiceVersion) => boolean
  ): Promise<IServiceVersion | null> =>
    (await targetsOf(args, model, title, trans, isOffered))[0] ?? null;
  const show = (key: IVersionKey): void => {
    model.openKey = { name: key.name, version: key.version };
    mlsvc.panel.show('services');
  };

  addCommand(ids.open, {
    label: inFull(trans.__('Open'), trans.__('Open an ML Service')),
    describedBy: { args: { type: 'object', properties: which() } },
    execute: async args => {
      const service = await one(args, trans.__('Open a service'));
      if (service) {
        show(service);
      }
    }
  });

  addCommand(ids.openTab, {
    label: args =>
      args['all']
        ? trans.__('ML Services')
        : inFull(trans.__('Open in a Tab'), trans.__('Open an ML Service in a Tab'))(args),
    caption: trans.__('Show what services do, try them, and see how programs call them'),
    icon: servicesIcon,
    describedBy: {
      args: {
        type: 'object',
        properties: {
          ...which(),
          against: {
            type: 'string',
            description: trans.__('Version to compare it with, as NAME/VERSION')
          },
          all: {
            type: 'boolean',
            description: trans.__('Whether to show all services in place of a version')
          }
        }
      }
    },
    execute: async args => {
      const { name, version } = args;
      const against = keyOf(typeof args['against'] === 'string' ? args['against'] : '');
      const bring = (key: IVersionKey | null): void => {
        if (mlsvc.hasTabs) {
          tabs.open(key && against ? { ...key, against } : key);
        } else if (key) {
          show(key);
        } else {
          mlsvc.panel.show('services');
        }
      };
      if (args['all'] === true) {
        bring(null);
      } else if (typeof name === 'string' && typeof version === 'string') {
        // Where it is gone, its tab says so.
        bring({ name, version });
      } else {
        const service = await one(args, trans.__('Open a service'));
        if (service) {
          bring(service);
        }
      }
    }
  });

  addCommand(
    ids.close,
    {
      label: trans.__('Go Back to the List of ML Services'),
      describedBy: { args: { type: 'object', properties: {} } },
      isEnabled: () => model.openKey !== null,
      execute: () => {
        model.openKey = null;
      }
    },
    true
  );

  addCommand(ids.run, {
    label: trans.__('Run an ML Service with the Inputs of Its Form'),
    icon: runIcon,
    describedBy: { args: { type: 'object', properties: which() } },
    execute: async args => {
      const service = await one(args, trans.__('Run a service'));
      if (service) {
        show(service);
        model.setUnfolded('try', true);
        await model.form(service).submit();
      }
    }
  });

  addCommand(ids.cancel, {
    label: trans.__('Cancel the Run of the Open ML Service'),
    icon: stopIcon,
    describedBy: { args: { type: 'object', properties: {} } },
    isEnabled: () => model.open !== undefined && model.form(model.open).run.state === 'running',
    execute: () => {
      if (model.open) {
        model.form(model.open).cancel();
      }
    }
  });

  addCommand(ids.copy, {
    label: args => {
      const language = LANGUAGES.find(({ id }) => id === args['language']);
      return language
        ? trans.__('Copy a Call as %1', language.name)
        : trans.__('Copy a Call of an ML Service');
    },
    icon: args => (args['language'] === undefined ? copyIcon : undefined),
    describedBy: {
      args: {
        type: 'object',
        properties: {
          ...which(),
          language: {
            type: 'string',
            enum: LANGUAGES.map(({ id }) => id),
            description: trans.__('In what to write it; as shown last if left out')
          }
        }
      }
    },
    execute: async args => {
      const service = await one(args, trans.__('Copy a call'));
      if (service) {
        const language = LANGUAGES.find(({ id }) => id === args['language'])?.id ?? model.language;
        copyCall(service, language, model, status.callUrl, trans);
      }
    }
  });

  addCommand(ids.createKey, {
    label: inFull(
      trans.__('Create a Key for a Caller…'),
      trans.__('Create a Key for Callers of an ML Service…')
    ),
    describedBy: { args: { type: 'object', properties: which() } },
    isVisible: () => model.targets.slice(0, 1).every(isChangeable),
    execute: async args => {
      const service = await one(args, trans.__('Create a key'), isChangeable);
      if (service) {
        show(service);
        model.setUnfolded('call', true);
        await askForKey(service, wanted => model.keys.create(wanted, service), trans);
      }
    }
  });

  addCommand(
    ids.revokeKey,
    {
      label: trans.__('Revoke a Key of Callers of ML Services…'),
      describedBy: {
        args: {
          type: 'object',
          properties: { key: { type: 'string', description: trans.__('Name of the key') } },
          required: ['key']
        }
      },
      execute: async ({ key }) => {
        if (typeof key === 'string') {
          await revokeKey(key, model, trans);
        }
      }
    },
    true
  );

  addCommand(ids.describe, {
    label: inFull(trans.__('Edit Description'), trans.__('Edit the Description of an ML Service')),
    icon: editIcon,
    describedBy: {
      args: {
        type: 'object',
        properties: {
          ...which(),
          description: {
            type: 'string',
            description: trans.__('The new description; edited in the panel if left out')
          }
        }
      }
    },
    isVisible: () => model.targets.slice(0, 1).every(isChangeable),
    execute: async args => {
      const service = await one(args, trans.__('Edit a description'), isChangeable);
      if (!service) {
        return;
      }
      if (typeof args['description'] === 'string') {
        await model.change(service, { description: args['description'] });
      } else {
        show(service);
        model.edited = idOf(service);
      }
    }
  });

  addCommand(ids.delete, {
    label: args => {
      const count = model.targets.filter(isChangeable).length;
      return count > 1
        ? trans._n('Delete %1 Version…', 'Delete %1 Versions…', count)
        : inFull(trans.__('Delete…'), trans.__('Delete a Version of an ML Service…'))(args);
    },
    icon: deleteIcon,
    describedBy: { args: { type: 'object', properties: which() } },
    isVisible: () => model.targets.length === 0 || model.targets.some(isChangeable),
    execute: async args => {
      const title = trans.__('Delete a version');
      const services = await targetsOf(args, model, title, trans, isChangeable);
      if (services.length > 0 && (await confirmDeletion(services, model, trans))) {
        await deleteVersions(services, model, trans);
      }
    }
  });

  addCommand(ids.filter, {
    label: trans.__('Search ML Services'),
    describedBy: {
      args: {
        type: 'object',
        properties: {
          text: { type: 'string', description: trans.__('Words that must occur') },
          mine: {
            type: 'boolean',
            description: trans.__('Whether to list only services that you published')
          }
        }
      }
    },
    execute: ({ text, mine }) => {
      model.openKey = null;
      if (typeof text === 'string') {
        model.filterText = text;
      }
      if (typeof mine === 'boolean') {
        model.publishers = mine ? 'mine' : 'all';
      }
      mlsvc.panel.show('services');
      requestAnimationFrame(() => {
        document.querySelector<HTMLElement>('.jp-Mlsvc-search input')?.focus();
      });
    }
  });

  addContextMenu(mlsvc);
}

function addContextMenu({ app, trans }: IMlsvc): void {
  const ids = ServiceCommandIDs;
  const copies = new Menu({ commands: app.commands });
  copies.title.label = trans.__('Copy a Call');
  copies.title.icon = copyIcon;
  for (const { id } of LANGUAGES) {
    copies.addItem({ command: ids.copy, args: { language: id } });
  }
  app.contextMenu.addItem({ command: ids.open, selector: ROW, rank: 0 });
  app.contextMenu.addItem({ command: ids.openTab, selector: ROW, rank: 0.5 });
  app.contextMenu.addItem({ type: 'submenu', submenu: copies, selector: ROW, rank: 1 });
  app.contextMenu.addItem({ command: ids.createKey, selector: ROW, rank: 2 });
  app.contextMenu.addItem({ command: ids.describe, selector: ROW, rank: 3 });
  app.contextMenu.addItem({ command: ids.delete, selector: ROW, rank: 4 });
}

/**
 * Find the versions that a command is about.
 */
async function targetsOf(
  args: ReadonlyPartialJSONObject,
  model: ServicesModel,
  title: string,
  trans: TranslationBundle,
  isOffered: (service: IServiceVersion) => boolean = () => true
): Promise<IServiceVersion[]> {
  if (!model.list.value) {
    await model.list.load();
  }
  const { name, version } = args;
  if (typeof name === 'string' && typeof version === 'string') {
    const key = { name, version };
    const found = model.find(key) ?? (await model.list.load(), model.find(key));
    if (!found) {
      Notification.error(trans.__('There is no service %1 %2.', name, version));
    }
    return found ? [found] : [];
  }
  const targets = model.targets;
  return targets.length > 0
    ? targets.filter(isOffered)
    : await chooseVersion(model, title, trans, isOffered);
}

async function chooseVersion(
  model: ServicesModel,
  title: string,
  trans: TranslationBundle,
  isOffered: (service: IServiceVersion) => boolean
): Promise<IServiceVersion[]> {
  if (model.list.trouble) {
    Notification.error(
      trans.__('The services could not be listed: %1', model.list.trouble.message)
    );
    return [];
  }
  const services = model.groups.flatMap(({ versions }) => versions).filter(isOffered);
  if (services.length === 0) {
    Notification.info(trans.__('There is no service that this can be done with.'));
    return [];
  }
  const labels = services.map(({ name, version }) => `${name} ${version}`);
  const { value } = await InputDialog.getItem({ title, items: labels });
  const chosen = value === null ? undefined : services[labels.indexOf(value)];
  return chosen ? [chosen] : [];
}

function copyCall(
  service: IServiceVersion,
  language: Language,
  model: ServicesModel,
  url: string,
  trans: TranslationBundle
): void {
  const form = model.form(service);
  const inputs = form.values ?? exampleInputs(service);
  Clipboard.copyToSystem(callOf(language, service, inputs, url, model.keys.made(service)?.key));
  const label = LANGUAGES.find(({ id }) => id === language)?.name ?? language;
  Notification.success(
    trans.__('Copied a call of %1 %2 as %3.', service.name, service.version, label),
    { autoClose: 3000 }
  );
}

async function revokeKey(
  key: string,
  model: ServicesModel,
  trans: TranslationBundle
): Promise<void> {
  const body = [trans.__('Programs that call with it get an error from now on.')];
  const title = trans.__('Revoke key %1?', key);
  if (!(await confirm({ title, body, accept: trans.__('Revoke'), trans }))) {
    return;
  }
  try {
    await model.keys.revoke(key);
  } catch (error) {
    Notification.error(trans.__('Key %1 was not revoked: %2', key, messageOf(error)), {
      autoClose: false
    });
  }
}

async function confirmDeletion(
  services: readonly IServiceVersion[],
  model: ServicesModel,
  trans: TranslationBundle
): Promise<boolean> {
  const calls = await model.recentCalls();
  const callsOf = (service: IServiceVersion): string =>
    calls
      ? describeCalls(calls.get(idOf(service)), trans)
      : trans.__('The server does not say how often it was called.');
  const [first] = services;
  if (!first) {
    return false;
  }
  const title =
    services.length === 1
      ? trans.__('Delete %1 %2?', first.name, first.version)
      : trans._n('Delete %1 version?', 'Delete %1 versions?', services.length);
  const { button } = await showDialog({
    title,
    body: (
      <div className="jp-Mlsvc-confirmation">
        {services.length === 1 ? (
          <p>{callsOf(first)}</p>
        ) : (
          <ul>
            {services.map(service => (
              <li key={idOf(service)}>
                <strong>{`${service.name} ${service.version}: `}</strong>
                {callsOf(service)}
              </li>
            ))}
          </ul>
        )}
        <p>
          {trans._n(
            'Programs that call it will get an error. This cannot be undone.',
            'Programs that call them will get an error. This cannot be undone.',
            services.length
          )}
        </p>
      </div>
    ),
    buttons: [Dialog.cancelButton(), Dialog.warnButton({ label: trans.__('Delete') })],
    defaultButton: 0
  });
  return button.accept;
}

async function deleteVersions(
  services: readonly IServiceVersion[],
  model: ServicesModel,
  trans: TranslationBundle
): Promise<void> {
  // Before the rows are gone, so that the list finds it when they are.
  model.focused = neighbourOf(services, model) ?? model.focused;
  const failures = await model.delete(services);
  for (const { key, reason } of failures) {
    Notification.error(trans.__('%1 %2 was not deleted: %3', key.name, key.version, reason), {
      autoClose: false
    });
  }
  const deleted = services.length - failures.length;
  if (deleted > 0) {
    Notification.success(trans._n('Deleted %1 version.', 'Deleted %1 versions.', deleted), {
      autoClose: 3000
    });
  }
}

/**
 * The row that takes the focus once these versions are gone: the next one that stays, or the one
 * before.
 */
function neighbourOf(services: readonly IServiceVersion[], model: ServicesModel): string | null {
  const gone = new Set(services.map(idOf));
  const { rows } = model;
  const stays = (i: number): boolean => {
    const row = rows[i];
    return row?.kind === 'version'
      ? !gone.has(row.id)
      : row?.group.versions.some(version => !gone.has(idOf(version))) === true;
  };
  const at = rows.findIndex(row => gone.has(row.id));
  const after = [...rows.keys()].find(i => i > at && stays(i));
  const before = [...rows.keys()].reverse().find(i => i < at && stays(i));
  return rows[after ?? before ?? -1]?.id ?? null;
}
