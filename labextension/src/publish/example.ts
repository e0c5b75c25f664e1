import { INotebookTracker, NotebookPanel } from '@jupyterlab/notebook';

import { EXAMPLE } from '../services/example';
import { IMlsvc } from '../tokens';
import { insertBelow } from './cells';
import { PublishCommandIDs } from './tokens';

/**
 * Add the command that writes a first example into the notebook that is open, or into a new one.
 */
export function addExampleCommand(mlsvc: IMlsvc, tracker: INotebookTracker): void {
  const { app, trans } = mlsvc;
  mlsvc.addCommand(PublishCommandIDs.insertExample, {
    label: trans.__('Insert an Example of a Service into the Notebook'),
    caption: trans.__('Write a cell that publishes a service, and one that calls it'),
    describedBy: { args: { type: 'object', properties: {} } },
    execute: async () => {
      const panel = tracker.currentWidget ?? (await newNotebook(mlsvc));
      if (!panel) {
        return;
      }
      await panel.context.ready;
      await panel.revealed;
      const notebook = panel.content;
      const active = notebook.activeCell?.model;
      // An empty cell of a new notebook is none to leave above.
      const isBlank = active?.type === 'code' && active.sharedModel.getSource() === '';
      if (active && isBlank) {
        active.sharedModel.setSource(EXAMPLE[0]);
      }
      for (const source of isBlank ? EXAMPLE.slice(1) : EXAMPLE) {
        insertBelow(notebook, notebook.activeCell?.model.id ?? '', source);
      }
      app.shell.activateById(panel.id);
    }
  });
}

async function newNotebook({ app }: IMlsvc): Promise<NotebookPanel | null> {
  const { kernelspecs } = app.serviceManager;
  await kernelspecs.ready;
  const specs = Object.values(kernelspecs.specs?.kernelspecs ?? {});
  const kernelName = specs.find(spec => spec?.language.toLowerCase() === 'python')?.name;
  const made: unknown = await app.commands.execute('notebook:create-new', {
    cwd: '',
    ...(kernelName === undefined ? {} : { kernelName })
  });
  return made instanceof NotebookPanel ? made : null;
}
