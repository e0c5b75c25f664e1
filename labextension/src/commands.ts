import { JupyterFrontEnd } from '@jupyterlab/application';
import {
  Dialog,
  ICommandPalette,
  InputDialog,
  showDialog,
  showErrorMessage
} from '@jupyterlab/apputils';
import { TranslationBundle } from '@jupyterlab/translation';
import { refreshIcon } from '@jupyterlab/ui-components';
import { ReadonlyPartialJSONObject } from '@lumino/coreutils';

import { servicesIcon } from './icon';
import { ServicesModel } from './model';
import { CommandIDs, PANEL_ID } from './tokens';

interface IVersionKey {
  name: string;
  version: string;
}

const NO_ARGUMENTS = { type: 'object', properties: {} } as const;

/**
 * Add every action as a command, and offer each in the palette.
 */
export function addCommands(
  app: JupyterFrontEnd,
  model: ServicesModel,
  palette: ICommandPalette | null,
  trans: TranslationBundle
): void {
  const { commands, shell } = app;

  commands.addCommand(CommandIDs.open, {
    label: trans.__('Show ML Services'),
    icon: servicesIcon,
    describedBy: { args: NO_ARGUMENTS },
    execute: () => {
      shell.activateById(PANEL_ID);
    }
  });

  commands.addCommand(CommandIDs.refresh, {
    label: trans.__('Refresh the List of ML Services'),
    icon: refreshIcon,
    describedBy: { args: NO_ARGUMENTS },
    execute: () => model.refresh()
  });

  commands.addCommand(CommandIDs.deleteService, {
    label: trans.__('Delete a Version of an ML Service…'),
    describedBy: {
      args: {
        type: 'object',
        properties: {
          name: {
            type: 'string',
            description: trans.__('Name of the service; asked for if left out')
          },
          version: { type: 'string', description: trans.__('Version to delete') }
        }
      }
    },
    execute: async args => {
      const key = versionKey(args) ?? (await chooseVersion(model, trans));
      if (key && (await confirmDeletion(key, trans))) {
        await deleteVersion(key, model, trans);
      }
    }
  });

  const category = trans.__('ML Services');
  for (const command of Object.values(CommandIDs)) {
    palette?.addItem({ command, category });
  }
}

function versionKey(args: ReadonlyPartialJSONObject): IVersionKey | null {
  const { name, version } = args;
  return typeof name === 'string' && typeof version === 'string' ? { name, version } : null;
}

async function chooseVersion(
  model: ServicesModel,
  trans: TranslationBundle
): Promise<IVersionKey | null> {
  await model.refresh();
  const title = trans.__('Delete a version of a service');
  if (model.error !== null) {
    await showErrorMessage(title, model.error);
    return null;
  }
  const keys = model.groups.flatMap(group => group.versions);
  if (keys.length === 0) {
    await showErrorMessage(title, trans.__('There are no services to delete.'));
    return null;
  }
  const labels = keys.map(({ name, version }) => `${name} ${version}`);
  const { value } = await InputDialog.getItem({ title, items: labels });
  return (value !== null && keys[labels.indexOf(value)]) || null;
}

async function confirmDeletion(key: IVersionKey, trans: TranslationBundle): Promise<boolean> {
  const { button } = await showDialog({
    title: trans.__('Delete %1 %2?', key.name, key.version),
    body: trans.__('Programs that call this version will get an error. This cannot be undone.'),
    buttons: [Dialog.cancelButton(), Dialog.warnButton({ label: trans.__('Delete') })]
  });
  return button.accept;
}

async function deleteVersion(
  key: IVersionKey,
  model: ServicesModel,
  trans: TranslationBundle
): Promise<void> {
  try {
    await model.deleteService(key.name, key.version);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    await showErrorMessage(trans.__('%1 %2 was not deleted', key.name, key.version), message);
  }
}
