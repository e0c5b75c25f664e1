import { ISignal, Signal } from '@lumino/signaling';

import { isAbort } from '../calls/error';
import {
  errorOf,
  IRequestOptions,
  IRequests,
  linesOf,
  MlsvcError,
  NoAnswer
} from '../calls/request';

/**
 * Who is asking (`GET /user`), as far as the page shows it.
 */
export interface IUser {
  name: string;
  role: string;
}

/**
 * Carries requests to the API, with the token of whoever signed in.
 *
 * The token is in memory alone: not in an address, a cookie or a store of the browser.
 */
export class Access implements IRequests {
  constructor(private readonly _root: string) {}

  /**
   * Emitted when somebody signed in or out.
   */
  get changed(): ISignal<this, void> {
    return this._changed;
  }

  /**
   * Who is signed in; null for nobody.
   */
  get user(): IUser | null {
    return this._user;
  }

  /**
   * Whether a token was good, and is no more.
   */
  get isExpired(): boolean {
    return this._isExpired;
  }

  /**
   * Trade a name and a password for a token.
   */
  async signIn(username: string, password: string): Promise<void> {
    this._token = '';
    const pair = await this.json<{ access_token: string }>('POST', ['login'], {
      body: { username, password }
    });
    await this.take(pair.access_token);
  }

  /**
   * Use a token or key, if it is good.
   */
  async take(token: string): Promise<void> {
    this._token = token;
    try {
      this._user = await this.json<IUser>('GET', ['user']);
    } catch (error) {
      this._token = '';
      throw error;
    }
    this._isExpired = false;
    this._changed.emit();
  }

  signOut(): void {
    this._token = '';
    this._user = null;
    this._isExpired = false;
    this._changed.emit();
  }

  async json<T>(method: string, path: readonly string[], options?: IRequestOptions): Promise<T> {
    const text = await this.text(method, path, options);
    try {
      return JSON.parse(text || 'null') as T;
    } catch {
      throw new MlsvcError('The answer is not JSON.', 502);
    }
  }

  /**
   * Ask for text as it comes.
   */
  async text(
    method: string,
    path: readonly string[],
    options: IRequestOptions = {}
  ): Promise<string> {
    const response = await this._fetch(method, path, options);
    return answered(() => response.text());
  }

  async *lines<T>(
    method: string,
    path: readonly string[],
    options: IRequestOptions = {}
  ): AsyncGenerator<T, void, undefined> {
    const response = await this._fetch(method, path, options);
    yield* linesOf<T>(response, promise => answered(() => promise));
  }

  private async _fetch(
    method: string,
    path: readonly string[],
    { query = {}, body, signal, accept }: IRequestOptions
  ): Promise<Response> {
    const url = new URL(this._root + path.map(encodeURIComponent).join('/'));
    for (const [name, value] of Object.entries(query)) {
      if (value !== undefined) {
        url.searchParams.set(name, String(value));
      }
    }
    const headers = this.headers;
    if (accept) {
      headers['Accept'] = accept;
    }
    const init: RequestInit = { method, headers, credentials: 'omit', redirect: 'error' };
    if (signal) {
      init.signal = signal;
    }
    if (body !== undefined) {
      headers['Content-Type'] = 'application/json';
      init.body = JSON.stringify(body);
    }
    const response = await answered(() => fetch(url, init));
    if (!response.ok) {
      const text = await answered(() => response.text());
      if (response.status === 401 && this._user) {
        this._token = '';
        this._user = null;
        this._isExpired = true;
        this._changed.emit();
      }
      throw errorOf(response, text);
    }
    return response;
  }

  /**
   * What each request has.
   */
  get headers(): Record<string, string> {
    const accept = { Accept: 'application/json' };
    return this._token ? { ...accept, Authorization: `Bearer ${this._token}` } : accept;
  }

  private readonly _changed = new Signal<this, void>(this);
  private _token = '';
  private _user: IUser | null = null;
  private _isExpired = false;
}

/**
 * Wait for the server; rejects with `NoAnswer` where it does not answer.
 */
async function answered<T>(ask: () => Promise<T>): Promise<T> {
  try {
    return await ask();
  } catch (error) {
    throw isAbort(error) ? error : new NoAnswer('The server does not answer.');
  }
}
