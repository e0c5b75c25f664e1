import { IDisposable } from '@lumino/disposable';
import { ISignal, Signal } from '@lumino/signaling';

import { Sent } from './calls/api';
import { MlsvcError } from './calls/request';
import { Requester } from './request';
import { isAbort, ITrouble, troubleOf } from './calls/error';
import { VERSION } from './version';

/**
 * Who is asking, and which server answers (`GET /user`).
 */
export type IUser = Sent['UserResponse'];

/**
 * Whether server and front end fit each other, and who is signed in.
 */
export class ServerStatus implements IDisposable {
  constructor(
    private readonly _requests: Requester,
    readonly version = VERSION
  ) {}

  /**
   * Emitted when any of the properties below changed.
   */
  get changed(): ISignal<this, void> {
    return this._changed;
  }

  /**
   * Who is signed in; null while that is unknown.
   */
  get user(): IUser | null {
    return this._user;
  }

  /**
   * Why the server can't be used; null if it can, or if it has not answered yet.
   */
  get trouble(): ITrouble | null {
    return this._trouble;
  }

  /**
   * Version of the server if it is not ours, empty if it is too old to say; null if all is well.
   */
  get otherVersion(): string | null {
    return this._otherVersion;
  }

  /**
   * Address at which programs call services: the public API's, else the Jupyter-mounted one's.
   */
  get callUrl(): string {
    return (this._user?.publicUrl ?? '').replace(/\/+$/, '') || this._requests.url;
  }

  /**
   * Whether programs come through the public API, which wants a bearer token.
   */
  get isPublic(): boolean {
    return Boolean(this._user?.publicUrl);
  }

  get isDisposed(): boolean {
    return this._isDisposed;
  }

  /**
   * Ask the server; the outcome is in the properties, so this never rejects.
   */
  async check(): Promise<void> {
    try {
      this._user = await this._requests.json<IUser>('GET', ['user'], {
        signal: this._aborter.signal
      });
      this._trouble = null;
      this._otherVersion = isSameVersion(this._user.serverVersion, this.version)
        ? null
        : this._user.serverVersion;
    } catch (error) {
      if (isAbort(error)) {
        return;
      }
      const isOld = error instanceof MlsvcError && error.status === 404 && error.exceptionType;
      this._user = null;
      this._trouble = isOld ? null : troubleOf(error);
      this._otherVersion = isOld ? '' : null;
    }
    this._changed.emit();
  }

  dispose(): void {
    if (this._isDisposed) {
      return;
    }
    this._isDisposed = true;
    this._aborter.abort();
    Signal.clearData(this);
  }

  private readonly _changed = new Signal<this, void>(this);
  private readonly _aborter = new AbortController();
  private _user: IUser | null = null;
  private _trouble: ITrouble | null = null;
  private _otherVersion: string | null = null;
  private _isDisposed = false;
}

/**
 * Compare a Python version with an npm one: `1.0.0rc1` and `1.0.0-rc.1` are the same.
 */
export function isSameVersion(left: string, right: string): boolean {
  const plain = (version: string): string =>
    version.toLowerCase().replace(/(?<!\d)\.|-|\.(?!\d)/g, '');
  return plain(left) === plain(right);
}
