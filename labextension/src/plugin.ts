import { ILayoutRestorer, JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ICommandPalette } from '@jupyterlab/apputils';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import { addCommands } from './commands';
import { ServicesModel } from './model';
import { ServicesPanel } from './panel';
import { MlsvcServer } from './service';
import { CommandIDs, PANEL_ID, PLUGIN_ID } from './tokens';

/**
 * The side panel and its commands; nothing is required, so that it starts in Notebook 7 too.
 */
export const plugin: JupyterFrontEndPlugin<void> = {
  id: PLUGIN_ID,
  description: 'Lists the ML services of this server and deletes their versions.',
  autoStart: true,
  optional: [ICommandPalette, ILayoutRestorer, ITranslator],
  activate: (
    app: JupyterFrontEnd,
    palette: ICommandPalette | null,
    restorer: ILayoutRestorer | null,
    translator: ITranslator | null
  ) => {
    const trans = (translator ?? nullTranslator).load('jupyter_mlsvc');
    const model = new ServicesModel(new MlsvcServer(app.serviceManager.serverSettings));
    const panel = new ServicesPanel(
      model,
      {
        refresh: () => void app.commands.execute(CommandIDs.refresh),
        deleteService: (name, version) =>
          void app.commands.execute(CommandIDs.deleteService, { name, version })
      },
      trans
    );
    addCommands(app, model, palette, trans);
    app.shell.add(panel, 'left', { rank: 550 });
    restorer?.add(panel, PANEL_ID);
  }
};
