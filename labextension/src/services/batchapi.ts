import { IRequests } from '../calls/request';
import { IVersionKey } from '../calls/rows';

/**
 * How far a batch is.
 */
export interface IBatch {
  id: string;

  /**
   * `Pending`, `InProgress`, `Complete`, `Failed` or `Cancelled`.
   */
  state: string;
  completed: number;
  failed: number;
  total: number;

  /**
   * Why it could not go on; else empty.
   */
  reason: string;
}

/**
 * Result of a record.
 */
export interface IBatchRecord {
  success: boolean;
  errorMessage: string;
  outputParameters: Record<string, unknown>;

  /**
   * False for a record that has no result yet.
   */
  finished?: boolean;
}

/**
 * Answer of `GET /api/{name}/{version}/batch/{id}`.
 */
interface IBatchStatus {
  state: string;
  completedItemCount: number;
  totalItemCount: number;
  failedItemCount?: number;
  errorMessage?: string;
  batchExecutionResults: IBatchRecord[];
}

/**
 * Whether a batch has yet to end.
 */
export function isActive({ state }: IBatch): boolean {
  return state === 'Pending' || state === 'InProgress';
}

/**
 * The routes of batches, which are those of whoever asks.
 */
export class BatchesApi {
  constructor(private readonly _requests: IRequests) {}

  /**
   * The newest batches of a version, the newest first.
   *
   * @param ended - Batches that are known to have ended; new ones are added.
   */
  async list(
    key: IVersionKey,
    count: number,
    ended: Map<string, IBatch>,
    signal?: AbortSignal
  ): Promise<IBatch[]> {
    const ids = await this._requests.json<string[]>('GET', this._of(key), { signal });
    const newest = ids.slice(-count).reverse();
    return Promise.all(
      newest.map(async id => ended.get(id) ?? this._status(key, id, ended, signal))
    );
  }

  /**
   * Results of some records of a batch, in the order of the records.
   */
  async records(
    key: IVersionKey,
    id: string,
    first: number,
    count: number,
    signal?: AbortSignal
  ): Promise<IBatchRecord[]> {
    const query = { showPartialResults: 'true', first, count };
    const status = await this._ask(key, id, query, signal);
    return status.batchExecutionResults;
  }

  /**
   * Names of the files that the code wrote for a record.
   */
  files(key: IVersionKey, id: string, record: number): Promise<string[]> {
    return this._requests.json('GET', [...this.path(key, id), String(record), 'files']);
  }

  /**
   * Stop a batch and keep its results.
   */
  async cancel(key: IVersionKey, id: string): Promise<void> {
    await this._requests.json('POST', [...this.path(key, id), 'cancel']);
  }

  /**
   * Stop a batch and delete it with its results.
   */
  async delete(key: IVersionKey, id: string): Promise<void> {
    await this._requests.json('DELETE', this.path(key, id));
  }

  /**
   * Where a batch is, in the parts of its path.
   */
  path(key: IVersionKey, id: string): string[] {
    return [...this._of(key), id];
  }

  private _of({ name, version }: IVersionKey): string[] {
    return ['api', name, version, 'batch'];
  }

  private async _status(
    key: IVersionKey,
    id: string,
    ended: Map<string, IBatch>,
    signal?: AbortSignal
  ): Promise<IBatch> {
    const status = await this._ask(key, id, { count: 0 }, signal);
    const batch = {
      id,
      // A server may spell states as the documents of the original do.
      state: status.state.charAt(0).toUpperCase() + status.state.slice(1),
      completed: status.completedItemCount,
      failed: status.failedItemCount ?? 0,
      total: status.totalItemCount,
      reason: status.errorMessage ?? ''
    };
    if (!isActive(batch)) {
      ended.set(id, batch);
    }
    return batch;
  }

  private _ask(
    key: IVersionKey,
    id: string,
    query: Record<string, string | number>,
    signal?: AbortSignal
  ): Promise<IBatchStatus> {
    return this._requests.json('GET', this.path(key, id), { query, signal });
  }
}
