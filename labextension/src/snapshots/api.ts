import { Requester } from '../request';
import { Sent } from '../calls/api';

/**
 * A snapshot, as `GET /snapshots` lists it.
 */
export type ISnapshot = Sent['Snapshot'];

/**
 * What is in a snapshot (`GET /snapshots/{id}/contents`).
 */
export type ISnapshotContents = Sent['SnapshotContents'];

/**
 * The routes of snapshots, one method a route.
 */
export class SnapshotsApi {
  constructor(private readonly _requests: Requester) {}

  /**
   * List one's snapshots.
   */
  list(signal?: AbortSignal): Promise<ISnapshot[]> {
    return this._requests.json('GET', ['snapshots'], { signal });
  }

  contents(id: string, signal?: AbortSignal): Promise<ISnapshotContents> {
    return this._requests.json('GET', ['snapshots', id, 'contents'], { signal });
  }

  async delete(id: string): Promise<void> {
    await this._requests.json('DELETE', ['snapshots', id]);
  }

  /**
   * Address of a snapshot's archive; the browser is signed in there.
   */
  archiveUrl(id: string): string {
    return `${this._requests.url}/snapshots/${encodeURIComponent(id)}`;
  }
}
