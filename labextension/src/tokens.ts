import { ILayoutRestorer, JupyterFrontEnd } from '@jupyterlab/application';
import { ICommandPalette } from '@jupyterlab/apputils';
import { ILauncher } from '@jupyterlab/launcher';
import { IRenderMimeRegistry } from '@jupyterlab/rendermime';
import { TranslationBundle } from '@jupyterlab/translation';
import { CommandRegistry } from '@lumino/commands';
import { Token } from '@lumino/coreutils';
import * as React from 'react';

import { ServerEvents } from './events';
import { Requester } from './request';
import { PanelSettings } from './settings';
import { PanelState } from './state';
import { ServerStatus } from './status';

/**
 * Names that others may rely on.
 */

export const PLUGIN_ID = 'jupyter-mlsvc:plugin';

export const PANEL_ID = 'jupyter-mlsvc-services';

export const CommandIDs = {
  open: 'mlsvc:open-services',
  refresh: 'mlsvc:refresh-services'
} as const;

/**
 * A tab of the side panel.
 */
export interface IPanelView {
  readonly id: string;

  /**
   * The tab's name, translated.
   */
  readonly label: string;

  /**
   * Draw the view; it redraws itself when its model changes.
   */
  render(): React.ReactElement;

  /**
   * The view comes to be seen: load, and watch the server from now on.
   */
  activate(): void;

  /**
   * The view is no longer seen: leave the server alone.
   */
  deactivate(): void;

  /**
   * Load again, because somebody asked for it; never rejects.
   */
  refresh(): Promise<void>;

  dispose?(): void;
}

/**
 * The side panel, for those who act on it.
 */
export interface IPanel {
  /**
   * Bring the panel to the front, with the tab of this id if there is one.
   */
  show: (view?: string) => void;

  /**
   * Load again what is seen.
   */
  refresh: () => Promise<void>;
}

/**
 * What the parts of this extension share; built once, when it starts.
 */
export interface IMlsvc {
  readonly app: JupyterFrontEnd;
  readonly trans: TranslationBundle;
  readonly requests: Requester;
  readonly events: ServerEvents;
  readonly status: ServerStatus;
  readonly state: PanelState;
  readonly settings: PanelSettings;
  readonly palette: ICommandPalette | null;
  readonly launcher: ILauncher | null;
  readonly restorer: ILayoutRestorer | null;

  /**
   * Whether the main area has tabs, as that of JupyterLab has and that of Notebook has not.
   */
  readonly hasTabs: boolean;

  /**
   * Colours code, where it is there.
   */
  readonly rendermime: IRenderMimeRegistry | null;
  readonly panel: IPanel;

  /**
   * Add a command and, unless `isHidden`, offer it in the palette.
   *
   * Its label can tell the palette by the argument `isPalette`: beside other commands of Lab it has
   * to say more than in a menu of its own.
   */
  addCommand: (id: string, options: CommandRegistry.ICommandOptions, isHidden?: boolean) => void;
}

/**
 * For plugins of this package; given by the plugin of the panel.
 */
export const IMlsvc = new Token<IMlsvc>('jupyter-mlsvc:IMlsvc');
