import { IDisposable } from '@lumino/disposable';
import { Poll } from '@lumino/polling';
import { ISignal, Signal } from '@lumino/signaling';

import { IServiceVersion } from './service';

/**
 * What the model needs of the server.
 */
export interface IServiceSource {
  listServices(): Promise<IServiceVersion[]>;
  deleteService(name: string, version: string): Promise<void>;
}

/**
 * A service with its versions, newest first.
 */
export interface IServiceGroup {
  name: string;
  versions: IServiceVersion[];
}

/**
 * The services as last seen, kept fresh while somebody looks.
 */
export class ServicesModel implements IDisposable {
  constructor(private readonly _source: IServiceSource) {
    this._poll = new Poll({
      name: 'jupyter-mlsvc:services',
      auto: false,
      factory: () => this._load(),
      frequency: { interval: 10_000, backoff: true, max: 120_000 },
      standby: () => (this._isAsked ? false : this.isWatched ? 'when-hidden' : true)
    });
  }

  /**
   * Whether somebody looks: without, the server is asked only by `refresh`.
   */
  isWatched = false;

  /**
   * Emitted when any of the properties below changed.
   */
  get changed(): ISignal<this, void> {
    return this._changed;
  }

  /**
   * Whether the server has answered at least once.
   */
  get isLoaded(): boolean {
    return this._isLoaded;
  }

  /**
   * The services by name, as of the last answer that came.
   */
  get groups(): readonly IServiceGroup[] {
    return this._groups;
  }

  /**
   * Why the last attempt to list failed; null if it did not.
   */
  get error(): string | null {
    return this._error;
  }

  get isDisposed(): boolean {
    return this._poll.isDisposed;
  }

  /**
   * List again now; the outcome is in the properties, so this never rejects.
   */
  async refresh(): Promise<void> {
    this._isAsked = true;
    await this._poll.refresh();
    await this._poll.tick.catch(() => undefined);
  }

  /**
   * Delete a version and list again; rejects with the server's message.
   */
  async deleteService(name: string, version: string): Promise<void> {
    await this._source.deleteService(name, version);
    await this.refresh();
  }

  dispose(): void {
    if (this.isDisposed) {
      return;
    }
    this._poll.dispose();
    Signal.clearData(this);
  }

  private async _load(): Promise<void> {
    this._isAsked = false;
    try {
      this._groups = groupByName(await this._source.listServices());
      this._isLoaded = true;
      this._error = null;
    } catch (error) {
      this._error = error instanceof Error ? error.message : String(error);
      // The poll backs off when it sees the failure.
      throw error;
    } finally {
      this._changed.emit();
    }
  }

  private readonly _changed = new Signal<this, void>(this);
  private readonly _poll: Poll;
  private _groups: IServiceGroup[] = [];
  private _isAsked = false;
  private _isLoaded = false;
  private _error: string | null = null;
}

/**
 * Sort services by name, and the versions of each newest first; the server lists oldest first.
 */
export function groupByName(services: readonly IServiceVersion[]): IServiceGroup[] {
  const groups = new Map<string, IServiceVersion[]>();
  for (const service of services) {
    const versions = groups.get(service.name) ?? [];
    versions.unshift(service);
    groups.set(service.name, versions);
  }
  return [...groups]
    .map(([name, versions]) => ({ name, versions }))
    .sort((left, right) => left.name.localeCompare(right.name));
}
