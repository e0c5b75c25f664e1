import { JupyterFrontEnd } from '@jupyterlab/application';
import { StateDB } from '@jupyterlab/statedb';
import { nullTranslator } from '@jupyterlab/translation';
import { CommandRegistry } from '@lumino/commands';

import { ServerEvents } from '../src/events';
import { MlsvcError } from '../src/calls/request';
import { Requester } from '../src/request';
import { PanelSettings } from '../src/settings';
import { PanelState } from '../src/state';
import { IMlsvc } from '../src/tokens';

/**
 * What the parts of the extension share, over a server that is a table of answers.
 */
export class World {
  /**
   * Answers by `METHOD path`; a function is called with the body, an error is the refusal.
   */
  readonly answers = new Map<string, unknown>();
  readonly asked: string[] = [];
  readonly shown: (string | undefined)[] = [];
  readonly menu: string[] = [];
  readonly commands = new CommandRegistry();
  readonly mlsvc: IMlsvc;

  constructor() {
    const answer = async (
      method: string,
      path: readonly string[],
      options: { body?: unknown; signal?: AbortSignal } = {}
    ): Promise<unknown> => {
      const key = `${method} ${path.join('/')}`;
      this.asked.push(key);
      await Promise.resolve();
      options.signal?.throwIfAborted();
      if (!this.answers.has(key)) {
        throw new MlsvcError(`Nothing is at ${key}.`, 404, 'NotFoundException');
      }
      const found = this.answers.get(key);
      const value =
        typeof found === 'function' ? (found as (body: unknown) => unknown)(options.body) : found;
      if (value instanceof Error) {
        throw value;
      }
      return value;
    };
    const requests = {
      url: 'http://localhost/mlsvc',
      json: answer,
      lines: async function* (method: string, path: readonly string[]) {
        yield* (await answer(method, path)) as unknown[];
      }
    } as unknown as Requester;
    this.mlsvc = {
      app: {
        commands: this.commands,
        contextMenu: { addItem: ({ command }: { command: string }) => this.menu.push(command) }
      } as unknown as JupyterFrontEnd,
      trans: nullTranslator.load('jupyter_mlsvc'),
      requests,
      events: new ServerEvents({ json: () => new Promise(() => undefined) }),
      state: new PanelState(new StateDB()),
      settings: new PanelSettings(),
      palette: null,
      panel: { show: (view?: string) => this.shown.push(view) },
      addCommand: (id: string, options: CommandRegistry.ICommandOptions) =>
        this.commands.addCommand(id, options)
    } as unknown as IMlsvc;
  }

  /**
   * Tell that something changed on the server.
   */
  change(kind: 'session' | 'snapshot' | 'service'): void {
    (this.mlsvc.events.changed as unknown as { emit: (change: unknown) => void }).emit({
      kind,
      events: []
    });
  }
}
