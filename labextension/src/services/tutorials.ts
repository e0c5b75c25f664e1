import { InputDialog, showErrorMessage } from '@jupyterlab/apputils';
import { PageConfig, URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';
import { TranslationBundle } from '@jupyterlab/translation';

import { messageOf } from '../calls/error';
import { IMlsvc } from '../tokens';

export const TUTORIAL_COMMAND = 'mlsvc:open-tutorial';

/**
 * Folder of a person's files that tutorials are copied into.
 */
const FOLDER = 'mlsvc-tutorials';

/**
 * A notebook that came with this extension.
 */
export interface ITutorial {
  file: string;
  title: string;
}

export function tutorials(trans: TranslationBundle): readonly ITutorial[] {
  return [
    { file: '01-iris-walkthrough.ipynb', title: trans.__('From a notebook to a web service') },
    { file: '02-iris-rest.ipynb', title: trans.__('The same by REST') },
    { file: '03-errors.ipynb', title: trans.__('What mistakes look like') },
    { file: '04-panels.ipynb', title: trans.__('Panels and forms') }
  ];
}

/**
 * Add the command that opens a tutorial, as a copy that is its reader's own.
 */
export function addTutorialCommand(mlsvc: IMlsvc): void {
  const { app, trans } = mlsvc;
  const all = tutorials(trans);
  mlsvc.addCommand(TUTORIAL_COMMAND, {
    label: trans.__('Open a Tutorial of ML Services'),
    describedBy: {
      args: {
        type: 'object',
        properties: {
          file: {
            type: 'string',
            enum: all.map(({ file }) => file),
            description: trans.__('Which one; its user is asked if left out')
          }
        }
      }
    },
    execute: async args => {
      const chosen = all.find(({ file }) => file === args['file']) ?? (await choose(all, trans));
      if (!chosen) {
        return;
      }
      try {
        const path = await copyOf(chosen.file, mlsvc);
        await app.commands.execute('docmanager:open', { path });
      } catch (error) {
        await showErrorMessage(trans.__('The tutorial was not opened'), messageOf(error));
      }
    }
  });
}

async function choose(
  all: readonly ITutorial[],
  trans: TranslationBundle
): Promise<ITutorial | undefined> {
  const { value } = await InputDialog.getItem({
    title: trans.__('Open a tutorial'),
    items: all.map(({ title }) => title)
  });
  return all.find(({ title }) => title === value);
}

/**
 * Find the copy of a tutorial among a person's files, or make one.
 */
async function copyOf(file: string, { app }: IMlsvc): Promise<string> {
  const { contents } = app.serviceManager;
  const path = `${FOLDER}/${file}`;
  if (await exists(path, contents)) {
    return path;
  }
  const folder = URLExt.join(PageConfig.getOption('fullLabextensionsUrl'), 'jupyter-mlsvc');
  const settings = app.serviceManager.serverSettings;
  const { href: url } = new URL(`${folder}/tutorials/${file}`, settings.baseUrl);
  const response = await ServerConnection.makeRequest(url, {}, settings);
  if (!response.ok) {
    throw await ServerConnection.ResponseError.create(response);
  }
  const content: unknown = await response.json();
  if (!(await exists(FOLDER, contents))) {
    await contents.save(FOLDER, { type: 'directory' });
  }
  await contents.save(path, { type: 'notebook', format: 'json', content });
  return path;
}

async function exists(
  path: string,
  contents: IMlsvc['app']['serviceManager']['contents']
): Promise<boolean> {
  try {
    await contents.get(path, { content: false });
    return true;
  } catch (error) {
    if (error instanceof ServerConnection.ResponseError && error.response.status === 404) {
      return false;
    }
    throw error;
  }
}
