// @vitest-environment jsdom
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { MlsvcError } from '../../src/calls/request';
import { createSnapshotsView } from '../../src/snapshots';
import { ISnapshot } from '../../src/snapshots/api';
import { SnapshotCommandIDs } from '../../src/snapshots/tokens';
import { IPanelView } from '../../src/tokens';
import { answerDialog, Page } from '../page';
import { World } from '../world';

const OLD: ISnapshot = {
  id: 'n1',
  name: 'old',
  owner: 'maria',
  creationTime: '2026-01-01T00:00:00Z',
  contentSize: 1000,
  runtimeType: 'Python'
};
const NEW: ISnapshot = {
  ...OLD,
  id: 'n2',
  name: 'new',
  creationTime: '2026-02-01T00:00:00Z',
  contentSize: 800_000,
  skipped: [{ name: 'lock', type: '_thread.lock', reason: 'It is a lock.' }]
};
const INSIDE = {
  ...NEW,
  runtimeVersion: '3.11.7',
  objects: [
    { name: 'model', type: 'sklearn.svm.SVC', size: 4200, kept: true, reason: null },
    { name: 'lock', type: '_thread.lock', size: null, kept: false, reason: 'It is a lock.' }
  ],
  files: [{ path: 'data/table.csv', size: 12 }],
  skippedFiles: [{ path: 'socket', reason: 'It is no file.' }],
  services: [{ name: 'Iris', version: 'V1.0' }],
  packages: { numpy: '2.3.1' }
};

describe('the snapshots of the panel', () => {
  let world: World;
  let view: IPanelView;
  let page: Page;

  beforeEach(async () => {
    world = new World();
    world.answers.set('GET snapshots', [OLD, NEW]);
    world.answers.set('GET snapshots/n1/contents', { ...INSIDE, ...OLD, services: [] });
    world.answers.set('GET snapshots/n2/contents', INSIDE);
    view = createSnapshotsView(world.mlsvc);
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
    await page.see('Packages');
  };

  it('lists the newest first, with sizes', async () => {
    await page.see('new');

    expect(names()).toEqual(['new', 'old']);
    expect(page.text).toContain('2 snapshots, 801 kB');
    expect(page.text).toContain('Python, 1 left out');
  });

  it('shows what is in one, what was left out and why, and who uses it', async () => {
    await open('new');

    for (const text of [
      'Python 3.11.7',
      'Iris V1.0',
      'model',
      '4.2 kB',
      'data/table.csv',
      'It is a lock.',
      'It is no file.',
      'numpy'
    ]) {
      expect(page.text).toContain(text);
    }
  });

  it('says before a deletion which services keep working', async () => {
    world.answers.set('DELETE snapshots/n2', 'Deleted.');
    await open('new');
    await page.press('Delete the snapshot');
    expect(await answerDialog('Cancel')).toContain(
      'The service Iris V1.0 holds its content and keeps working.'
    );
    expect(world.asked).not.toContain('DELETE snapshots/n2');

    await page.press('Delete the snapshot');
    world.answers.set('GET snapshots', [OLD]);
    await answerDialog('Delete');
    await vi.waitFor(() => {
      expect(names()).toEqual(['old']);
    });
  });

  it('deletes several at once, and tells which were refused', async () => {
    world.answers.set('DELETE snapshots/n1', 'Deleted.');
    world.answers.set('DELETE snapshots/n2', new MlsvcError('It is in use.', 409, 'X'));
    await page.see('new');
    page.all('option')[0]?.focus();
    await page.key('a', { ctrlKey: true });
    await page.see('2 selected');
    await page.key('Delete');

    expect(await answerDialog('Delete')).toContain('Delete 2 snapshots?');
    expect(await answerDialog('Close')).toContain('new: It is in use.');
    expect(world.asked).toContain('DELETE snapshots/n1');
  });

  it('loads one into a session that is chosen', async () => {
    world.answers.set('GET sessions', [
      { id: 's0', name: 'of another language', owner: 'maria', runtimeType: 'R', state: 'idle' },
      { id: 's1', name: 'iris', owner: 'maria', runtimeType: 'Python', state: 'idle' }
    ]);
    world.answers.set('POST sessions/s1/loadsnapshot/n2', 'Loaded 1 object.');
    await open('new');
    await page.press('Load into a session');

    expect(await answerDialog('Load')).toContain('A new session: new');
    await vi.waitFor(() => {
      expect(world.asked).toContain('POST sessions/s1/loadsnapshot/n2');
    });
  });

  it('says so when the snapshot that is open was deleted', async () => {
    await open('new');
    world.answers.set('GET snapshots', [OLD]);
    world.change('snapshot');

    await page.see('This snapshot was deleted');
  });

  it('opens one that is newer than the list', async () => {
    await page.see('new');
    const newest = { ...NEW, id: 'n3', name: 'newest' };
    world.answers.set('GET snapshots', [OLD, NEW, newest]);
    world.answers.set('GET snapshots/n3/contents', { ...INSIDE, ...newest });
    await world.commands.execute(SnapshotCommandIDs.open, { id: 'n3' });

    await page.see('newest');
    expect(world.shown).toEqual(['snapshots']);
  });

  it('offers its actions in the context menu', () => {
    expect(world.menu).toEqual(Object.values(SnapshotCommandIDs));
  });
});
