// @vitest-environment jsdom
import { StateDB } from '@jupyterlab/statedb';
import { nullTranslator } from '@jupyterlab/translation';
import { Widget } from '@lumino/widgets';
import * as React from 'react';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { ServerEvents } from '../src/events';
import { MlsvcPanel } from '../src/panel';
import { MlsvcError } from '../src/calls/request';
import { Requester } from '../src/request';
import { PanelState } from '../src/state';
import { ServerStatus } from '../src/status';
import { IPanelView } from '../src/tokens';

const trans = nullTranslator.load('jupyter_mlsvc');

describe('MlsvcPanel', () => {
  let answer: () => unknown;
  let log: string[];
  let panel: MlsvcPanel;
  let database: StateDB;
  let status: ServerStatus;
  let state: PanelState;

  const view = (id: string): IPanelView => ({
    id,
    label: id.toUpperCase(),
    render: () => React.createElement('p', { className: 'seen' }, id),
    activate: () => log.push(`+${id}`),
    deactivate: () => log.push(`-${id}`),
    refresh: () => Promise.resolve(void log.push(`refresh ${id}`))
  });

  const create = (): MlsvcPanel => {
    const requests = {
      url: 'http://localhost/mlsvc',
      json: (_method: string, path: string[]) =>
        path[0] === 'user' ? Promise.resolve().then(answer) : new Promise(() => undefined)
    } as unknown as Requester;
    status = new ServerStatus(requests, '1.0.0');
    state = new PanelState(database);
    const created = new MlsvcPanel({ trans, status, state, events: new ServerEvents(requests) });
    created.addView(view('one'));
    created.addView(view('two'));
    created.hide();
    Widget.attach(created, document.body);
    return created;
  };

  beforeEach(() => {
    answer = () => ({ name: 'maria', role: 'owner', serverVersion: '1.0.0', publicUrl: '' });
    log = [];
    database = new StateDB();
    panel = create();
  });

  afterEach(() => {
    panel.dispose();
  });

  const text = (selector: string): string => panel.node.querySelector(selector)?.textContent ?? '';
  const selected = (): string => text('[role=tab][aria-selected=true]');
  const seen = (expected: string): Promise<void> =>
    vi.waitFor(() => {
      expect(text('[role=tabpanel] .seen')).toBe(expected);
    });

  it('shows the first view, active while the panel is visible', async () => {
    panel.show();
    await seen('one');
    panel.hide();

    expect(log).toEqual(['+one', '-one']);
  });

  it('changes views by the arrow keys, and focus goes along', async () => {
    panel.show();
    await seen('one');
    const tab = panel.node.querySelector<HTMLElement>('[role=tab]');
    tab?.focus();
    tab?.dispatchEvent(new KeyboardEvent('keydown', { key: 'ArrowRight', bubbles: true }));

    await seen('two');
    expect(selected()).toBe('TWO');
    expect(document.activeElement?.textContent).toBe('TWO');
    expect(log).toEqual(['+one', '-one', '+two']);
  });

  it('comes back with the tab that was selected', async () => {
    panel.show();
    await seen('one');
    panel.select('two');
    await vi.waitFor(async () => {
      expect(await database.fetch('jupyter-mlsvc:panel')).toEqual({ view: 'two' });
    });
    panel.dispose();

    panel = create();
    panel.show();

    await seen('two');
  });

  it('says who is signed in', async () => {
    panel.show();
    await status.check();

    await vi.waitFor(() => {
      expect(text('.jp-Mlsvc-user')).toBe('maria');
    });
    expect(panel.node.querySelector('[role=alert]')).toBeNull();
  });

  it('says which half is stale when the versions differ, and what to do', async () => {
    answer = () => ({ name: 'maria', role: 'owner', serverVersion: '2.0.0', publicUrl: '' });
    panel.show();
    await status.check();

    await vi.waitFor(() => {
      expect(text('[role=alert]')).toContain('version 1.0.0');
    });
    expect(text('[role=alert]')).toContain('2.0.0');
    expect(text('[role=alert] pre')).toContain('pip install');
  });

  it('says that the server is too old when it can not tell its version', async () => {
    answer = () => {
      throw new MlsvcError('No such path.', 404, 'NotFoundException');
    };
    panel.show();
    await status.check();

    await vi.waitFor(() => {
      expect(text('[role=alert]')).toContain('older than this panel');
    });
  });

  it('refreshes what is seen', async () => {
    panel.show();
    await seen('one');

    panel.node.querySelector<HTMLElement>('button[aria-label=Refresh]')?.click();

    expect(log).toContain('refresh one');
  });
});
