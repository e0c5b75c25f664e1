// @vitest-environment jsdom
import { JupyterFrontEnd } from '@jupyterlab/application';
import { nullTranslator } from '@jupyterlab/translation';
import { ReactWidget } from '@jupyterlab/ui-components';
import { CommandRegistry } from '@lumino/commands';
import { ContextMenu, Widget } from '@lumino/widgets';
import { readdirSync } from 'node:fs';
import { act } from 'react';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { ServerEvents } from '../../src/events';
import { IRequestOptions, MlsvcError } from '../../src/calls/request';
import { Requester } from '../../src/request';
import { createServicesView } from '../../src/services';
import { describeCalls } from '../../src/calls/figures';
import { tutorials } from '../../src/services/tutorials';
import {
  IServiceCallDetails,
  IServiceLogEntry,
  IServiceStatistics,
  IServiceVersion
} from '../../src/calls/api';
import { PanelSettings } from '../../src/settings';
import { PanelState } from '../../src/state';
import { ServerStatus } from '../../src/status';
import { IMlsvc, IPanelView } from '../../src/tokens';

const trans = nullTranslator.load('jupyter_mlsvc');
Object.assign(globalThis, { IS_REACT_ACT_ENVIRONMENT: true });

const version = (name: string, number: string, more = {}): IServiceVersion => ({
  name,
  version: number,
  versionPublishedBy: 'root',
  creationTime: '2026-01-01T00:00:00.0000000',
  runtimeType: 'Python',
  description: '',
  myPermissionOnService: 'read/write',
  inputParameterDefinitions: [{ name: 'x', type: 'numeric' }],
  outputParameterDefinitions: [{ name: 'y', type: 'numeric' }],
  ...more
});

const figures = (name: string, number: string, more = {}): IServiceStatistics => ({
  name,
  version: number,
  state: 'ready',
  message: '',
  workers: 1,
  waiting: 0,
  calls: 0,
  errors: 0,
  callsPerMinute: 0,
  p50Milliseconds: null,
  p99Milliseconds: null,
  lastCall: null,
  ...more
});

const call = (id: number, more: Partial<IServiceCallDetails> = {}): IServiceCallDetails => ({
  id,
  time: '2026-01-01T00:00:00Z',
  caller: 'maria',
  callerKind: 'person',
  status: 200,
  success: true,
  milliseconds: 3.14,
  requestId: `id-${id}`,
  requestBytes: 1200,
  answerBytes: 34,
  problem: '',
  text: '',
  ...more
});

const batch = (state: string, completed: number, failed = 0): Record<string, unknown> => ({
  state,
  completedItemCount: completed,
  totalItemCount: 40,
  failedItemCount: failed,
  errorMessage: '',
  batchExecutionResults: []
});

/**
 * A server in memory behind `Requester.json`.
 */
class Door {
  readonly asked: string[] = [];
  failure: Error | null = null;
  isSilent = false;
  services = [
    version('Iris', 'V1.0'),
    version('Iris', 'V2.0', { description: 'With species' }),
    version('Cars', '1', { myPermissionOnService: 'read only', versionPublishedBy: 'maria' })
  ];
  statistics = [figures('Iris', 'V2.0', { calls: 12, errors: 2, callsPerMinute: 3 })];

  log: IServiceLogEntry[] = [];

  calls: IServiceCallDetails[] = [];

  batches: Record<string, Record<string, unknown>> = {};

  readonly url = 'http://localhost/mlsvc';

  readonly json = async (
    method: string,
    path: readonly string[],
    { body, query }: IRequestOptions = {}
  ): Promise<unknown> => {
    await Promise.resolve();
    const [noun, name, number] = path;
    if (noun === 'events' || this.isSilent) {
      return new Promise(() => undefined);
    }
    if (noun === 'keys') {
      return [];
    }
    this.asked.push([method, ...path].join(' '));
    if (this.failure) {
      throw this.failure;
    }
    const isNamed = (service: IServiceVersion): boolean =>
      service.name === name && service.version === number;
    if (path[3] === 'batch') {
      return this._batch(method, path.slice(4), query);
    }
    if (method === 'DELETE') {
      this.services = this.services.filter(service => !isNamed(service));
    } else if (method === 'PATCH') {
      this.services = this.services.map(service =>
        isNamed(service) ? { ...service, ...(body as object) } : service
      );
    } else if (noun === 'api') {
      const { x } = body as { x: number };
      return { success: true, outputParameters: { y: 2 * x }, outputFiles: {}, consoleOutput: '' };
    } else if (path[3] === 'logs') {
      return [...this.log];
    } else if (path[3] === 'calls') {
      const [, , , , id] = path;
      const isShown = (each: IServiceCallDetails): boolean => !query?.['errors'] || !each.success;
      return id === undefined
        ? this.calls.filter(isShown)
        : this.calls.find(each => String(each.id) === id);
    } else if (noun === 'user') {
      return { name: 'root', role: 'owner', serverVersion: '0.1.0', publicUrl: 'http://door' };
    } else if (noun === 'services' && path.length === 3) {
      const found = this.services.filter(isNamed);
      if (found.length === 0) {
        throw new MlsvcError('It is gone.', 404, 'NotFoundException');
      }
      return found;
    } else if (noun === 'services' && name !== undefined) {
      const known = this.statistics.find(each => each.name === name && each.version === number);
      return { ...(known ?? figures(name, number ?? '')), intervalSeconds: 10, history: [] };
    } else if (noun === 'statistics') {
      return this.statistics;
    } else {
      return this.services;
    }
    return 'Done.';
  };

  private _batch(
    method: string,
    [id, index, noun]: readonly string[],
    query: IRequestOptions['query'] = {}
  ): unknown {
    if (id === undefined) {
      return Object.keys(this.batches);
    }
    if (method === 'DELETE') {
      this.batches = Object.fromEntries(
        Object.entries(this.batches).filter(([other]) => other !== id)
      );
      return [id];
    }
    if (index === 'cancel') {
      this.batches[id] = { ...this.batches[id], state: 'Cancelled' };
      return 'Cancelled.';
    }
    if (noun === 'files') {
      return index === '1' ? ['plot.png'] : [];
    }
    const results = Array.from({ length: 40 }, (_, at) => ({
      success: at !== 1,
      errorMessage: at === 1 ? 'ValueError: no' : '',
      outputParameters: { y: at },
      finished: at < 30
    }));
    const first = Number(query['first'] ?? 0);
    const page = results.slice(first, first + Number(query['count'] ?? 0));
    return { ...this.batches[id], batchExecutionResults: page };
  }
}

describe('The services', () => {
  let door: Door;
  let commands: CommandRegistry;
  let view: IPanelView;
  let state: PanelState;
  let status: ServerStatus;
  let events: ServerEvents;
  let widget: Widget;
  let node: HTMLElement;

  const create = async (): Promise<void> => {
    commands = new CommandRegistry();
    const requests = door as unknown as Requester;
    status = new ServerStatus(requests);
    events = new ServerEvents(requests);
    const mlsvc: IMlsvc = {
      app: {
        commands,
        contextMenu: new ContextMenu({ commands }),
        shell: {
          add: (tab: Widget) => {
            Widget.attach(tab, document.body);
          },
          activateById: () => undefined
        }
      } as unknown as JupyterFrontEnd,
      trans,
      requests,
      status,
      state,
      events,
      settings: new PanelSettings(),
      palette: null,
      launcher: null,
      restorer: null,
      hasTabs: true,
      rendermime: null,
      panel: { show: () => undefined, refresh: () => view.refresh() },
      addCommand: (id, options) => {
        commands.addCommand(id, options);
      }
    };
    view = createServicesView(mlsvc);
    node = document.createElement('div');
    document.body.append(node);
    widget = ReactWidget.create(view.render());
    await act(async () => {
      void status.check();
      Widget.attach(widget, node);
      view.activate();
      await vi.waitFor(() => {
        const isAnswered = door.asked.some(line => line.endsWith('statistics'));
        expect(isAnswered || door.isSilent || door.failure !== null).toBe(true);
      });
      await new Promise(resolve => setTimeout(resolve, 20));
    });
  };

  beforeEach(async () => {
    Element.prototype.scrollIntoView = () => undefined;
    Object.assign(globalThis, {
      ResizeObserver: class {
        observe = vi.fn();
        disconnect = vi.fn();
      }
    });
    door = new Door();
    state = new PanelState(null);
    await create();
  });

  const leave = (): void => {
    act(() => {
      view.deactivate();
      view.dispose?.();
      widget.dispose();
      events.dispose();
    });
    document.body.replaceChildren();
  };

  afterEach(leave);

  const rows = (): string[] =>
    [...node.querySelectorAll<HTMLElement>('[role=treeitem]')].map(({ dataset }) =>
      `${dataset['service'] ?? ''} ${dataset['version'] ?? ''}`.trim()
    );
  const row = (service: string, number: string): HTMLElement | null =>
    node.querySelector(`[data-service="${service}"][data-version="${number}"]`);
  const press = async (key: string, more: KeyboardEventInit = {}): Promise<void> => {
    await act(async () => {
      document.activeElement?.dispatchEvent(
        new KeyboardEvent('keydown', { key, bubbles: true, cancelable: true, ...more })
      );
      await new Promise(resolve => requestAnimationFrame(resolve));
    });
  };
  const click = async (element: Element | null | undefined): Promise<void> => {
    await act(async () => {
      element?.dispatchEvent(new MouseEvent('click', { bubbles: true, cancelable: true }));
      await new Promise(resolve => setTimeout(resolve, 20));
    });
  };
  const seen = async (check: () => void): Promise<void> => {
    const limit = Date.now() + 30_000;
    for (;;) {
      try {
        check();
        return;
      } catch (error) {
        if (Date.now() > limit) {
          throw error;
        }
      }
      await act(() => new Promise(resolve => setTimeout(resolve, 10)));
    }
  };
  const button = (label: string, within: ParentNode = node): HTMLButtonElement | undefined =>
    [...within.querySelectorAll('button')].find(
      element => (element.getAttribute('aria-label') ?? element.textContent) === label
    );
  const choose = async (label: string, value: string): Promise<void> => {
    await act(async () => {
      const select = node.querySelector<HTMLSelectElement>(`select[aria-label="${label}"]`);
      if (select) {
        select.value = value;
        select.dispatchEvent(new Event('change', { bubbles: true }));
      }
      await Promise.resolve();
    });
  };
  const execute = async (command: string, args = {}): Promise<void> => {
    await act(async () => {
      void commands.execute(command, args);
      await new Promise(resolve => setTimeout(resolve, 50));
    });
  };
  const type = async (element: HTMLInputElement | null, text: string): Promise<void> => {
    await act(async () => {
      const prototype = Object.getPrototypeOf(element) as object;
      Object.getOwnPropertyDescriptor(prototype, 'value')?.set?.call(element, text);
      element?.dispatchEvent(new Event('input', { bubbles: true }));
      await Promise.resolve();
    });
  };

  it('are listed by name, versions beneath and newest first, with their figures', () => {
    expect(rows()).toEqual(['Cars', 'Cars 1', 'Iris', 'Iris V2.0', 'Iris V1.0']);
    expect(row('Iris', 'V2.0')?.textContent).toContain('2 errors');
    expect(row('Iris', 'V2.0')?.textContent).toContain('3/min');
    expect(row('Iris', 'V2.0')?.textContent).toContain('Ready');
    expect(node.textContent).toContain('2 services, 3 versions');
  });

  it('do not look healthy before a call succeeded', async () => {
    door.services = door.services.map(service =>
      service.name === 'Iris' ? { ...service, neverAnswered: true } : service
    );
    await act(() => view.refresh());

    expect(row('Iris', 'V1.0')?.textContent).toContain('never called');
    expect(row('Iris', 'V2.0')?.textContent).toContain('never answered');
    expect(row('Iris', 'V2.0')?.textContent).not.toContain('Ready');
    expect(row('Iris', 'V2.0')?.querySelector('.jp-mod-ready')).toBeNull();
    expect(row('Cars', '1')?.textContent).not.toContain('never');
  });

  it('count what was rejected apart, and say what calls cost', async () => {
    const note = 'Each call costs a new worker: it changes the object seen in place.';
    door.statistics = [
      figures('Iris', 'V2.0', { calls: 3, rejected: 6, retired: 3, note }),
      figures('Iris', 'V1.0', { rejected: 1 })
    ];
    await act(() => view.refresh());

    expect(row('Iris', 'V2.0')?.textContent).toContain('6 rejected');
    expect(row('Iris', 'V2.0')?.textContent).not.toContain('error');
    expect(row('Iris', 'V2.0')?.textContent).toContain('3 workers replaced');
    expect(row('Iris', 'V1.0')?.textContent).toContain('1 rejected');
    await click(row('Iris', 'V2.0'));
    expect(node.querySelector('[role=note]')?.textContent).toBe(note);
    expect(node.querySelector('.jp-Mlsvc-numbers')?.textContent).toContain('rejected6');
  });

  it('show what they have printed and raised, and go on showing it', async () => {
    const first = { id: 7, level: 'info', problem: '', text: 'x is 1', requestId: 'a1' } as const;
    door.log = [{ ...first, time: '2026-01-01T00:00:00Z' }];
    await click(row('Iris', 'V2.0'));
    expect(door.asked.some(line => line.endsWith('logs'))).toBe(false);
    await act(async () => {
      node.querySelector('[data-section=log]')?.setAttribute('open', '');
      await new Promise(resolve => setTimeout(resolve, 20));
    });
    const entries = (): string[] =>
      [...node.querySelectorAll('.jp-Mlsvc-log > li')].map(({ textContent }) => textContent);
    expect(entries()).toHaveLength(1);
    expect(entries()[0]).toContain('a1');
    expect(entries()[0]).toContain('x is 1');

    const problem = 'ZeroDivisionError: division by zero';
    const second = { id: 8, level: 'error', text: 'Traceback', requestId: 'b2' } as const;
    door.log = [...door.log, { ...second, problem, time: '2026-01-01T00:00:01Z' }];
    await act(() => view.refresh());
    expect(entries()).toHaveLength(2);
    expect(entries()[0]).toContain(problem);
    expect(entries()[0]).toContain('b2');
    expect(node.querySelector('.jp-Mlsvc-log .jp-mod-error')?.textContent).toContain('Error');

    door.failure = new MlsvcError('The database is busy.', 503);
    await act(() => view.refresh());
    expect(node.querySelector('[data-section=log] [role=alert]')?.textContent).toContain('busy');
    expect(entries()).toHaveLength(2);
  });

  it('list the newest calls, which unfold to what they printed', async () => {
    const text = 'Traceback (most recent call last):';
    door.calls = [
      call(3, { callerKind: 'batch' }),
      call(2, { success: false, problem: 'ValueError: no', text, request: '{"x": 1}' }),
      call(1, {
        callerKind: 'key',
        caller: 'shop',
        status: 503,
        success: false,
        milliseconds: null
      })
    ];
    state.set('services.sections', { recent: true });
    await execute('mlsvc:open-service', { name: 'Iris', version: 'V1.0' });
    const cells = (): string[][] =>
      [...node.querySelectorAll('.jp-Mlsvc-calls tbody > tr')].map(line =>
        [...line.querySelectorAll('td')].slice(1).map(({ textContent }) => textContent)
      );
    await seen(() => {
      expect(cells()).toEqual([
        ['batch of maria', '3.14 ms'],
        ['maria', '3.14 ms'],
        [],
        ['key shop', '–'],
        []
      ]);
    });
    const [, second] = node.querySelectorAll<HTMLButtonElement>('.jp-Mlsvc-unfold');
    await click(second);
    expect(second?.getAttribute('aria-expanded')).toBe('true');
    const details = node.querySelector('.jp-Mlsvc-callDetails');
    await seen(() => {
      expect(details?.textContent).toContain(text);
    });
    expect(details?.textContent).toContain('ValueError: no');
    expect(details?.textContent).toContain('{"x": 1}');
    expect(details?.textContent).toContain('Status 200, 1.2 kB sent, 34 B answered');

    await click(node.querySelector('[data-section=recent] input[type=checkbox]'));
    await seen(() => {
      expect(cells().map(([caller]) => caller)).toEqual([
        'maria',
        undefined,
        'key shop',
        undefined
      ]);
    });
  });

  it('keep bodies of calls where their publisher wants that', async () => {
    const both = { keepBodies: false };
    door.services = [version('Iris', 'V1.0', both), version('Iris', 'V2.0', both)];
    state.set('services.sections', { recent: true });
    await act(() => view.refresh());
    await execute('mlsvc:open-service', { name: 'Iris', version: 'V1.0' });
    const ticks = (): HTMLInputElement[] => [
      ...node.querySelectorAll<HTMLInputElement>('[data-section=recent] input[type=checkbox]')
    ];
    await click(ticks()[1]);
    await seen(() => {
      expect(ticks()[1]?.checked).toBe(true);
    });
    expect(door.services.map(({ keepBodies }) => keepBodies)).toEqual([true, false]);
  });

  it('follow batches, cancel and delete them, and show their results', async () => {
    door.batches = { old: batch('Complete', 40), new: batch('InProgress', 30, 1) };
    state.set('services.sections', { batches: true });
    await execute('mlsvc:open-service', { name: 'Iris', version: 'V1.0' });
    const items = (): string[] =>
      [...node.querySelectorAll('.jp-Mlsvc-batchList > li')].map(({ textContent }) => textContent);
    await seen(() => {
      expect(items()).toEqual(['Running30 of 40 records, 1 failed', 'Complete40 of 40 records']);
    });
    const bar = node.querySelector('[data-batch=new] progress');
    expect([bar?.getAttribute('value'), bar?.getAttribute('max')]).toEqual(['30', '40']);

    await click(node.querySelector('[data-batch=new] .jp-Mlsvc-unfold'));
    const results = (): string[] =>
      [...node.querySelectorAll('.jp-Mlsvc-records tbody > tr')].map(
        ({ textContent }) => textContent
      );
    await seen(() => {
      expect(results().length).toBe(20);
    });
    expect(results()[1]).toBe('1ValueError: noshow');
    await click(button('Show files of record 1'));
    const file = (): Element | null => node.querySelector('.jp-Mlsvc-records td a');
    await seen(() => {
      expect(file()?.textContent).toBe('plot.png');
    });
    expect(file()?.getAttribute('href')).toBe(
      `${door.url}/api/Iris/V1.0/batch/new/1/files/plot.png`
    );
    await click(button('Next'));
    await seen(() => {
      expect(results().slice(9, 11)).toEqual(['29{"y":29}show', '30not yet']);
    });

    await click(node.querySelector('[data-batch=new] [aria-label^="Cancel"]'));
    await seen(() => {
      expect(items()[0]).toContain('Cancelled');
    });
    await click(node.querySelector('[data-batch=old] [aria-label^="Delete"]'));
    await seen(() => {
      expect(document.querySelector('.jp-Dialog .jp-mod-warn')).not.toBeNull();
    });
    await click(document.querySelector('.jp-Dialog .jp-mod-warn'));
    await seen(() => {
      expect(items().length).toBe(1);
    });
    expect(Object.keys(door.batches)).toEqual(['new']);
  });

  it('keep the log of a version to those who may change it', async () => {
    state.set('services.sections', { log: true });
    await click(row('Cars', '1'));
    expect(node.querySelector('[data-section=log]')).toBeNull();
    expect(door.asked.some(line => line.endsWith('logs'))).toBe(false);
  });

  it('are searched, and come back', async () => {
    await type(node.querySelector('input[type=search]'), 'species');
    expect(rows()).toEqual(['Iris', 'Iris V2.0']);

    await type(node.querySelector('input[type=search]'), 'nothing like it');
    expect(node.textContent).toContain('No service fits');
    await click(button('List all'));

    expect(rows()).toHaveLength(5);
  });

  it("are one's own when asked for, also after a reload", async () => {
    await choose('Published by', 'mine');
    expect(rows()).toEqual(['Iris', 'Iris V2.0', 'Iris V1.0']);

    leave();
    await create();

    expect(rows()).toEqual(['Iris', 'Iris V2.0', 'Iris V1.0']);
  });

  it('are those of somebody, those with a tag, and sorted by what counts', async () => {
    door.services = [
      ...door.services,
      version('Boats', '1', { tags: ['sea'], creationTime: '2026-02-01T00:00:00Z' })
    ];
    await act(() => view.refresh());
    await choose('Sort', 'newest');
    expect(rows()[0]).toBe('Boats');
    await choose('Sort', 'calls');
    expect(rows()[0]).toBe('Iris');
    await choose('Published by', 'by:maria');
    expect(rows()).toEqual(['Cars', 'Cars 1']);
    await choose('Published by', 'all');
    await choose('Tag', 'sea');
    expect(rows()).toEqual(['Boats', 'Boats 1']);
  });

  it('have their older versions folded, and say which of them fail', async () => {
    door.services = [...door.services, version('Iris', 'V3.0')];
    door.statistics = [figures('Iris', 'V1.0', { state: 'failing', message: 'no such file' })];
    await act(() => view.refresh());

    expect(rows()).toEqual(['Cars', 'Cars 1', 'Iris', 'Iris V3.0', 'Iris']);
    const fold = node.querySelector<HTMLElement>('.jp-mod-older');
    expect(fold?.textContent).toBe('2 older versions1 failing');
    expect(fold?.getAttribute('aria-expanded')).toBe('false');
    act(() => {
      fold?.focus();
    });
    await press('ArrowRight');
    expect(rows().slice(3)).toEqual(['Iris V3.0', 'Iris', 'Iris V2.0', 'Iris V1.0']);
    expect(row('Iris', 'V1.0')?.getAttribute('aria-level')).toBe('3');
    expect(row('Iris', 'V1.0')?.className).toContain('jp-mod-failing');
    await press('End');
    await press('ArrowLeft');
    expect(document.activeElement).toBe(node.querySelector('.jp-mod-older'));
    await press('ArrowLeft');
    expect(rows()).toHaveLength(5);
    await press('ArrowLeft');
    expect((document.activeElement as HTMLElement).className).toContain('jp-mod-service');
  });

  it('are asked for one by one where few changed', async () => {
    const tell = async (...changed: readonly [action: string, number: string][]): Promise<void> => {
      door.asked.length = 0;
      const list = changed.map(([action, number]) => ({ action, name: 'Iris', version: number }));
      await act(async () => {
        (events.changed as unknown as { emit: (change: unknown) => void }).emit({
          kind: 'service',
          events: list
        });
        await new Promise(resolve => setTimeout(resolve, 20));
      });
    };

    door.services = [...door.services, version('Iris', 'V4.0', { creationTime: '2026-03-01' })];
    await tell(['created', 'V4.0']);
    expect(door.asked).toEqual(['GET services Iris V4.0']);
    expect(rows()[3]).toBe('Iris V4.0');
    await tell(['deleted', 'V4.0']);
    expect(door.asked).toEqual([]);
    expect(rows()[3]).toBe('Iris V2.0');

    // What is gone meanwhile, and what is too much, is found in the whole list.
    door.services = door.services.filter(({ version: number }) => number === 'V2.0');
    await tell(['changed', 'V1.0']);
    expect(door.asked).toEqual(['GET services Iris V1.0', 'GET services']);
    expect(rows()).toEqual(['Iris', 'Iris V2.0']);
    await tell();
    expect(door.asked).toEqual(['GET services']);
  });

  it('have one tab stop, and keys that lead through the tree', async () => {
    expect(node.querySelectorAll('[role=treeitem][tabindex="0"]')).toHaveLength(1);
    act(() => {
      node.querySelector<HTMLElement>('[role=treeitem][tabindex="0"]')?.focus();
    });
    const at = (): string => {
      const { dataset } = document.activeElement as HTMLElement;
      return `${dataset['service'] ?? ''} ${dataset['version'] ?? ''}`.trim();
    };

    await press('ArrowDown');
    expect(at()).toBe('Cars 1');
    await press('ArrowLeft');
    expect(at()).toBe('Cars');
    await press('ArrowLeft');
    expect(rows()).toEqual(['Cars', 'Iris', 'Iris V2.0', 'Iris V1.0']);
    await press('ArrowRight');
    await press('i');
    expect(at()).toBe('Iris');
    await press('End');
    expect(at()).toBe('Iris V1.0');
    await press('ArrowRight');

    expect(node.querySelector('article')?.getAttribute('aria-label')).toBe('Iris V1.0');
    await press('Escape');
    expect(at()).toBe('Iris V1.0');
  });

  it('open in a tab of their own by Enter or a double click, and once each', async () => {
    act(() => {
      row('Iris', 'V2.0')?.focus();
    });
    await press('Enter');
    const tabs = (): (string | null)[] =>
      [...document.querySelectorAll('.jp-MlsvcMain h2')].map(({ textContent }) => textContent);
    expect(tabs()).toEqual(['Iris']);
    expect(document.querySelector('.jp-MlsvcMain')?.textContent).toContain('With species');
    expect(rows()).toHaveLength(5);

    await click(row('Cars', '1'));
    await act(async () => {
      node
        .querySelector('article')
        ?.dispatchEvent(new MouseEvent('click', { bubbles: true, detail: 2 }));
      await new Promise(resolve => setTimeout(resolve, 20));
    });
    expect(tabs()).toEqual(['Iris', 'Cars']);
    expect(rows()).toHaveLength(5);
    await execute('mlsvc:open-service-tab', { name: 'Cars', version: '1' });
    expect(tabs()).toHaveLength(2);

    // What is gone is said to be, in the tab that stays.
    door.services = door.services.filter(({ name }) => name !== 'Cars');
    await act(() => view.refresh());
    expect(document.querySelectorAll('.jp-MlsvcMain')[1]?.textContent).toContain('no version “1”');
  });

  it('are selected by keys and deleted together, after a word about their calls', async () => {
    act(() => {
      row('Iris', 'V2.0')?.focus();
    });
    await press(' ');
    await press('ArrowDown', { shiftKey: true });
    expect(node.textContent).toContain('2 selected');

    await click(button('Delete 2…'));
    const dialog = document.querySelector('.jp-Dialog');
    expect(dialog?.textContent).toContain('Delete 2 versions?');
    expect(dialog?.textContent).toContain('12 calls since the server started');
    expect(dialog?.textContent).toContain('No calls since the server started');
    expect(door.asked.filter(line => line.startsWith('DELETE'))).toEqual([]);
    await click(dialog?.querySelector('.jp-mod-warn'));

    await vi.waitFor(() => {
      expect(rows()).toEqual(['Cars', 'Cars 1']);
    });
    expect(door.asked).toContain('DELETE services Iris V1.0');
  });

  it('give the focus to the next one when they are deleted by keyboard', async () => {
    act(() => {
      row('Iris', 'V2.0')?.focus();
    });
    await execute('mlsvc:delete-service');
    await click(document.querySelector('.jp-Dialog .jp-mod-warn'));

    await vi.waitFor(() => {
      expect(rows()).toEqual(['Cars', 'Cars 1', 'Iris', 'Iris V1.0']);
    });
    expect(document.activeElement).toBe(row('Iris', 'V1.0'));
  });

  it('give the focus to the next one when an event came while the question was asked', async () => {
    act(() => {
      row('Iris', 'V2.0')?.focus();
    });
    await execute('mlsvc:delete-service');
    door.services = door.services.filter(service => service.version !== 'V2.0');
    await act(() => view.refresh());
    await click(document.querySelector('.jp-Dialog .jp-mod-warn'));

    expect(rows()).toEqual(['Cars', 'Cars 1', 'Iris', 'Iris V1.0']);
    const focused = document.activeElement as HTMLElement;
    expect(focused.getAttribute('role')).toBe('treeitem');
    await press('End');
    expect(document.activeElement).toBe(row('Iris', 'V1.0'));
  });

  it('give the focus to the search box when the last one that was found is deleted', async () => {
    await type(node.querySelector('input[type=search]'), 'species');
    act(() => {
      row('Iris', 'V2.0')?.focus();
    });
    await execute('mlsvc:delete-service');
    await click(document.querySelector('.jp-Dialog .jp-mod-warn'));

    await vi.waitFor(() => {
      expect(node.textContent).toContain('No service fits');
      expect(document.activeElement).toBe(node.querySelector('input[type=search]'));
    });
  });

  it('leave the tab stops where they are while it is unknown who is signed in', async () => {
    const stops = node.querySelectorAll('input, select').length;
    door.failure = new MlsvcError('The database is locked.', 500, 'DatabaseException');
    await act(() => status.check());

    expect(status.user).toBeNull();
    expect(node.querySelectorAll('input, select')).toHaveLength(stops);
  });

  it('are not deleted when the question is answered with no', async () => {
    await execute('mlsvc:delete-service', { name: 'Iris', version: 'V1.0' });
    await click(document.querySelector('.jp-Dialog .jp-mod-reject'));

    expect(door.asked.filter(line => line.startsWith('DELETE'))).toEqual([]);
    expect(rows()).toHaveLength(5);
  });

  it('are offered for deletion and change only where that is permitted', async () => {
    await click(row('Cars', '1'));
    expect(button('Delete Cars 1')).toBeUndefined();
    expect(button('Edit the description')).toBeUndefined();

    await click(button('Back to the list'));
    await click(row('Iris', 'V1.0'));

    expect(button('Delete Iris V1.0')).toBeDefined();
    expect(button('Edit the description')).toBeDefined();
  });

  it('show what their publish check found', async () => {
    const check = {
      called: true,
      success: true,
      errorMessage: '',
      outputParameters: { y: 42 },
      consoleOutput: 'doubling\n',
      notes: ['It counts calls.'],
      time: '2026-01-01T00:00:00Z'
    };
    const skipped = "The code was not called: there is no value for input 'x'.";
    door.services = [
      version('Iris', 'V1.0', { publishCheck: check }),
      version('Iris', 'V2.0', {
        publishCheck: { ...check, called: false, outputParameters: {}, notes: [skipped] }
      }),
      version('Iris', 'V3.0', {
        publishCheck: { ...check, success: false, errorMessage: 'NameError: no clf' }
      }),
      version('Iris', 'V4.0')
    ];
    state.set('services.unfolded', ['Iris']);
    await act(() => view.refresh());
    const shown = async (number: string): Promise<string> => {
      await click(row('Iris', number));
      const section = node.querySelector<HTMLDetailsElement>('[data-section=check]');
      if (section && !section.open) {
        await act(async () => {
          section.setAttribute('open', '');
          section.dispatchEvent(new Event('toggle'));
          await new Promise(resolve => setTimeout(resolve, 20));
        });
      }
      const text = section?.textContent ?? '';
      await click(button('Back to the list'));
      return text;
    };

    const called = await shown('V1.0');
    expect(called).toContain('Tried with a call.');
    expect(called).toContain('y = 42');
    expect(called).toContain('doubling');
    expect(called).toContain('It counts calls.');
    expect(called).toMatch(/2026|ago/);
    expect(await shown('V2.0')).toContain('Tried without a call');
    expect(await shown('V2.0')).toContain(skipped);
    expect(await shown('V3.0')).toContain('NameError: no clf');
    expect(await shown('V4.0')).toBe('');
  });

  it('are described in place', async () => {
    await click(row('Iris', 'V1.0'));
    await click(button('Edit the description'));
    await type(node.querySelector('textarea[aria-label=Description]'), 'Better words');
    await click(button('Save'));

    expect(door.asked).toContain('PATCH services Iris V1.0');
    expect(node.querySelector('.jp-Mlsvc-descriptionLine')?.textContent).toBe('Better words');
  });

  it('keep what was written when it can not be saved, and say why', async () => {
    await click(row('Iris', 'V1.0'));
    await click(button('Edit the description'));
    await type(node.querySelector('textarea[aria-label=Description]'), 'Better words');
    door.failure = new MlsvcError('Not yours any more.', 403, 'ForbiddenException');
    await click(button('Save'));

    expect(node.querySelector('form [role=alert]')?.textContent).toContain('Not yours any more.');
    expect(node.querySelector<HTMLTextAreaElement>('textarea')?.value).toBe('Better words');
  });

  it('run with what was typed, and show what came', async () => {
    await click(row('Iris', 'V1.0'));
    await click(button('Run'));
    expect(node.querySelector('[aria-invalid=true]')).toBe(document.activeElement);
    expect(node.querySelector('.jp-Mlsvc-problem')?.textContent).toBe('Enter a number.');

    await type(node.querySelector('input[name=x]'), '21');
    await click(button('Run'));

    expect(node.querySelector('[data-output=y] output')?.textContent).toBe('42');
    expect(node.querySelector('form [role=status]')?.textContent).toMatch(/^Done in/);
  });

  it('come back open after a reload, with what was typed', async () => {
    await click(row('Iris', 'V1.0'));
    await type(node.querySelector('input[name=x]'), '21');

    leave();
    await create();

    expect(node.querySelector('article')?.getAttribute('aria-label')).toBe('Iris V1.0');
    expect(node.querySelector<HTMLInputElement>('input[name=x]')?.value).toBe('21');
  });

  it('are called from elsewhere at the public API, with the inputs of the form', async () => {
    await click(row('Iris', 'V1.0'));
    await type(node.querySelector('input[name=x]'), '21');
    await act(async () => {
      const section = node.querySelector<HTMLDetailsElement>('[data-section=call]');
      section?.setAttribute('open', '');
      section?.dispatchEvent(new Event('toggle'));
      await new Promise(resolve => setTimeout(resolve, 20));
    });

    const call = node.querySelector('.jp-Mlsvc-code')?.textContent;
    expect(call).toContain("curl -sS 'http://door/api/Iris/V1.0'");
    expect(call).toContain(`'{"x": 21}'`);
  });

  it('go back to the list when the open one was deleted elsewhere', async () => {
    await click(row('Iris', 'V1.0'));
    door.services = door.services.filter(service => service.version !== 'V1.0');
    await act(() => view.refresh());

    expect(rows()).toEqual(['Cars', 'Cars 1', 'Iris', 'Iris V2.0']);
    door.services.push(version('Iris', 'V1.0'));
    await act(() => view.refresh());
    expect(node.querySelector('article')).toBeNull();
  });

  it.each([
    [new MlsvcError('Who are you?', 401, 'UnauthorizedException'), 'You are signed out'],
    [new MlsvcError('Not Found', 404), 'jupyter-mlsvc does not run'],
    [
      new MlsvcError('The database is gone.', 500, 'InternalServerErrorException'),
      'database is gone'
    ]
  ])('say what is wrong instead: %s', async (failure, words) => {
    leave();
    door.failure = failure;
    await create();

    expect(node.querySelector('[role=alert]')?.textContent).toContain(words);
    door.failure = null;
    await click(button('Try again'));

    expect(node.querySelector('[role=alert]')).toBeNull();
    expect(rows()).toHaveLength(5);
  });

  it('stay listed while the server is away', async () => {
    door.failure = new MlsvcError('502 Bad Gateway', 502);
    await act(() => view.refresh());

    expect(node.querySelector('[role=alert]')?.textContent).toContain('does not answer');
    expect(rows()).toHaveLength(5);
  });

  it('are explained where there are none', async () => {
    door.services = [];
    await act(() => view.refresh());

    expect(node.querySelector('[role=status]')?.textContent).toContain('No services yet');
    expect(node.textContent).toContain('%%publish');
  });

  it('come with the tutorials that there are', () => {
    const files = readdirSync('../notebooks').filter(file => file.endsWith('.ipynb'));
    expect(tutorials(trans).map(({ file }) => file)).toEqual(files.sort());
  });

  it('are not said to be none where they could not be listed', async () => {
    door.services = [];
    await act(() => view.refresh());
    door.failure = new MlsvcError('The server is stopping.', 503, 'BackEndBusyException');
    await act(() => view.refresh());

    expect(node.querySelector('[role=alert]')?.textContent).toContain('The server is stopping.');
    expect(node.textContent).not.toContain('No services yet');
    expect(node.textContent).not.toContain('starting');
  });

  it('load until the server answers', async () => {
    leave();
    door.isSilent = true;
    await create();

    expect(node.querySelector('[role=status]')?.textContent).toContain('Loading');
  });
});

describe('describeCalls', () => {
  it('says how often, how badly and how lately', () => {
    const now = new Date('2026-01-01T00:05:00Z');
    const statistics = figures('Iris', '1', {
      calls: 12,
      errors: 1,
      callsPerMinute: 2,
      lastCall: '2026-01-01T00:00:00.1234567'
    });

    expect(describeCalls(statistics, trans, now)).toBe(
      '12 calls since the server started, 1 of them failed, 2 in the last minute, the last one 5 min ago.'
    );
    expect(describeCalls(undefined, trans)).toBe('No calls since the server started.');
  });
});
