/**
 * Names that others may rely on.
 */

export const SNAPSHOTS_VIEW = 'snapshots';

export const SnapshotCommandIDs = {
  open: 'mlsvc:open-snapshot',
  load: 'mlsvc:load-snapshot',
  download: 'mlsvc:download-snapshot',
  delete: 'mlsvc:delete-snapshot'
} as const;
