import { IStateDB } from '@jupyterlab/statedb';
import { PartialJSONObject, PartialJSONValue, ReadonlyPartialJSONValue } from '@lumino/coreutils';
import { IDisposable } from '@lumino/disposable';
import { Debouncer } from '@lumino/polling';

const KEY = 'jupyter-mlsvc:panel';

/**
 * What a reload of the page must not lose: the tab, filters, what is open, what was typed.
 */
export class PanelState implements IDisposable {
  /**
   * @param database - Where it is kept; without one it lasts as long as the page.
   */
  constructor(private readonly _database: IStateDB | null) {
    this._saver = new Debouncer(() => this._save(), 300);
    this.restored = this._restore();
  }

  /**
   * Settled when `get` gives what was kept; never rejects.
   */
  readonly restored: Promise<void>;

  get isDisposed(): boolean {
    return this._saver.isDisposed;
  }

  /**
   * What was kept under a key, if it is of the fallback's type.
   */
  get<T extends ReadonlyPartialJSONValue>(key: string, fallback: T): T {
    const value = this._values[key];
    const isAlike =
      typeof value === typeof fallback &&
      Array.isArray(value) === Array.isArray(fallback) &&
      (value === null) === (fallback === null);
    return isAlike ? (value as T) : fallback;
  }

  /**
   * Keep a value; it is saved a moment later.
   */
  set(key: string, value: ReadonlyPartialJSONValue): void {
    this._values[key] = value as PartialJSONValue;
    void this._saver.invoke().catch(() => undefined);
  }

  /**
   * Forget a value.
   */
  remove(key: string): void {
    this._values = Object.fromEntries(
      Object.entries(this._values).filter(([name]) => name !== key)
    );
    void this._saver.invoke().catch(() => undefined);
  }

  dispose(): void {
    this._saver.dispose();
  }

  private async _restore(): Promise<void> {
    try {
      const kept = await this._database?.fetch(KEY);
      if (kept && typeof kept === 'object' && !Array.isArray(kept)) {
        this._values = { ...(kept as PartialJSONObject), ...this._values };
      }
    } catch {
      // What can't be read is as good as never kept.
    }
  }

  private async _save(): Promise<void> {
    await this._database?.save(KEY, this._values);
  }

  private readonly _saver: Debouncer;
  private _values: PartialJSONObject = {};
}
