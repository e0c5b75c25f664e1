import { showErrorMessage } from '@jupyterlab/apputils';
import { deleteIcon, downloadIcon } from '@jupyterlab/ui-components';
import { ReadonlyPartialJSONObject } from '@lumino/coreutils';

import { harmless } from '../components';
import { choose, confirm, loadIcon, tellWhile } from '../list';
import { SessionsApi } from '../sessions/api';
import { SessionCommandIDs } from '../sessions/tokens';
import { IMlsvc } from '../tokens';
import { messageOf } from '../calls/error';
import { ISnapshot } from './api';
import { SnapshotsModel } from './model';
import { SnapshotCommandIDs, SNAPSHOTS_VIEW } from './tokens';

/**
 * Of so many snapshots it is asked which services hold their content.
 */
const ASKED = 20;

/**
 * Add what can be done with snapshots.
 */
export function addSnapshotCommands(mlsvc: IMlsvc, model: SnapshotsModel): void {
  const { addCommand, panel, trans } = mlsvc;
  const actions = new SnapshotActions(mlsvc, model);
  addMenu(mlsvc);
  const id = {
    type: 'string',
    description: trans.__('Id of the snapshot; the chosen one, or asked for, if left out')
  };

  addCommand(SnapshotCommandIDs.open, {
    label: trans.__('Open ML Snapshot…'),
    caption: trans.__('Show what is in a snapshot, and which services use it'),
    describedBy: { args: { type: 'object', properties: { id } } },
    execute: async given => {
      const title = trans.__('Open a snapshot');
      const [snapshot] = await actions.targets(given, title, trans.__('Open'));
      if (snapshot) {
        panel.show(SNAPSHOTS_VIEW);
        model.show(snapshot.id);
      }
    }
  });
  addCommand(SnapshotCommandIDs.load, {
    label: trans.__('Load ML Snapshot into Session…'),
    caption: trans.__('Load the objects and files of a snapshot into a session'),
    icon: loadIcon,
    describedBy: {
      args: {
        type: 'object',
        properties: {
          id,
          session: {
            type: 'string',
            description: trans.__('Id of the session; asked for if left out')
          }
        }
      }
    },
    execute: async given => {
      const title = trans.__('Load a snapshot');
      const [snapshot] = await actions.targets(given, title, trans.__('Choose'));
      if (snapshot) {
        await actions.load(snapshot, given.session);
      }
    }
  });
  addCommand(SnapshotCommandIDs.download, {
    label: trans.__('Download ML Snapshot'),
    caption: trans.__('Save a snapshot as a zip archive'),
    icon: downloadIcon,
    describedBy: { args: { type: 'object', properties: { id } } },
    execute: async given => {
      const title = trans.__('Download a snapshot');
      for (const snapshot of await actions.targets(given, title, trans.__('Download'))) {
        actions.download(snapshot);
      }
    }
  });
  addCommand(SnapshotCommandIDs.delete, {
    label: trans.__('Delete ML Snapshot…'),
    caption: trans.__('Delete snapshots; services made of them keep working'),
    icon: deleteIcon,
    describedBy: { args: { type: 'object', properties: { id } } },
    execute: async given => {
      await actions.delete(
        await actions.targets(given, trans.__('Delete a snapshot'), trans.__('Choose'))
      );
    }
  });
}

function addMenu({ app }: IMlsvc): void {
  const selector = '.jp-MlsvcSnapshots .jp-MlsvcList-item';
  Object.values(SnapshotCommandIDs).forEach((command, rank) => {
    app.contextMenu.addItem({ command, selector, rank });
  });
}

class SnapshotActions {
  constructor(
    private readonly _mlsvc: IMlsvc,
    private readonly _model: SnapshotsModel
  ) {
    this._sessions = new SessionsApi(this._mlsvc.requests);
  }

  /**
   * The snapshots that a command is meant for: given, or chosen in the panel, or asked for.
   */
  async targets(
    { id }: ReadonlyPartialJSONObject,
    title: string,
    accept: string
  ): Promise<ISnapshot[]> {
    const { trans } = this._mlsvc;
    const { list, choice, open, isActive } = this._model;
    if (typeof id !== 'string' && isActive) {
      const chosen = this._model.find(open ? [open.id] : choice.targets);
      if (chosen.length > 0) {
        return chosen;
      }
    }
    // One that is asked for by its id may be newer than the list.
    if (typeof id !== 'string' || this._model.find([id]).length === 0) {
      await list.load();
    }
    const snapshots = list.value ?? [];
    const found = typeof id === 'string' ? this._model.find([id]) : snapshots;
    if (found.length === 0) {
      const message =
        list.trouble?.message ??
        (typeof id === 'string'
          ? trans.__(
              'There is no snapshot with the id %1: it was deleted, or is somebody else’s. Services that were published from it keep what it held.',
              id
            )
          : trans.__('There are no snapshots.'));
      await showErrorMessage(title, message);
      return [];
    }
    if (typeof id === 'string') {
      return found;
    }
    const at = await choose({ title, accept, items: snapshots.map(nameOf) });
    return snapshots[at] ? [snapshots[at]] : [];
  }

  async load(snapshot: ISnapshot, given: unknown): Promise<void> {
    const { trans, app } = this._mlsvc;
    const target =
      typeof given === 'string' ? { id: given, name: given } : await this._chooseSession(snapshot);
    if (!target) {
      return;
    }
    const { id, name } = target;
    await tellWhile({
      work: async signal => {
        if (id !== null) {
          return { id, said: await this._sessions.load(id, snapshot.id, signal) };
        }
        const request = { name, runtimeType: runtimeOf(snapshot), snapshotId: snapshot.id };
        const { sessionId } = await this._sessions.create(request, signal);
        return { id: sessionId, said: trans.__('Session %1 is started with it.', name) };
      },
      pending: trans.__('Loading %1 into session %2…', nameOf(snapshot), name),
      success: ({ id: sessionId, said }) => ({
        message: said,
        actions: [
          {
            label: trans.__('Show the Session'),
            callback: () => {
              void app.commands.execute(SessionCommandIDs.open, { id: sessionId });
            }
          }
        ]
      }),
      failure: trans.__('%1 was not loaded.', nameOf(snapshot)),
      trans
    });
  }

  /**
   * Have the browser save the archive; it shows the progress, and can cancel.
   */
  download(snapshot: ISnapshot): void {
    const link = document.createElement('a');
    link.href = this._model.api.archiveUrl(snapshot.id);
    link.download = `${nameOf(snapshot).replace(/[^\p{L}\p{N}._ -]+/gu, '-')}.zip`;
    document.body.appendChild(link);
    link.click();
    link.remove();
  }

  async delete(snapshots: readonly ISnapshot[]): Promise<void> {
    const { trans } = this._mlsvc;
    const [first] = snapshots;
    if (!first) {
      return;
    }
    const title =
      snapshots.length === 1
        ? trans.__('Delete snapshot %1?', nameOf(first))
        : trans._n('Delete %1 snapshot?', 'Delete %1 snapshots?', snapshots.length);
    const body = [
      ...(snapshots.length > 1 ? [snapshots.map(nameOf).join(', ')] : []),
      await this._whoKeeps(snapshots),
      trans.__('This cannot be undone.')
    ];
    if (!(await confirm({ title, body, accept: trans.__('Delete'), trans }))) {
      return;
    }
    const outcomes = await Promise.allSettled(
      snapshots.map(async snapshot => {
        try {
          await this._model.api.delete(snapshot.id);
        } catch (error) {
          throw new Error(`${nameOf(snapshot)}: ${messageOf(error)}`);
        }
        if (this._model.open?.id === snapshot.id) {
          this._model.show(null);
        }
      })
    );
    await this._model.list.load();
    const failures = outcomes.flatMap(outcome =>
      outcome.status === 'rejected' ? [messageOf(outcome.reason)] : []
    );
    if (failures.length > 0) {
      await showErrorMessage(trans.__('Not all was deleted'), failures.join('\n'));
    }
  }

  /**
   * Say which services hold the content and keep working.
   */
  private async _whoKeeps(snapshots: readonly ISnapshot[]): Promise<string> {
    const { trans } = this._mlsvc;
    const asked = await Promise.allSettled(
      snapshots.slice(0, ASKED).map(({ id }) => this._model.api.contents(id))
    );
    const services = new Set(
      asked.flatMap(outcome =>
        outcome.status === 'fulfilled'
          ? outcome.value.services.map(({ name, version }) => `${name} ${version}`)
          : []
      )
    );
    const isKnown =
      snapshots.length <= ASKED && asked.every(({ status }) => status === 'fulfilled');
    if (services.size > 0) {
      return trans._n(
        'The service %2 holds its content and keeps working.',
        'The services %2 hold its content and keep working.',
        services.size,
        [...services].join(', ')
      );
    }
    return isKnown
      ? trans.__('No service was made of it.')
      : trans.__('Services that were made of it hold its content and keep working.');
  }

  private async _chooseSession(
    snapshot: ISnapshot
  ): Promise<{ id: string | null; name: string } | null> {
    const { trans } = this._mlsvc;
    const title = harmless(trans.__('Load %1', nameOf(snapshot)));
    let sessions;
    try {
      const all = await this._sessions.list();
      sessions = all.filter(({ runtimeType }) => runtimeType === runtimeOf(snapshot));
    } catch (error) {
      await showErrorMessage(title, messageOf(error));
      return null;
    }
    const name = snapshot.name || trans.__('snapshot');
    const at = await choose({
      title,
      label: trans.__('Into the session; objects of the same names are replaced'),
      items: [...sessions.map(session => session.name), trans.__('A new session: %1', name)],
      accept: trans.__('Load')
    });
    if (at < 0) {
      return null;
    }
    return sessions[at] ?? { id: null, name };
  }

  private readonly _sessions: SessionsApi;
}

/**
 * The language of a snapshot; older ones, which do not say it, are of Python.
 */
function runtimeOf({ runtimeType }: ISnapshot): string {
  return runtimeType ?? 'Python';
}

/**
 * What people know a snapshot by.
 */
export function nameOf({ name, id }: { name: string; id: string }): string {
  return name || id;
}
