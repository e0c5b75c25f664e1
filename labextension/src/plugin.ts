import {
  ILabShell,
  ILayoutRestorer,
  JupyterFrontEnd,
  JupyterFrontEndPlugin
} from '@jupyterlab/application';
import { ICommandPalette } from '@jupyterlab/apputils';
import { ILauncher } from '@jupyterlab/launcher';
import { IRenderMimeRegistry } from '@jupyterlab/rendermime';
import { ISettingRegistry } from '@jupyterlab/settingregistry';
import { IStateDB } from '@jupyterlab/statedb';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';
import { refreshIcon } from '@jupyterlab/ui-components';

import { ServerEvents } from './events';
import { servicesIcon } from './icon';
import { MlsvcPanel } from './panel';
import { Requester } from './request';
import { createServicesView } from './services';
import { createSessionsView } from './sessions';
import { PanelSettings } from './settings';
import { createSnapshotsView } from './snapshots';
import { PanelState } from './state';
import { ServerStatus } from './status';
import { CommandIDs, IMlsvc, PANEL_ID, PLUGIN_ID } from './tokens';

/**
 * The side panel and its commands; nothing is required, so that it starts in Notebook 7 too.
 */
export const plugin: JupyterFrontEndPlugin<IMlsvc> = {
  id: PLUGIN_ID,
  description: 'A side panel with the services, sessions and snapshots of this server.',
  autoStart: true,
  provides: IMlsvc,
  optional: [
    ICommandPalette,
    ILabShell,
    ILauncher,
    ILayoutRestorer,
    IRenderMimeRegistry,
    ISettingRegistry,
    IStateDB,
    ITranslator
  ],
  activate: (
    app: JupyterFrontEnd,
    palette: ICommandPalette | null,
    labShell: ILabShell | null,
    launcher: ILauncher | null,
    restorer: ILayoutRestorer | null,
    rendermime: IRenderMimeRegistry | null,
    registry: ISettingRegistry | null,
    database: IStateDB | null,
    translator: ITranslator | null
  ): IMlsvc => {
    const trans = (translator ?? nullTranslator).load('jupyter_mlsvc');
    const requests = new Requester(app.serviceManager.serverSettings);
    const status = new ServerStatus(requests);
    const events = new ServerEvents(requests);
    const state = new PanelState(database);
    const settings = new PanelSettings();
    const panel = new MlsvcPanel({ trans, status, events, state });
    const category = trans.__('ML Services');
    const mlsvc: IMlsvc = {
      app,
      trans,
      requests,
      events,
      status,
      state,
      settings,
      palette,
      launcher,
      restorer,
      hasTabs: labShell !== null,
      rendermime,
      panel: {
        show: view => {
          app.shell.activateById(PANEL_ID);
          if (view !== undefined) {
            panel.select(view);
          }
        },
        refresh: () => panel.refresh()
      },
      addCommand: (id, options, isHidden = false) => {
        app.commands.addCommand(id, options);
        if (!isHidden) {
          palette?.addItem({ command: id, category, args: { isPalette: true } });
        }
      }
    };
    addFrameCommands(mlsvc, panel);
    panel.addView(createServicesView(mlsvc));
    panel.addView(createSessionsView(mlsvc));
    panel.addView(createSnapshotsView(mlsvc));
    app.shell.add(panel, 'left', { rank: 550 });
    restorer?.add(panel, PANEL_ID);
    if (registry) {
      void settings.connect(registry, PLUGIN_ID);
    }
    void status.check();
    events.changed.connect((_, change) => {
      if (change.kind === 'service' && change.events.length === 0) {
        // The server may be another one now.
        void status.check();
      }
    });
    return mlsvc;
  }
};

function addFrameCommands({ addCommand, panel: { show }, trans }: IMlsvc, panel: MlsvcPanel): void {
  addCommand(CommandIDs.open, {
    label: trans.__('Show ML Services'),
    icon: servicesIcon,
    describedBy: {
      args: {
        type: 'object',
        properties: {
          view: {
            type: 'string',
            enum: ['services', 'sessions', 'snapshots'],
            description: trans.__('Tab to select; the last one if left out')
          }
        }
      }
    },
    execute: ({ view }) => {
      show(typeof view === 'string' ? view : undefined);
    }
  });
  addCommand(CommandIDs.refresh, {
    label: trans.__('Refresh ML Services'),
    icon: refreshIcon,
    describedBy: { args: { type: 'object', properties: {} } },
    execute: () => panel.refresh()
  });
}
