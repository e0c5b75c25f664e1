import { IOpenItem } from '../list';
import { Resource } from '../resource';
import { ISnapshot, ISnapshotContents, SnapshotsApi } from './api';

/**
 * One snapshot in detail: what is in it.
 */
export class SnapshotDetail implements IOpenItem<ISnapshot> {
  constructor(
    api: SnapshotsApi,
    readonly id: string
  ) {
    this.contents = new Resource(signal => api.contents(id, signal));
  }

  readonly contents: Resource<ISnapshotContents>;

  /**
   * Whether it was deleted meanwhile; changes with the list.
   */
  get isGone(): boolean {
    return this._isGone;
  }

  get isDisposed(): boolean {
    return this.contents.isDisposed;
  }

  update(snapshot: ISnapshot | undefined): void {
    this._isGone = snapshot === undefined;
  }

  resume(): void {
    void this.refresh();
  }

  stop(): void {
    // What is in a snapshot stays as it is, so nothing goes on that could be stopped.
  }

  async refresh(): Promise<void> {
    if (!this._isGone) {
      await this.contents.load();
    }
  }

  dispose(): void {
    this.contents.dispose();
  }

  private _isGone = false;
}
