import { IDisposable } from '@lumino/disposable';
import { ISignal, Signal } from '@lumino/signaling';

import { EventKind, ServerEvents } from '../events';
import { Resource } from '../resource';
import { PanelState } from '../state';
import { ListChoice } from './choice';

/**
 * An item of a list in detail.
 */
export interface IOpenItem<T> extends IDisposable {
  readonly id: string;

  /**
   * Take what the list says now; undefined if the item is not in it.
   */
  update(item: T | undefined): void;

  /**
   * Watch the server from now on.
   */
  resume(): void;

  /**
   * Leave the server alone.
   */
  stop(): void;

  /**
   * Load all of it again; never rejects.
   */
  refresh(): Promise<void>;
}

/**
 * A list on the server as last seen, and the item of it that is open.
 */
export abstract class ListModel<
  T extends { id: string },
  Detail extends IOpenItem<T>
> implements IDisposable {
  constructor(options: {
    load: (signal: AbortSignal) => Promise<T[]>;
    kind: EventKind;
    events: ServerEvents;
    state: PanelState;
  }) {
    const { load, kind, events, state } = options;
    this._state = state;
    this._key = `${kind}s.open`;
    this.list = new Resource(load);
    this.list.follow(events, kind);
    this.list.changed.connect(() => {
      this._take();
    }, this);
    void state.restored.then(() => {
      this._follow();
    });
  }

  readonly list: Resource<T[]>;
  readonly choice = new ListChoice();

  /**
   * Emitted when another item is open, or none.
   */
  get changed(): ISignal<this, void> {
    return this._changed;
  }

  /**
   * The item that is open; null for none.
   */
  get open(): Detail | null {
    return this._open;
  }

  /**
   * Whether somebody looks.
   */
  get isActive(): boolean {
    return this.list.isFollowing;
  }

  get isDisposed(): boolean {
    return this.list.isDisposed;
  }

  /**
   * Items by id, as last seen; unknown ones are left out.
   */
  find(ids: readonly string[]): T[] {
    return ids.flatMap(id => this.list.value?.find(item => item.id === id) ?? []);
  }

  /**
   * Open an item, or with null the list.
   */
  show(id: string | null): void {
    if (id === null) {
      this._state.remove(this._key);
      this.choice.wantFocus();
    } else {
      this._state.set(this._key, id);
      this.choice.focused = id;
    }
    this._follow();
  }

  activate(): void {
    this.list.isFollowing = true;
    this.load();
    this._open?.resume();
  }

  deactivate(): void {
    this.list.isFollowing = false;
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
    this.list.dispose();
    this._open?.dispose();
    Signal.clearData(this);
  }

  /**
   * Begin to watch an item.
   */
  protected abstract detailOf(id: string): Detail;

  /**
   * Load the list, because somebody looks from now on.
   */
  protected load(): void {
    void this.list.load();
  }

  private _take(): void {
    const items = this.list.value;
    if (!items) {
      return;
    }
    this.choice.keep(items.map(({ id }) => id));
    const item = items.find(({ id }) => id === this._open?.id);
    // What is new may be missing in an answer that is about to be replaced.
    if (item || !this.list.isLoading) {
      this._open?.update(item);
    }
  }

  /**
   * Open what the state says is open.
   */
  private _follow(): void {
    const id = this._state.get<string>(this._key, '');
    if (id === (this._open?.id ?? '')) {
      return;
    }
    this._open?.dispose();
    this._open = id ? this.detailOf(id) : null;
    if (this.isActive) {
      this._open?.resume();
    }
    this._take();
    this._changed.emit();
  }

  private readonly _changed = new Signal<this, void>(this);
  private readonly _key: string;
  private readonly _state: PanelState;
  private _open: Detail | null = null;
}
