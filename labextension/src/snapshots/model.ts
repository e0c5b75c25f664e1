import { ServerEvents } from '../events';
import { ListModel } from '../list';
import { PanelState } from '../state';
import { ISnapshot, SnapshotsApi } from './api';
import { SnapshotDetail } from './open';

/**
 * One's snapshots as last seen, newest first, and the one that is open.
 */
export class SnapshotsModel extends ListModel<ISnapshot, SnapshotDetail> {
  constructor(
    readonly api: SnapshotsApi,
    events: ServerEvents,
    state: PanelState
  ) {
    super({
      load: async signal => newestFirst(await api.list(signal)),
      kind: 'snapshot',
      events,
      state
    });
    // Publishing and deleting services changes who uses a snapshot.
    events.changed.connect((_, { kind }) => {
      if (kind === 'service' && this.isActive) {
        void this.open?.refresh();
      }
    }, this);
  }

  protected override detailOf(id: string): SnapshotDetail {
    return new SnapshotDetail(this.api, id);
  }
}

function newestFirst(snapshots: readonly ISnapshot[]): ISnapshot[] {
  return [...snapshots].sort((left, right) =>
    right.creationTime < left.creationTime ? -1 : Number(right.creationTime > left.creationTime)
  );
}
