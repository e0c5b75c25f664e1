import { JSONObject, JSONValue } from '@lumino/coreutils';

import { Requester } from '../request';
import { Sent } from '../calls/api';

/**
 * A session, as `GET /sessions` lists it.
 */
export type ISession = Sent['Session'];

/**
 * A run of code in a session (`GET /sessions/{id}/executions`).
 */
export type IExecution = Sent['Execution'];

/**
 * An object of a workspace (`GET /sessions/{id}/inventory`).
 */
export type ISessionObject = Omit<Sent['InventoryObject'], 'example'> & { example?: JSONValue };

/**
 * An object that a snapshot left out, and why.
 */
export type ISkippedObject = Sent['SkippedObject'];

/**
 * What an execution puts out, a line each; `result` is the last.
 */
export type ExecutionEvent = { seq: number } & (
  | { type: 'stream'; name: string; text: string }
  | {
      type: 'display_data' | 'execute_result' | 'update_display_data';
      data: JSONObject;
      metadata?: JSONObject;
      transient?: { display_id?: string };
    }
  | { type: 'clear_output'; wait: boolean }
  | { type: 'error'; ename: string; evalue: string; traceback?: string[] }
  | { type: 'truncated'; message: string }
  | { type: 'result'; success: boolean; errorMessage?: string }
  | { type: 'heartbeat' }
);

/**
 * The routes of sessions, one method a route.
 */
export class SessionsApi {
  constructor(private readonly _requests: Requester) {}

  /**
   * List one's sessions, oldest first.
   */
  list(signal?: AbortSignal): Promise<ISession[]> {
    return this._requests.json('GET', ['sessions'], { signal });
  }

  /**
   * Start a session, with what a snapshot holds if one is given.
   *
   * @param runtimeType - Its language, by the name that the server knows it by.
   */
  create(
    request: { name: string; runtimeType?: string; snapshotId?: string },
    signal?: AbortSignal
  ): Promise<{ sessionId: string }> {
    const body = { runtimeType: 'Python', ...request };
    return this._requests.json('POST', ['sessions'], { body, signal });
  }

  async close(id: string): Promise<void> {
    await this._requests.json('DELETE', ['sessions', id]);
  }

  /**
   * Interrupt an execution; gives the server's sentence.
   */
  cancel(id: string, executionId?: string): Promise<string> {
    return this._requests.json('POST', ['sessions', id, 'cancel'], { query: { executionId } });
  }

  /**
   * Code that was run, oldest first.
   */
  history(id: string, signal?: AbortSignal): Promise<string[]> {
    return this._requests.json('GET', ['sessions', id, 'history'], { signal });
  }

  /**
   * Executions that are still kept, oldest first.
   */
  executions(id: string, signal?: AbortSignal): Promise<IExecution[]> {
    return this._requests.json('GET', ['sessions', id, 'executions'], { signal });
  }

  /**
   * Objects of the workspace; waits for what runs.
   */
  async objects(id: string, signal?: AbortSignal): Promise<ISessionObject[]> {
    const { objects } = await this._requests.json<{ objects: ISessionObject[] }>(
      'GET',
      ['sessions', id, 'inventory'],
      { query: { view: 'summary' }, signal }
    );
    return objects;
  }

  /**
   * What an execution puts out, from an event on, until its result.
   */
  follow(
    id: string,
    executionId: string,
    since: number,
    signal: AbortSignal
  ): AsyncGenerator<ExecutionEvent, void, undefined> {
    return this._requests.lines('GET', ['sessions', id, 'executions', executionId, 'events'], {
      query: { since },
      signal
    });
  }

  /**
   * Keep what the session holds; waits for what runs.
   */
  snapshot(
    id: string,
    name: string,
    signal?: AbortSignal
  ): Promise<{ snapshotId: string; skipped?: ISkippedObject[] }> {
    return this._requests.json('POST', ['sessions', id, 'snapshot'], { body: { name }, signal });
  }

  /**
   * Load a snapshot over what is there; gives the server's sentence.
   */
  load(id: string, snapshotId: string, signal?: AbortSignal): Promise<string> {
    return this._requests.json('POST', ['sessions', id, 'loadsnapshot', snapshotId], { signal });
  }
}
