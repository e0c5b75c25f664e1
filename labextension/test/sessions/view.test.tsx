// @vitest-environment jsdom
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { MlsvcError } from '../../src/calls/request';
import { createSessionsView } from '../../src/sessions';
import { ISession } from '../../src/sessions/api';
import { SessionCommandIDs } from '../../src/sessions/tokens';
import { IPanelView } from '../../src/tokens';
import { answerDialog, Page } from '../page';
import { World } from '../world';

const IRIS: ISession = {
  id: 's1',
  name: 'iris',
  owner: 'maria',
  runtimeType: 'Python',
  state: 'idle',
  creationTime: '2026-01-01T00:00:00Z',
  memoryBytes: 68_400_000,
  idleSeconds: 5,
  leaseSeconds: 1800,
  executionId: 'e2',
  queued: 0
};
const BUSY: ISession = { ...IRIS, id: 's2', name: 'busy one', state: 'busy', executionId: 'e9' };

describe('the sessions of the panel', () => {
  let world: World;
  let view: IPanelView;
  let page: Page;

  beforeEach(async () => {
    Element.prototype.scrollIntoView = () => undefined;
    world = new World();
    world.answers.set('GET sessions', [IRIS, BUSY]);
    world.answers.set('GET sessions/s1/history', ['early = 1', 'x = 1', '1/0']);
    world.answers.set('GET sessions/s1/executions', [
      {
        executionId: 'e1',
        code: 'x = 1',
        state: 'succeeded',
        startTime: '2026-01-01T00:00:01Z',
        endTime: '2026-01-01T00:00:03Z'
      },
      {
        executionId: 'e2',
        code: '1/0',
        state: 'failed',
        startTime: '2026-01-01T00:00:04Z',
        endTime: '2026-01-01T00:00:04Z',
        errorMessage: 'ZeroDivisionError: division by zero'
      }
    ]);
    world.answers.set('GET sessions/s1/inventory', {
      objects: [{ name: 'x', type: 'int', size: 28 }]
    });
    world.answers.set('GET sessions/s1/executions/e1/events', [
      { seq: 0, type: 'stream', name: 'stdout', text: 'first output' },
      { seq: 1, type: 'result', success: true }
    ]);
    world.answers.set('GET sessions/s1/executions/e2/events', [
      { seq: 0, type: 'stream', name: 'stdout', text: 'last output' },
      { seq: 1, type: 'result', success: false }
    ]);
    view = createSessionsView(world.mlsvc);
    await world.mlsvc.state.restored;
    page = new Page(() => view.render());
    view.activate();
  });

  afterEach(() => {
    view.deactivate();
    page.close();
  });

  const names = (): (string | undefined)[] => page.all('option').map(({ dataset }) => dataset.name);
  const open = async (name: string): Promise<void> => {
    await page.see(name);
    page
      .all('option')
      .find(({ dataset }) => dataset.name === name)
      ?.click();
    await vi.waitFor(() => {
      expect(page.all('toolbar')).toHaveLength(1);
    });
  };

  it('lists sessions with state, memory and lease', async () => {
    await page.see('iris');

    expect(names()).toEqual(['iris', 'busy one']);
    expect(page.text).toContain('68.4 MB');
    expect(page.text).toContain('idle, closes in 30 min');
    expect(page.text).toContain('busy');
  });

  it('lists again when something changed on the server', async () => {
    await page.see('iris');
    world.answers.set('GET sessions', [BUSY]);
    world.change('session');

    await vi.waitFor(() => {
      expect(names()).toEqual(['busy one']);
    });
  });

  it('replays the last output of one, and lists its objects and history', async () => {
    await open('iris');

    await page.see('last output');
    await page.see('28 B');
    await page.see('failed: ZeroDivisionError: division by zero');
    await page.see('took 2 s');
    await page.see('early = 1');
  });

  it('says why an execution failed that put something out and raised nothing', async () => {
    await open('iris');

    await vi.waitFor(() => {
      expect(page.all('log')[0]?.parentElement?.textContent).toContain('division by zero');
    });
  });

  it('shows the output of an older execution, and comes back to the newest', async () => {
    await open('iris');
    await page.see('took 2 s');
    page
      .all('button')
      .find(({ textContent }) => textContent.startsWith('x = 1'))
      ?.click();
    await page.see('first output');
    expect(page.text).not.toContain('last output');

    await page.press('Back to the newest');
    await page.see('last output');
  });

  it('asks a busy session for no objects, which would wait for its code', async () => {
    world.answers.set('GET sessions/s2/history', []);
    world.answers.set('GET sessions/s2/executions', []);
    world.answers.set('GET sessions/s2/executions/e9/events', []);
    await open('busy one');
    await page.see('They are listed when the code that runs is done.');

    expect(world.asked).not.toContain('GET sessions/s2/inventory');
  });

  it('interrupts what runs, and only that', async () => {
    world.answers.set('POST sessions/s2/cancel', 'Cancelled what was running.');
    await page.see('busy one');
    await world.commands.execute(SessionCommandIDs.interrupt, { id: 's2' });
    await world.commands.execute(SessionCommandIDs.interrupt, { id: 's1' });

    expect(world.asked.filter(key => key.startsWith('POST'))).toEqual(['POST sessions/s2/cancel']);
  });

  it('starts a session in the language that is asked for, by a name that is free', async () => {
    const started: unknown[] = [];
    world.answers.set('POST sessions', (body: unknown) => {
      started.push(body);
      return { sessionId: 's1' };
    });
    await page.see('iris');
    const starting = world.commands.execute(SessionCommandIDs.start);
    await vi.waitFor(() => {
      expect(document.querySelector('.jp-Dialog select')).not.toBeNull();
    });
    const language = document.querySelector<HTMLSelectElement>('.jp-Dialog select');
    expect([...(language?.options ?? [])].map(({ value }) => value)).toEqual(['Python', 'R']);
    Object.assign(language ?? {}, { value: 'R' });
    await answerDialog('Start');
    await starting;

    expect(started).toEqual([{ name: 'session-1', runtimeType: 'R' }]);
  });

  it('closes a session only when that is confirmed, and says what is lost', async () => {
    world.answers.set('DELETE sessions/s2', 'Closed.');
    await open('busy one');
    await page.press('Close the session');
    expect(await answerDialog('Cancel')).toContain('Code that runs is stopped: busy one.');
    expect(world.asked).not.toContain('DELETE sessions/s2');

    await page.press('Close the session');
    world.answers.set('GET sessions', [IRIS]);
    await answerDialog('Close');
    await vi.waitFor(() => {
      expect(names()).toEqual(['iris']);
    });
    expect(world.asked).toContain('DELETE sessions/s2');
  });

  it("shows the server's message when it does not close", async () => {
    world.answers.set('DELETE sessions/s1', new MlsvcError('It is being saved.', 409, 'X'));
    await page.see('iris');
    const closing = world.commands.execute(SessionCommandIDs.close, { id: 's1' });
    await answerDialog('Close');

    expect(await answerDialog('Close')).toContain('iris: It is being saved.');
    await closing;
  });

  it('says so when the session that is open has ended', async () => {
    await open('iris');
    world.answers.set('GET sessions', [BUSY]);
    world.change('session');
    await page.see('This session has ended');

    page
      .all('button')
      .find(({ textContent }) => textContent === 'Back to the sessions')
      ?.click();
    await vi.waitFor(() => {
      expect(names()).toEqual(['busy one']);
    });
  });

  it('takes a snapshot under the name that is given', async () => {
    const bodies: unknown[] = [];
    world.answers.set('POST sessions/s1/snapshot', (body: unknown) => {
      bodies.push(body);
      return { snapshotId: 'n1', skipped: [] };
    });
    await page.see('iris');
    await world.commands.execute(SessionCommandIDs.snapshot, { id: 's1', name: 'before' });

    expect(bodies).toEqual([{ name: 'before' }]);
  });

  it('says how a session comes to be where there is none', async () => {
    world.answers.set('GET sessions', []);
    world.change('session');

    await page.see('%%remote_exec');
  });

  it('does not say that there is none where it could not be found out', async () => {
    world.answers.set('GET sessions', []);
    await view.refresh();
    await page.see('%%remote_exec');
    world.answers.set('GET sessions', new MlsvcError('The server is stopping.', 503, 'X'));
    await view.refresh();

    await page.see('The server is stopping.');
    expect(page.text).not.toContain('%%remote_exec');
  });

  it('leaves the focus where it is when its page comes back with the tab', async () => {
    await page.see('iris');
    page.all('option')[0]?.focus();
    await page.key('Enter');
    await vi.waitFor(() => {
      expect(document.activeElement?.textContent).toBe('iris');
    });
    page.close();
    const tab = document.createElement('button');
    document.body.append(tab);
    tab.focus();

    page = new Page(() => view.render());
    await page.see('iris');
    await new Promise(resolve => setTimeout(resolve, 20));

    expect(document.activeElement).toBe(tab);
    tab.remove();
  });

  it("shows the server's message, and lists when asked again", async () => {
    await page.see('iris');
    world.answers.set('GET sessions', new MlsvcError('The disk is full.', 500, 'X'));
    await view.refresh();
    await page.see('The disk is full.');

    world.answers.set('GET sessions', [IRIS]);
    await page.press('Try again');
    await vi.waitFor(() => {
      expect(page.all('alert')).toEqual([]);
    });
  });

  it('is led by keys alone: choose two, open one, come back to it', async () => {
    await page.see('iris');
    page.all('option')[0]?.focus();
    await page.key(' ');
    await page.key('ArrowDown');
    await page.key(' ');
    await page.see('2 selected');
    await page.key('Escape');
    await page.key('Enter');
    await vi.waitFor(() => {
      expect(document.activeElement?.textContent).toBe('busy one');
    });
    await page.key('Escape');

    await vi.waitFor(() => {
      expect((document.activeElement as HTMLElement).dataset.name).toBe('busy one');
    });
  });
});
