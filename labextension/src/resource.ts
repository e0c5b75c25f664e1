import { IDisposable } from '@lumino/disposable';
import { ISignal, Signal } from '@lumino/signaling';

import { EventKind, IChange, ServerEvents } from './events';
import { isAbort, ITrouble, troubleOf } from './calls/error';

/**
 * Something on the server as last seen, with how the last attempt to load it went.
 */
export class Resource<T> implements IDisposable {
  constructor(private readonly _load: (signal: AbortSignal) => Promise<T>) {}

  /**
   * Emitted when any of the properties below changed.
   */
  get changed(): ISignal<this, void> {
    return this._changed;
  }

  /**
   * The last answer that came; undefined before the first.
   */
  get value(): T | undefined {
    return this._value;
  }

  /**
   * Why the last attempt failed; null if it did not. The value is then an older one.
   */
  get trouble(): ITrouble | null {
    return this._trouble;
  }

  get isLoading(): boolean {
    return this._loading !== null;
  }

  get isDisposed(): boolean {
    return this._isDisposed;
  }

  /**
   * Load now; the outcome is in the properties, so this never rejects.
   *
   * What is asked for during a load is answered by one more load after it.
   */
  load(): Promise<void> {
    if (this.isDisposed) {
      return Promise.resolve();
    }
    if (this._loading) {
      this._isStale = true;
      return this._loading;
    }
    this._loading = this._loadWhileStale().finally(() => {
      this._loading = null;
      this._emit();
    });
    this._emit();
    return this._loading;
  }

  /**
   * Change a part of the value as the server says; all of it is loaded where that fails, or where
   * more has changed meanwhile. Never rejects.
   *
   * @param ask - Finds out what to do with the value.
   */
  amend(ask: (signal: AbortSignal) => Promise<(value: T) => T>): Promise<void> {
    if (this.isDisposed || this._loading || this._value === undefined) {
      return this.load();
    }
    this._loading = this._amend(ask).finally(() => {
      this._loading = null;
      this._emit();
    });
    return this._loading;
  }

  /**
   * Take a value that is known without asking, such as what a change has made of it.
   */
  set(value: T): void {
    this._value = value;
    this._emit();
  }

  /**
   * Load again whenever something of a kind changes on the server.
   */
  follow(events: ServerEvents, kind: EventKind): void {
    events.changed.connect((_, change: IChange) => {
      if (change.kind === kind && this._isFollowing) {
        void this.load();
      }
    }, this);
  }

  /**
   * Whether changes on the server lead to loads; somebody who looks sets it.
   */
  get isFollowing(): boolean {
    return this._isFollowing;
  }
  set isFollowing(value: boolean) {
    this._isFollowing = value;
  }

  dispose(): void {
    if (this._isDisposed) {
      return;
    }
    this._isDisposed = true;
    this._aborter.abort();
    Signal.clearData(this);
  }

  private async _amend(ask: (signal: AbortSignal) => Promise<(value: T) => T>): Promise<void> {
    this._isStale = false;
    try {
      const change = await ask(this._aborter.signal);
      if (this._value !== undefined) {
        this._value = change(this._value);
        this._trouble = null;
      }
    } catch {
      this._isStale = !this.isDisposed;
    }
    if (this._isStale) {
      await this._loadWhileStale();
    }
  }

  private async _loadWhileStale(): Promise<void> {
    do {
      this._isStale = false;
      try {
        this._value = await this._load(this._aborter.signal);
        this._trouble = null;
      } catch (error) {
        if (!isAbort(error)) {
          this._trouble = troubleOf(error);
        }
      }
    } while (this._isStale as boolean);
  }

  private _emit(): void {
    if (!this._isDisposed) {
      this._changed.emit();
    }
  }

  private readonly _changed = new Signal<this, void>(this);
  private readonly _aborter = new AbortController();
  private _value: T | undefined;
  private _trouble: ITrouble | null = null;
  private _loading: Promise<void> | null = null;
  private _isStale = false;
  private _isDisposed = false;
  private _isFollowing = false;
}
