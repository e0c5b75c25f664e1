import { IDisposable } from '@lumino/disposable';
import { ISignal, Signal } from '@lumino/signaling';

import { ServerEvents } from '../events';
import { Requester } from '../request';
import { Resource } from '../resource';
import { IVersionKey } from '../calls/rows';
import { Sent } from '../calls/api';

/**
 * What is known of a service key (`GET /keys`); the key itself is not kept.
 */
export type IServiceKey = Sent['ServiceKey'];

/**
 * What a key is to be (`POST /keys`).
 */
export interface IWantedKey {
  services: string[];
  note: string;
  expiresInSeconds: number | null;
  origins: string[];
}

/**
 * A key that was just made, with the version in whose calls it is shown.
 */
export interface INewKey {
  key: string;
  name: string;
  shownFor: IVersionKey;
}

/**
 * The keys of somebody as last seen, and the one that was just made.
 *
 * That one is in memory only, and forgotten when its reader leaves the version.
 */
export class KeysModel implements IDisposable {
  constructor(
    private readonly _requests: Requester,
    events: ServerEvents
  ) {
    this.list = new Resource(signal => this._requests.json('GET', ['keys'], { signal }));
    this.list.follow(events, 'key');
    this.list.changed.connect(() => {
      this._changed.emit();
    });
  }

  readonly list: Resource<IServiceKey[]>;

  /**
   * Emitted when the list or the new key changed.
   */
  get changed(): ISignal<this, void> {
    return this._changed;
  }

  get isDisposed(): boolean {
    return this.list.isDisposed;
  }

  /**
   * The keys that are for a version, the newest first.
   */
  for({ name, version }: IVersionKey): readonly IServiceKey[] {
    return (this.list.value ?? [])
      .filter(
        ({ services }) =>
          services === null || services.includes(name) || services.includes(`${name}/${version}`)
      )
      .sort((one, other) => other.creationTime.localeCompare(one.creationTime));
  }

  /**
   * The key that was just made for calls of a version; null if there is none.
   */
  made({ name, version }: IVersionKey): INewKey | null {
    const { shownFor } = this._made ?? {};
    return shownFor?.name === name && shownFor.version === version ? this._made : null;
  }

  /**
   * Make a key, and show it in the calls of a version; rejects with the server's message.
   */
  async create(wanted: IWantedKey, shownFor: IVersionKey): Promise<void> {
    const { key, serviceKey } = await this._requests.json<{
      key: string;
      serviceKey: IServiceKey;
    }>('POST', ['keys'], { body: wanted });
    this._made = { key, name: serviceKey.name, shownFor };
    await this.list.load();
  }

  /**
   * End a key; rejects with the server's message.
   */
  async revoke(name: string): Promise<void> {
    await this._requests.json('DELETE', ['keys', name]);
    if (this._made?.name === name) {
      this._made = null;
    }
    await this.list.load();
  }

  /**
   * Show the new key no more.
   */
  forget(): void {
    if (this._made) {
      this._made = null;
      this._changed.emit();
    }
  }

  dispose(): void {
    this._made = null;
    this.list.dispose();
    Signal.clearData(this);
  }

  private readonly _changed = new Signal<this, void>(this);
  private _made: INewKey | null = null;
}
