import { InputDialog, Notification, showErrorMessage } from '@jupyterlab/apputils';
import { TranslationBundle } from '@jupyterlab/translation';
import { addIcon, stopIcon } from '@jupyterlab/ui-components';
import { ReadonlyPartialJSONObject } from '@lumino/coreutils';

import { harmless } from '../components';
import { choose, confirm, powerIcon, snapshotIcon, tellWhile } from '../list';
import { SnapshotCommandIDs } from '../snapshots/tokens';
import { IMlsvc } from '../tokens';
import { messageOf } from '../calls/error';
import { ISession, ISkippedObject } from './api';
import { SessionsModel } from './model';
import { askForSession } from './start';
import { SessionCommandIDs, SESSIONS_VIEW } from './tokens';

/**
 * Add what can be done with sessions.
 */
export function addSessionCommands(mlsvc: IMlsvc, model: SessionsModel): void {
  const { addCommand, panel, trans } = mlsvc;
  const actions = new SessionActions(mlsvc, model);
  addMenu(mlsvc);
  const args = {
    type: 'object',
    properties: {
      id: {
        type: 'string',
        description: trans.__('Id of the session; the chosen one, or asked for, if left out')
      }
    }
  };

  addCommand(SessionCommandIDs.open, {
    label: trans.__('Open ML Session…'),
    caption: trans.__('Show what a session runs, ran and holds'),
    describedBy: { args },
    execute: async given => {
      const [session] = await actions.targets(given, trans.__('Open a session'), trans.__('Open'));
      if (session) {
        panel.show(SESSIONS_VIEW);
        model.show(session.id);
      }
    }
  });
  addCommand(SessionCommandIDs.start, {
    label: trans.__('Start ML Session…'),
    icon: addIcon,
    describedBy: {
      args: {
        type: 'object',
        properties: {
          name: { type: 'string', description: trans.__('Its name; asked for if left out') },
          runtimeType: {
            type: 'string',
            description: trans.__('Its language, such as R; Python if left out')
          }
        }
      }
    },
    execute: ({ name, runtimeType }) =>
      actions.start(
        typeof name === 'string' ? name : undefined,
        typeof runtimeType === 'string' ? runtimeType : undefined
      )
  });
  addCommand(SessionCommandIDs.interrupt, {
    label: trans.__('Interrupt ML Session'),
    caption: trans.__('Interrupt what runs in a session; its objects stay'),
    icon: stopIcon,
    describedBy: { args },
    execute: async given => {
      const title = trans.__('Interrupt a session');
      for (const session of await actions.targets(given, title, trans.__('Interrupt'))) {
        await actions.interrupt(session);
      }
    }
  });
  addCommand(SessionCommandIDs.snapshot, {
    label: trans.__('Take Snapshot of ML Session…'),
    caption: trans.__('Keep the objects and files of a session'),
    icon: snapshotIcon,
    describedBy: {
      args: {
        ...args,
        properties: {
          ...args.properties,
          name: {
            type: 'string',
            description: trans.__('Name of the snapshot; asked for if left out')
          }
        }
      }
    },
    execute: async given => {
      const title = trans.__('Take a snapshot of a session');
      const [session] = await actions.targets(given, title, trans.__('Choose'));
      if (session) {
        await actions.snapshot(session, typeof given.name === 'string' ? given.name : undefined);
      }
    }
  });
  addCommand(SessionCommandIDs.close, {
    label: trans.__('Close ML Session…'),
    caption: trans.__('End a session; its objects are gone then'),
    icon: powerIcon,
    describedBy: { args },
    execute: async given => {
      await actions.close(
        await actions.targets(given, trans.__('Close a session'), trans.__('Choose'))
      );
    }
  });
}

function addMenu({ app }: IMlsvc): void {
  const { open, interrupt, snapshot, close } = SessionCommandIDs;
  const selector = '.jp-MlsvcSessions .jp-MlsvcList-item';
  [open, interrupt, snapshot, close].forEach((command, rank) => {
    app.contextMenu.addItem({ command, selector, rank });
  });
}

class SessionActions {
  constructor(
    private readonly _mlsvc: IMlsvc,
    private readonly _model: SessionsModel
  ) {}

  /**
   * The sessions that a command is meant for: given, or chosen in the panel, or asked for.
   */
  async targets(
    { id }: ReadonlyPartialJSONObject,
    title: string,
    accept: string
  ): Promise<ISession[]> {
    const { trans } = this._mlsvc;
    const { list, choice, open, isActive } = this._model;
    if (typeof id === 'string') {
      const found = this._model.find([id]);
      if (found.length === 0) {
        await list.load();
      }
      const again = this._model.find([id]);
      if (again.length === 0) {
        await showErrorMessage(title, trans.__('There is no session with the id %1.', id));
      }
      return again;
    }
    if (isActive) {
      const chosen = this._model.find(open ? [open.id] : choice.targets);
      if (chosen.length > 0) {
        return chosen;
      }
    }
    await list.load();
    const sessions = list.value ?? [];
    if (list.trouble || sessions.length === 0) {
      await showErrorMessage(title, list.trouble?.message ?? trans.__('There are no sessions.'));
      return [];
    }
    const at = await choose({ title, accept, items: sessions.map(({ name }) => name) });
    return sessions[at] ? [sessions[at]] : [];
  }

  async start(given: string | undefined, runtimeType: string | undefined): Promise<void> {
    const { trans, panel } = this._mlsvc;
    const wanted =
      given === undefined
        ? await askForSession(
            trans,
            this._model.list.value?.map(({ name }) => name) ?? [],
            runtimeType
          )
        : { name: given, ...(runtimeType === undefined ? {} : { runtimeType }) };
    if (wanted === null) {
      return;
    }
    const { name } = wanted;
    const created = await tellWhile({
      work: signal => this._model.api.create(wanted, signal),
      pending: trans.__('Starting session %1…', name),
      success: () => ({ message: trans.__('Session %1 is started.', name) }),
      failure: trans.__('Session %1 was not started.', name),
      trans
    });
    if (created) {
      await this._model.list.load();
      panel.show(SESSIONS_VIEW);
      this._model.show(created.sessionId);
    }
  }

  async interrupt({ id, name, executionId, state }: ISession): Promise<void> {
    const { trans } = this._mlsvc;
    const shown = harmless(name);
    if (state === 'idle') {
      Notification.info(trans.__('Nothing runs in session %1.', shown), { autoClose: 3000 });
      return;
    }
    try {
      const said = await this._model.api.cancel(id, executionId ?? undefined);
      Notification.info(`${shown}: ${said}`, { autoClose: 3000 });
    } catch (error) {
      Notification.error(
        `${trans.__('Session %1 was not interrupted.', shown)} ${messageOf(error)}`
      );
    }
    await this._model.list.load();
  }

  async snapshot(session: ISession, given: string | undefined): Promise<void> {
    const { trans, app } = this._mlsvc;
    const label = trans.__('Name of the snapshot');
    const title = trans.__('Take a snapshot of %1', session.name);
    const name = given ?? (await askText(title, label, session.name, trans.__('Take')));
    if (name === null) {
      return;
    }
    await tellWhile({
      work: signal => this._model.api.snapshot(session.id, name, signal),
      pending:
        session.state === 'busy'
          ? trans.__('The snapshot of %1 is taken when what runs is done…', session.name)
          : trans.__('Taking a snapshot of %1…', session.name),
      success: ({ snapshotId, skipped = [] }) => ({
        message: takenText(name, skipped, trans),
        isWarning: skipped.length > 0,
        actions: [
          {
            label: trans.__('Show It'),
            callback: () => {
              void app.commands.execute(SnapshotCommandIDs.open, { id: snapshotId });
            }
          }
        ]
      }),
      failure: trans.__('No snapshot of %1 was taken.', session.name),
      trans
    });
  }

  async close(sessions: readonly ISession[]): Promise<void> {
    const { trans } = this._mlsvc;
    const [first] = sessions;
    if (!first) {
      return;
    }
    const isOne = sessions.length === 1;
    const busy = sessions.filter(({ state }) => state === 'busy').map(({ name }) => name);
    const body = [
      isOne
        ? trans.__('Its objects and files will be gone; snapshots that were taken of it stay.')
        : trans.__('Their objects and files will be gone; snapshots that were taken of them stay.'),
      ...(isOne ? [] : [sessions.map(({ name }) => name).join(', ')]),
      ...(busy.length > 0 ? [trans.__('Code that runs is stopped: %1.', busy.join(', '))] : [])
    ];
    const title = isOne
      ? trans.__('Close session %1?', first.name)
      : trans._n('Close %1 session?', 'Close %1 sessions?', sessions.length);
    if (!(await confirm({ title, body, accept: trans.__('Close'), trans }))) {
      return;
    }
    const outcomes = await Promise.allSettled(
      sessions.map(async ({ id, name }) => {
        try {
          await this._model.api.close(id);
        } catch (error) {
          throw new Error(`${name}: ${messageOf(error)}`);
        }
        if (this._model.open?.id === id) {
          this._model.show(null);
        }
      })
    );
    await this._model.list.load();
    const failures = outcomes.flatMap(outcome =>
      outcome.status === 'rejected' ? [messageOf(outcome.reason)] : []
    );
    if (failures.length > 0) {
      await showErrorMessage(trans.__('Not all was closed'), failures.join('\n'));
    }
  }
}

/**
 * Say that a snapshot is there; why something was left out stands in the snapshot.
 */
function takenText(
  name: string,
  skipped: readonly ISkippedObject[],
  trans: TranslationBundle
): string {
  const names = skipped.map(object => object.name).join(', ');
  return skipped.length > 0
    ? trans.__('Snapshot %1 is taken, but without what cannot be kept: %2.', name, names)
    : trans.__('Snapshot %1 is taken.', name);
}

async function askText(
  title: string,
  label: string,
  text: string,
  okLabel: string
): Promise<string | null> {
  const { button, value } = await InputDialog.getText({
    title: harmless(title),
    label,
    text,
    okLabel
  });
  return button.accept ? (value ?? '').trim() || text : null;
}
