import { IDisposable } from '@lumino/disposable';
import { ISignal, Signal } from '@lumino/signaling';

import { ServerEvents } from '../events';
import { ListChoice } from '../list';
import { Resource } from '../resource';
import { PanelState } from '../state';
import { ISnapshot, ISnapshotContents, SnapshotsApi } from './api';

const OPEN = 'snapshots.open';

/**
 * One's snapshots as last seen, newest first, and the one that is open.
 */
export class SnapshotsModel implements IDisposable {
  constructor(
    readonly api: SnapshotsApi,
    events: ServerEvents,
    private readonly _state: PanelState
  ) {
    this.list = new Resource(async signal => newestFirst(await this.api.list(signal)));
    this.list.follow(events, 'snapshot');
    this.list.changed.connect(() => {
      this._take();
    }, this);
    // Publishing and deleting services changes who uses a snapshot.
    events.changed.connect((_, { kind }) => {
      if (kind === 'service' && this.isActive) {
        void this._open?.contents.load();
      }
    }, this);
    this.choice = new ListChoice();
    void this._state.restored.then(() => {
      this._follow();
    });
  }

  readonly list: Resource<ISnapshot[]>;
  readonly choice: ListChoice;

  /**
   * Emitted when another snapshot is open, or none, or when the open one went.
   */
  get changed(): ISignal<this, void> {
    return this._changed;
  }

  /**
   * The snapshot that is open, with what is in it; null for none.
   */
  get open(): { id: string; contents: Resource<ISnapshotContents> } | null {
    return this._open;
  }

  /**
   * Whether the open snapshot was deleted meanwhile.
   */
  get isGone(): boolean {
    return this._isGone;
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
   * Snapshots by id, as last seen; unknown ones are left out.
   */
  find(ids: readonly string[]): ISnapshot[] {
    return ids.flatMap(id => this.list.value?.find(snapshot => snapshot.id === id) ?? []);
  }

  /**
   * Open a snapshot, or with null the list.
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
    void this.refresh();
  }

  deactivate(): void {
    this.list.isFollowing = false;
  }

  /**
   * Load again, because somebody asked for it; never rejects.
   */
  async refresh(): Promise<void> {
    this._follow();
    await Promise.all([this.list.load(), this._isGone ? undefined : this._open?.contents.load()]);
  }

  dispose(): void {
    if (this.isDisposed) {
      return;
    }
    this.list.dispose();
    this._open?.contents.dispose();
    Signal.clearData(this);
  }

  private _take(): void {
    const snapshots = this.list.value;
    if (!snapshots) {
      return;
    }
    this.choice.keep(snapshots.map(({ id }) => id));
    const isGone = this._open !== null && !snapshots.some(({ id }) => id === this._open?.id);
    if (isGone !== this._isGone && !this.list.isLoading) {
      this._isGone = isGone;
      this._changed.emit();
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
    this._open?.contents.dispose();
    this._open = id
      ? { id, contents: new Resource(signal => this.api.contents(id, signal)) }
      : null;
    this._isGone = false;
    if (this.isActive) {
      void this._open?.contents.load();
    }
    this._take();
    this._changed.emit();
  }

  private readonly _changed = new Signal<this, void>(this);
  private _isGone = false;
  private _open: { id: string; contents: Resource<ISnapshotContents> } | null = null;
}

function newestFirst(snapshots: readonly ISnapshot[]): ISnapshot[] {
  return [...snapshots].sort((left, right) =>
    right.creationTime < left.creationTime ? -1 : Number(right.creationTime > left.creationTime)
  );
}
