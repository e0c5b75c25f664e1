import { IDisposable } from '@lumino/disposable';
import { ISignal, Signal } from '@lumino/signaling';

import { IServiceStatistics, IServiceVersion, ServicesApi } from '../calls/api';
import { NOTHING_KEPT, TryForm } from '../calls/form';
import { idOf, IVersionKey } from '../calls/rows';
import { ITranslation } from '../calls/translation';
import { KernelRequests } from './requests';

/**
 * A session, as far as the panel shows it.
 */
export interface ISession {
  id: string;
  name: string;
  state: 'starting' | 'idle' | 'busy' | null;
  queued?: number;
  creationTime?: string | null;
  memoryBytes?: number | null;
  leaseSeconds?: number | null;
}

/**
 * What the kernel says of the server: all of it when it is asked, later the parts that changed.
 */
export interface IPanelState {
  /**
   * Why nothing of it may be true any more; empty while the server answers.
   */
  trouble: string;

  /**
   * Whether the server has answered once.
   */
  isLoaded: boolean;
  user?: { name: string; role: string; publicUrl: string };
  services?: IServiceVersion[];
  sessions?: ISession[];
  statistics?: IServiceStatistics[];
}

/**
 * What a panel shows: what the kernel has heard of the server, and what of it is open.
 */
export class PanelModel implements IDisposable {
  constructor(
    readonly requests: KernelRequests,
    private readonly _trans: ITranslation
  ) {
    this.api = new ServicesApi(requests);
    requests.changed.connect(this._take);
    requests.json<IPanelState>('GET', ['state']).then(
      state => {
        this._take(requests, state);
      },
      () => undefined
    );
  }

  readonly api: ServicesApi;

  /**
   * Emitted when anything changed but what is in forms.
   */
  get changed(): ISignal<this, void> {
    return this._changed;
  }

  get state(): IPanelState | null {
    return this._state;
  }

  get services(): readonly IServiceVersion[] {
    return this._state?.services ?? [];
  }

  get sessions(): readonly ISession[] {
    return this._state?.sessions ?? [];
  }

  /**
   * By the ids of versions.
   */
  get statistics(): ReadonlyMap<string, IServiceStatistics> {
    return new Map((this._state?.statistics ?? []).map(row => [idOf(row), row]));
  }

  get isDisposed(): boolean {
    return this._isDisposed;
  }

  /**
   * The form of a version; the same one while the version's inputs stay as they are.
   */
  form(service: IServiceVersion): TryForm {
    const id = idOf(service);
    const inputs = JSON.stringify(service.inputParameterDefinitions ?? []);
    const known = this._forms.get(id);
    if (known?.inputs === inputs) {
      return known.form;
    }
    known?.form.dispose();
    const form = new TryForm({
      service,
      state: NOTHING_KEPT,
      trans: this._trans,
      consume: (values, signal, onPart) => this.api.answer(service, values, signal, onPart)
    });
    this._forms.set(id, { form, inputs });
    return form;
  }

  /**
   * Delete a version; it is gone from the list at once.
   */
  async delete({ name, version }: IVersionKey): Promise<void> {
    await this.api.delete(name, version);
    this._merge({
      services: this.services.filter(each => each.name !== name || each.version !== version)
    });
  }

  async interrupt({ id }: ISession): Promise<void> {
    await this.requests.json('POST', ['sessions', id, 'cancel']);
  }

  /**
   * Keep what a session holds under its name; gives the names of what could not be kept.
   */
  async snapshot({ id, name }: ISession): Promise<string[]> {
    const { skipped = [] } = await this.requests.json<{ skipped?: { name: string }[] }>(
      'POST',
      ['sessions', id, 'snapshot'],
      { body: { name } }
    );
    return skipped.map(each => each.name);
  }

  /**
   * Close a session for good; it is gone from the list at once.
   */
  async close({ id }: ISession): Promise<void> {
    await this.requests.json('DELETE', ['sessions', id]);
    this._merge({ sessions: this.sessions.filter(each => each.id !== id) });
  }

  dispose(): void {
    if (this._isDisposed) {
      return;
    }
    this._isDisposed = true;
    this.requests.changed.disconnect(this._take);
    for (const { form } of this._forms.values()) {
      form.dispose();
    }
    Signal.clearData(this);
  }

  private readonly _take = (_: KernelRequests, given: unknown): void => {
    this._merge(given as IPanelState);
  };

  private _merge(given: Partial<IPanelState>): void {
    this._state = { trouble: '', isLoaded: false, ...this._state, ...given };
    this._changed.emit();
  }

  private readonly _changed = new Signal<this, void>(this);
  private readonly _forms = new Map<string, { form: TryForm; inputs: string }>();
  private _state: IPanelState | null = null;
  private _isDisposed = false;
}
