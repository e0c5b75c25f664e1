import { ISettingRegistry } from '@jupyterlab/settingregistry';
import { ISignal, Signal } from '@lumino/signaling';

/**
 * What its user has set for the panel, read live; see `schema/plugin.json`.
 */
export class PanelSettings {
  /**
   * Emitted when a setting changed.
   */
  get changed(): ISignal<this, void> {
    return this._changed;
  }

  /**
   * Milliseconds between two looks at the statistics of services.
   */
  get pollInterval(): number {
    return Math.max(1, Number(this._get('pollInterval', 3))) * 1000;
  }

  /**
   * Whether only the user's own services are listed until they choose.
   */
  get showMineOnly(): boolean {
    return Boolean(this._get('showMineOnly', false));
  }

  /**
   * Read from now on what a registry has; stays with the defaults if it has nothing.
   */
  async connect(registry: ISettingRegistry, plugin: string): Promise<void> {
    try {
      this._settings = await registry.load(plugin);
    } catch (error) {
      console.warn('jupyter-mlsvc uses its default settings:', error);
      return;
    }
    this._settings.changed.connect(() => {
      this._changed.emit();
    });
    this._changed.emit();
  }

  private _get(key: string, fallback: number | boolean): unknown {
    return this._settings?.get(key).composite ?? fallback;
  }

  private readonly _changed = new Signal<this, void>(this);
  private _settings: ISettingRegistry.ISettings | null = null;
}
