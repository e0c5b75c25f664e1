import { IDisposable } from '@lumino/disposable';
import { ISignal, Signal } from '@lumino/signaling';

import { Resource } from '../resource';
import { IExecution, ISession, ISessionObject, SessionsApi } from './api';
import { ConsoleLog } from './console';

/**
 * Executions that are kept, and code that was run before them.
 */
export interface IHistory {
  /**
   * Newest first.
   */
  executions: readonly IExecution[];

  /**
   * Newest first.
   */
  earlier: readonly string[];
}

/**
 * One session in detail: what it runs, ran and holds.
 */
export class SessionDetail implements IDisposable {
  constructor(
    private readonly _api: SessionsApi,
    readonly id: string
  ) {
    this.history = new Resource(signal => this._loadHistory(signal));
    this.objects = new Resource(signal => this._api.objects(this.id, signal));
    this.console = new ConsoleLog((executionId, since, signal) =>
      this._api.follow(this.id, executionId, since, signal)
    );
  }

  readonly history: Resource<IHistory>;
  readonly objects: Resource<ISessionObject[]>;
  readonly console: ConsoleLog;

  /**
   * Emitted when any of the properties below changed.
   */
  get changed(): ISignal<this, void> {
    return this._changed;
  }

  /**
   * The session as last seen; null before that.
   */
  get session(): ISession | null {
    return this._session;
  }

  /**
   * Whether it has ended: it was asked for, and is not among the sessions.
   */
  get isGone(): boolean {
    return this._isGone;
  }

  /**
   * Whether the console goes along with what runs, and does not show an older execution.
   */
  get isFollowing(): boolean {
    return this._chosen === null;
  }

  get isDisposed(): boolean {
    return this._isDisposed;
  }

  /**
   * Show an execution on the console; null for the one that runs, else the last.
   */
  choose(executionId: string | null): void {
    this._chosen = executionId === this._session?.executionId ? null : executionId;
    this._showOutput();
    this._changed.emit();
  }

  /**
   * Take what the list of sessions says now.
   */
  update(session: ISession | undefined): void {
    if (this._isDisposed) {
      return;
    }
    this._isGone = session === undefined;
    this._session = session ?? this._session;
    if (this._isGone) {
      this.console.stop();
    } else if (this._isActive) {
      this._loadWhatChanged();
    }
    this._changed.emit();
  }

  /**
   * Watch the server from now on.
   */
  resume(): void {
    this._isActive = true;
    this.console.resume();
    if (this._session && !this._isGone) {
      this._loadWhatChanged();
    }
  }

  /**
   * Leave the server alone.
   */
  stop(): void {
    this._isActive = false;
    this.console.stop();
  }

  /**
   * Load all of it again; never rejects.
   */
  async refresh(): Promise<void> {
    if (!this._isGone) {
      await Promise.all([
        this.history.load(),
        this._session?.state === 'idle' ? this.objects.load() : undefined
      ]);
    }
  }

  dispose(): void {
    if (this._isDisposed) {
      return;
    }
    this._isDisposed = true;
    this.history.dispose();
    this.objects.dispose();
    this.console.dispose();
    Signal.clearData(this);
  }

  private _loadWhatChanged(): void {
    const { executionId = null, state, queued = 0 } = this._session ?? {};
    this._showOutput();
    const history = `${executionId} ${state} ${queued}`;
    if (history !== this._historySeen) {
      this._historySeen = history;
      void this.history.load();
    }
    // What runs may hold the answer back for long, and changes the objects anyhow.
    if (state === 'idle' && executionId !== this._objectsSeen) {
      this._objectsSeen = executionId;
      void this.objects.load();
    }
  }

  private _showOutput(): void {
    this.console.show(this._chosen ?? this._session?.executionId ?? null);
  }

  private async _loadHistory(signal: AbortSignal): Promise<IHistory> {
    const [codes, executions] = await Promise.all([
      this._api.history(this.id, signal),
      this._api.executions(this.id, signal)
    ]);
    const begun = executions.filter(({ startTime }) => startTime).length;
    return {
      executions: [...executions].reverse(),
      earlier: codes.slice(0, Math.max(0, codes.length - begun)).reverse()
    };
  }

  private readonly _changed = new Signal<this, void>(this);
  private _chosen: string | null = null;
  private _historySeen = '';
  private _isActive = false;
  private _isDisposed = false;
  private _isGone = false;
  private _objectsSeen: string | null | undefined = undefined;
  private _session: ISession | null = null;
}
