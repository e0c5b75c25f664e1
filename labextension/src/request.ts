import { URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';

import {
  errorOf,
  IRequestOptions,
  IRequests,
  KeptAnswers,
  linesOf,
  MlsvcError,
  NoAnswer
} from './calls/request';

/**
 * Carries requests to the Jupyter-mounted API, under any base URL.
 *
 * Paths are given in parts, which are escaped here. Rejections are `MlsvcError` for answers that
 * are no success, `NoAnswer`, and `AbortError`.
 */
export class Requester implements IRequests {
  constructor(private readonly _settings = ServerConnection.makeSettings()) {}

  /**
   * Address of the Jupyter-mounted API, absolute and without a slash at the end.
   */
  get url(): string {
    return URLExt.join(this._settings.baseUrl, 'mlsvc');
  }

  /**
   * Ask for JSON; an empty answer is null.
   */
  async json<T>(
    method: string,
    path: readonly string[],
    options: IRequestOptions = {}
  ): Promise<T> {
    const response = await this._fetch(method, path, options);
    const place = path.join('/');
    const kept = this._kept.find(place, response);
    if (kept) {
      return kept.value as T;
    }
    const text = await unlessAborted(response.text(), options.signal);
    try {
      const value = JSON.parse(text || 'null') as T;
      if (options.isKept) {
        this._kept.keep(place, response, value);
      }
      return value;
    } catch {
      // A proxy's or the hub's page in place of the server.
      throw new MlsvcError('The answer is not JSON.', response.redirected ? 401 : response.status);
    }
  }

  /**
   * Ask for bytes.
   */
  async bytes(
    method: string,
    path: readonly string[],
    options: IRequestOptions = {}
  ): Promise<Blob> {
    const response = await this._fetch(method, path, options);
    return unlessAborted(response.blob(), options.signal);
  }

  /**
   * Ask for lines of JSON, and give each as it comes; ending the loop ends the request.
   */
  async *lines<T>(
    method: string,
    path: readonly string[],
    options: IRequestOptions = {}
  ): AsyncGenerator<T, void, undefined> {
    const response = await this._fetch(method, path, options);
    yield* linesOf<T>(response, promise => unlessAborted(promise, options.signal));
  }

  private async _fetch(
    method: string,
    path: readonly string[],
    { query = {}, body, signal, isKept, accept }: IRequestOptions
  ): Promise<Response> {
    signal?.throwIfAborted();
    const asked = Object.entries(query).filter(([, value]) => value !== undefined);
    const url =
      URLExt.join(this.url, ...path.map(encodeURIComponent)) +
      URLExt.objectToQueryString(Object.fromEntries(asked));
    const init: RequestInit = { method };
    if (signal) {
      init.signal = signal;
    }
    if (isKept) {
      init.headers = this._kept.headersFor(path.join('/'));
    }
    if (body instanceof FormData) {
      // The browser says where its parts end.
      init.body = body;
    } else if (body !== undefined) {
      init.body = JSON.stringify(body);
      const type = { 'Content-Type': 'application/json' };
      init.headers = accept ? { ...type, Accept: accept } : type;
    }
    const response = await unlessAborted(
      ServerConnection.makeRequest(url, init, this._settings),
      signal
    );
    if (!response.ok && !this._kept.find(path.join('/'), response)) {
      throw errorOf(response, await response.text().catch(() => ''));
    }
    return response;
  }

  private readonly _kept = new KeptAnswers();
}

/**
 * Tell an aborted request from a lost connection: Lab reports both as a network error.
 */
async function unlessAborted<T>(promise: Promise<T>, signal?: AbortSignal): Promise<T> {
  try {
    return await promise;
  } catch (error) {
    signal?.throwIfAborted();
    throw error instanceof ServerConnection.NetworkError ? new NoAnswer(error.message) : error;
  }
}
