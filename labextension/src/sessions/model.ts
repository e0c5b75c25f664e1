import { IDisposable } from '@lumino/disposable';
import { Poll } from '@lumino/polling';
import { ISignal, Signal } from '@lumino/signaling';

import { ServerEvents } from '../events';
import { ListChoice } from '../list';
import { Resource } from '../resource';
import { PanelSettings } from '../settings';
import { PanelState } from '../state';
import { ISession, SessionsApi } from './api';
import { SessionDetail } from './open';

const OPEN = 'sessions.open';

/**
 * One's sessions as last seen, and the one that is open.
 */
export class SessionsModel implements IDisposable {
  constructor(
    readonly api: SessionsApi,
    events: ServerEvents,
    settings: PanelSettings,
    private readonly _state: PanelState
  ) {
    this.list = new Resource(signal => this.api.list(signal));
    this.list.follow(events, 'session');
    this.list.changed.connect(() => {
      this._take();
    }, this);
    this.choice = new ListChoice();
    // Memory and leases change without an event.
    this._poll = new Poll({
      name: 'jupyter-mlsvc:sessions',
      auto: false,
      factory: () => this.list.load(),
      frequency: { interval: settings.pollInterval, backoff: false },
      standby: 'when-hidden'
    });
    settings.changed.connect(() => {
      this._poll.frequency = { ...this._poll.frequency, interval: settings.pollInterval };
    }, this);
    void this._state.restored.then(() => {
      this._follow();
    });
  }

  readonly list: Resource<ISession[]>;
  readonly choice: ListChoice;

  /**
   * Emitted when another session is open, or none.
   */
  get changed(): ISignal<this, void> {
    return this._changed;
  }

  /**
   * The session that is open; null for none.
   */
  get open(): SessionDetail | null {
    return this._open;
  }

  /**
   * Whether somebody looks.
   */
  get isActive(): boolean {
    return this.list.isFollowing;
  }

  get isDisposed(): boolean {
    return this._poll.isDisposed;
  }

  /**
   * Sessions by id, as last seen; unknown ones are left out.
   */
  find(ids: readonly string[]): ISession[] {
    return ids.flatMap(id => this.list.value?.find(session => session.id === id) ?? []);
  }

  /**
   * Open a session, or with null the list.
   */
  show(id: string | null): void {
    if (id === null) {
      this._state.remove(OPEN);
      this.choice.wantFocus();
    } else {
      this._state.set(OPEN, id);
      this.choice.focused = id;
    }
    this._follow();
  }

  activate(): void {
    this.list.isFollowing = true;
    void this._poll.refresh();
    this._follow();
    this._open?.resume();
  }

  deactivate(): void {
    this.list.isFollowing = false;
    void this._poll.stop();
    this._open?.stop();
  }

  /**
   * Load again, because somebody asked for it; never rejects.
   */
  async refresh(): Promise<void> {
    await Promise.all([this.list.load(), this._open?.refresh()]);
  }

  dispose(): void {
    if (this.isDisposed) {
      return;
    }
    this._poll.dispose();
    this.list.dispose();
    this._open?.dispose();
    Signal.clearData(this);
  }

  private _take(): void {
    const sessions = this.list.value;
    if (sessions) {
      this.choice.keep(sessions.map(({ id }) => id));
      this._open?.update(sessions.find(({ id }) => id === this._open?.id));
    }
  }

  /**
   * Open what the state says is open.
   */
  private _follow(): void {
    const id = this._state.get<string>(OPEN, '');
    if (id === (this._open?.id ?? '')) {
      return;
    }
    this._open?.dispose();
    this._open = id ? new SessionDetail(this.api, id) : null;
    if (this.isActive) {
      this._open?.resume();
    }
    this._take();
    this._changed.emit();
  }

  private readonly _changed = new Signal<this, void>(this);
  private readonly _poll: Poll;
  private _open: SessionDetail | null = null;
}
