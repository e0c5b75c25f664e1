import { Requester } from '../request';

/**
 * A snapshot, as `GET /snapshots` lists it.
 */
export interface ISnapshot {
  id: string;
  name: string;
  owner: string;
  creationTime: string;

  /**
   * Bytes.
   */
  contentSize: number;
  runtimeType?: string | null;

  /**
   * Objects that were left out.
   */
  skipped?: { name: string; type: string; reason: string }[];
}

/**
 * What is in a snapshot (`GET /snapshots/{id}/contents`).
 */
export interface ISnapshotContents extends ISnapshot {
  runtimeVersion?: string | null;
  objects: {
    name: string;
    type: string;
    size: number | null;
    kept: boolean;
    reason?: string | null;
  }[];
  files: { path: string; size: number | null }[];
  skippedFiles: { path: string; reason: string }[];

  /**
   * Those that hold this snapshot's content.
   */
  services: { name: string; version: string }[];

  /**
   * Versions of the packages that were loaded.
   */
  packages: Record<string, string>;
}

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
