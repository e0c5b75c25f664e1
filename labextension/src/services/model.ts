import { DisposableDelegate, IDisposable } from '@lumino/disposable';
import { Poll } from '@lumino/polling';
import { ISignal, Signal } from '@lumino/signaling';
import { TranslationBundle } from '@jupyterlab/translation';

import { IChange, IServerEvent, ServerEvents } from '../events';
import { Resource } from '../resource';
import { PanelSettings } from '../settings';
import { PanelState } from '../state';
import { ServerStatus } from '../status';
import { messageOf } from '../calls/error';
import {
  IServiceChange,
  IServiceHistory,
  IServiceLogEntry,
  IServiceStatistics,
  IServiceVersion,
  Period,
  ServicesApi
} from '../calls/api';
import { TryForm } from '../calls/form';
import { BatchesApi } from './batchapi';
import { KeysModel } from './keys';
import {
  filterServices,
  groupByName,
  idOf,
  isChangeable,
  IServiceGroup,
  IVersionKey,
  keyOf,
  Order,
  Row,
  rowsOf,
  sortGroups
} from '../calls/rows';
import { Language, LANGUAGES } from '../calls/snippets';

/**
 * Keys of what survives a reload.
 */
const FILTER = 'services.filter';
const PUBLISHER = 'services.publisher';
const TAG = 'services.tag';
const ORDER = 'services.order';
const COLLAPSED = 'services.collapsed';
const UNFOLDED = 'services.unfolded';
const OPEN = 'services.open';
const PERIOD = 'services.period';
const SECTIONS = 'services.sections';
const LANGUAGE = 'services.language';

/**
 * The section of an open version that shows its log, which is asked for while it is unfolded.
 */
export const LOG_SECTION = 'log';

/**
 * Whose services are listed: those of everybody, one's own, or those of somebody by name.
 */
export type Publishers = 'all' | 'mine' | `by:${string}`;

export const ORDERS: readonly Order[] = ['name', 'newest', 'calls', 'errors'];

/**
 * How many versions are asked for one by one when they changed; for more the list is.
 */
const FEW = 8;

/**
 * A version without a name of its own, whose place in the list the server knows.
 */
const MADE_UP = /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/i;

/**
 * Longest time between two clicks that are one double click, in milliseconds.
 */
const DOUBLE_CLICK = 600;

/**
 * How many of the newest entries of a log are shown.
 */
const LOG_ENTRIES = 100;

/**
 * What the model is made of.
 */
export interface IServicesOptions {
  api: ServicesApi;
  batches: BatchesApi;
  keys: KeysModel;
  events: ServerEvents;
  status: ServerStatus;
  settings: PanelSettings;
  state: PanelState;
  trans: TranslationBundle;
}

/**
 * The log of a version as last seen.
 */
interface ILog {
  id: string;
  entries: readonly IServiceLogEntry[] | null;
  trouble: string;
}

/**
 * What is listed, as services and as lines.
 */
interface IListed {
  groups: readonly IServiceGroup[];
  rows: readonly Row[];
}

/**
 * The services as last seen, what of them is listed, selected and open.
 */
export class ServicesModel implements IDisposable {
  constructor(private readonly _options: IServicesOptions) {
    const { api, events, keys, status, settings } = _options;
    this.keys = keys;
    this.list = new Resource(signal => api.list(signal));
    events.changed.connect(this._onEvents, this);
    this.statistics = new Resource(async signal => {
      const rows = await api.statistics(signal);
      return new Map(rows.map(row => [idOf(row), row]));
    });
    this.list.changed.connect(() => {
      this._onListed();
    });
    this.statistics.changed.connect(() => {
      this._emit();
    });
    status.changed.connect(this._onOutside, this);
    settings.changed.connect(this._onOutside, this);
    this._poll = new Poll({
      name: 'jupyter-mlsvc:statistics',
      auto: false,
      factory: () => this._look(),
      frequency: this._frequency,
      standby: 'when-hidden'
    });
  }

  readonly list: Resource<IServiceVersion[]>;

  get api(): ServicesApi {
    return this._options.api;
  }

  readonly keys: KeysModel;

  get batches(): BatchesApi {
    return this._options.batches;
  }

  /**
   * Seconds between two looks at what has no events.
   */
  get pollSeconds(): number {
    return this._options.settings.pollInterval / 1000;
  }

  /**
   * By the ids of versions; those that were neither called nor loaded are not in it.
   */
  readonly statistics: Resource<Map<string, IServiceStatistics>>;

  /**
   * Emitted when anything changed but the forms, which have signals of their own.
   */
  get changed(): ISignal<this, void> {
    return this._changed;
  }

  get isDisposed(): boolean {
    return this._poll.isDisposed;
  }

  // --- what is listed ---------------------------------------------------------------------------

  get filterText(): string {
    return this._options.state.get<string>(FILTER, '');
  }
  set filterText(text: string) {
    this._options.state.set(FILTER, text);
    this._emit();
  }

  /**
   * Whose services are listed.
   */
  get publishers(): Publishers {
    const standard = this._options.settings.showMineOnly ? 'mine' : 'all';
    return this._options.state.get<string>(PUBLISHER, standard) as Publishers;
  }
  set publishers(value: Publishers) {
    this._options.state.set(PUBLISHER, value);
    this._emit();
  }

  /**
   * The tag that what is listed has; empty for any.
   */
  get tag(): string {
    return this._options.state.get<string>(TAG, '');
  }
  set tag(tag: string) {
    this._options.state.set(TAG, tag);
    this._emit();
  }

  get order(): Order {
    const order = this._options.state.get<string>(ORDER, 'name');
    return ORDERS.find(each => each === order) ?? 'name';
  }
  set order(order: Order) {
    this._options.state.set(ORDER, order);
    this._emit();
  }

  /**
   * List everything again.
   */
  clearFilters(): void {
    this._options.state.set(FILTER, '');
    this._options.state.set(TAG, '');
    this.publishers = 'all';
  }

  /**
   * All tags that there are, and the one that is asked for.
   */
  get tags(): readonly string[] {
    return distinct(
      this.list.value?.flatMap(({ tags }) => tags ?? []),
      this.tag
    );
  }

  /**
   * The names of all who published, and the one that is asked for.
   */
  get everyPublisher(): readonly string[] {
    const asked = this.publishers.startsWith('by:') ? this.publishers.slice(3) : '';
    return distinct(
      this.list.value?.map(service => service.versionPublishedBy ?? ''),
      asked
    );
  }

  get groups(): readonly IServiceGroup[] {
    return this._listed.groups;
  }

  /**
   * The lines of the list; while somebody searches, nothing is hidden in collapsed services.
   */
  get rows(): readonly Row[] {
    return this._listed.rows;
  }

  /**
   * What is listed, once until something changes.
   */
  private get _listed(): IListed {
    this._known ??= this._lay();
    return this._known;
  }

  private _lay(): IListed {
    const { list, statistics, publishers, tag, filterText: text } = this;
    const publisher =
      publishers === 'mine'
        ? (this._options.status.user?.name ?? null)
        : publishers === 'all'
          ? null
          : publishers.slice(3);
    const services = filterServices(list.value ?? [], { text, publisher, tag: tag || null });
    const groups = sortGroups(groupByName(services), this.order, statistics.value ?? new Map());
    const collapsed = new Set(this._names(COLLAPSED));
    const unfolded = new Set(this._names(UNFOLDED));
    const isSearched = text.trim() !== '';
    const rows = rowsOf(groups, {
      isCollapsed: name => !isSearched && collapsed.has(name),
      isUnfolded: name => isSearched || unfolded.has(name)
    });
    return { groups, rows };
  }

  setCollapsed(name: string, isCollapsed: boolean): void {
    this._setNamed(COLLAPSED, name, isCollapsed);
  }

  /**
   * Show the older versions of a service, or fold them.
   */
  setOlderUnfolded(name: string, isUnfolded: boolean): void {
    this._setNamed(UNFOLDED, name, isUnfolded);
  }

  // --- what is pointed at -----------------------------------------------------------------------

  /**
   * Id of the row that has the focus, or had it last.
   */
  get focused(): string {
    return this._focused;
  }
  set focused(id: string) {
    if (id !== this._focused) {
      this._focused = id;
      this._emit();
    }
  }

  /**
   * Whether the focus was in what is gone since something was opened or closed; asked once.
   */
  takeFocus(): boolean {
    const isWanted = this._isFocusWanted;
    this._isFocusWanted = false;
    return isWanted && (!document.activeElement || document.activeElement === document.body);
  }

  get selected(): ReadonlySet<string> {
    return this._selected;
  }

  /**
   * Select these versions and no others.
   */
  select(ids: Iterable<string>): void {
    this._selected = new Set(ids);
    this._emit();
  }

  toggle(id: string): void {
    const selected = new Set(this._selected);
    if (!selected.delete(id)) {
      selected.add(id);
    }
    this.select(selected);
  }

  /**
   * The version that is open; undefined if none is, or it is gone.
   */
  get open(): IServiceVersion | undefined {
    return this.find(keyOf(this._options.state.get<string>(OPEN, '')));
  }

  /**
   * Whether what should be open is no longer there.
   */
  get isOpenGone(): boolean {
    return (
      this._options.state.get<string>(OPEN, '') !== '' &&
      this.list.value !== undefined &&
      !this.open
    );
  }

  get openKey(): IVersionKey | null {
    return keyOf(this._options.state.get<string>(OPEN, ''));
  }
  set openKey(key: IVersionKey | null) {
    const id = key ? idOf(key) : '';
    if (id === this._options.state.get<string>(OPEN, '')) {
      return;
    }
    if (key) {
      this._focused = id;
      this._openedAt = performance.now();
    }
    this._isFocusWanted = true;
    this.keys.forget();
    this._options.state.set(OPEN, id);
    this._history = null;
    this._log = null;
    this._edited = null;
    this._emit();
    this._lookSoon();
  }

  /**
   * Whether what is open was opened so lately that a second click belongs to the first.
   */
  get isJustOpened(): boolean {
    return performance.now() - this._openedAt < DOUBLE_CLICK;
  }

  /**
   * The time that the history is of.
   */
  get period(): Period {
    return this._options.state.get<Period>(PERIOD, '');
  }
  set period(period: Period) {
    this._options.state.set(PERIOD, period);
    this._emit();
    this._lookSoon();
  }

  /**
   * What the version that is open did in that time; null until it came.
   */
  get history(): IServiceHistory | null {
    const { openKey, _history: history } = this;
    return openKey && history && idOf(history) === idOf(openKey) ? history : null;
  }

  /**
   * What the version that is open has printed, newest first; null until it came.
   */
  get log(): readonly IServiceLogEntry[] | null {
    return this._shownLog?.entries ?? null;
  }

  /**
   * Why its log could not be read when it was last asked for; empty where it could.
   */
  get logTrouble(): string {
    return this._shownLog?.trouble ?? '';
  }

  /**
   * Whether a section of an open version is unfolded.
   */
  isUnfolded(section: string, isUnfoldedAtFirst: boolean): boolean {
    return this._sections[section] ?? isUnfoldedAtFirst;
  }

  setUnfolded(section: string, value: boolean): void {
    this._options.state.set(SECTIONS, { ...this._sections, [section]: value });
    this._emit();
    if (section === LOG_SECTION && value) {
      void this._loadLog();
    }
  }

  /**
   * Id of the version whose description is being edited; null if none is.
   */
  get edited(): string | null {
    return this._edited;
  }
  set edited(id: string | null) {
    this._edited = id;
    this._emit();
  }

  /**
   * In what calls are shown.
   */
  get language(): Language {
    const id = this._options.state.get<string>(LANGUAGE, 'curl');
    return LANGUAGES.find(language => language.id === id)?.id ?? 'curl';
  }
  set language(id: Language) {
    this._options.state.set(LANGUAGE, id);
    this._emit();
  }

  find(key: IVersionKey | null): IServiceVersion | undefined {
    return key === null
      ? undefined
      : this.list.value?.find(({ name, version }) => name === key.name && version === key.version);
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
    const { api, state, trans } = this._options;
    const form = new TryForm({
      service,
      state,
      trans,
      consume: (values, signal, onPart) =>
        api.answer(service, values, signal, onPart).finally(() => {
          this._lookSoon();
        })
    });
    this._forms.set(id, { form, inputs });
    return form;
  }

  // --- what is done -----------------------------------------------------------------------------

  /**
   * What versions a command without arguments is about: the open one, else those selected, else
   * the focused one, or all of a focused service; none while nobody sees the list.
   */
  get targets(): IServiceVersion[] {
    if (!this._panel) {
      return [];
    }
    if (this.openKey) {
      return this.open ? [this.open] : [];
    }
    if (this._selected.size > 0) {
      return [...this._selected].flatMap(id => this.find(keyOf(id)) ?? []);
    }
    const focused = this.rows.find(({ id }) => id === this._focused);
    switch (focused?.kind) {
      case 'version':
        return [focused.service];
      case 'service':
        return focused.group.versions;
      case 'older':
        return focused.group.versions.slice(1);
      case undefined:
        return [];
    }
  }

  /**
   * Change parts of a version and list again; rejects with the server's message.
   */
  async change(service: IServiceVersion, parts: IServiceChange): Promise<void> {
    await this._options.api.change(service, parts);
    await this.list.load();
  }

  /**
   * Delete versions one after the other and list again.
   *
   * @returns What was not deleted, and why.
   */
  async delete(keys: readonly IVersionKey[]): Promise<{ key: IVersionKey; reason: string }[]> {
    const failures = [];
    for (const key of keys) {
      try {
        await this._options.api.delete(key.name, key.version);
      } catch (error) {
        failures.push({ key, reason: messageOf(error) });
      }
    }
    await this.list.load();
    return failures;
  }

  /**
   * What calls versions had, asked now; null where the server can't say.
   */
  async recentCalls(): Promise<ReadonlyMap<string, IServiceStatistics> | null> {
    await this.statistics.load();
    return this.statistics.trouble ? null : (this.statistics.value ?? null);
  }

  // --- who looks --------------------------------------------------------------------------------

  /**
   * The panel comes to be seen.
   */
  activate(): void {
    this._panel ??= this.watch();
  }

  /**
   * The panel is no longer seen.
   */
  deactivate(): void {
    this._panel?.dispose();
    this._panel = null;
  }

  /**
   * Look, and see what changes, until what is returned is disposed of.
   */
  watch(): IDisposable {
    const watching = this._options.events.watch();
    this._watchers += 1;
    this.list.isFollowing = true;
    void this.list.load();
    void this._poll.refresh();
    return new DisposableDelegate(() => {
      watching.dispose();
      this._watchers -= 1;
      if (this._watchers === 0) {
        this.list.isFollowing = false;
        void this._poll.stop();
      }
    });
  }

  async refresh(): Promise<void> {
    await Promise.all([this.list.load(), this._look().catch(() => undefined)]);
  }

  dispose(): void {
    if (this.isDisposed) {
      return;
    }
    this._poll.dispose();
    this.list.dispose();
    this.keys.dispose();
    this.statistics.dispose();
    for (const { form } of this._forms.values()) {
      form.dispose();
    }
    Signal.clearData(this);
  }

  private async _look(): Promise<void> {
    await Promise.all([this.statistics.load(), this._loadHistory(), this._loadLog()]);
    if (this.statistics.trouble) {
      // The poll backs off when it sees a failure.
      throw new Error(this.statistics.trouble.message);
    }
  }

  private async _loadHistory(): Promise<void> {
    const key = this.openKey;
    if (!key) {
      return;
    }
    try {
      this._history = await this._options.api.history(key.name, key.version, this.period);
      this._emit();
    } catch {
      // The list says why a server does not answer; statistics are not worth a second notice.
    }
  }

  private async _loadLog(): Promise<void> {
    const { open } = this;
    if (!open || !isChangeable(open) || !this.isUnfolded(LOG_SECTION, false)) {
      return;
    }
    const id = idOf(open);
    let entries = this._log?.id === id ? this._log.entries : null;
    let trouble = '';
    try {
      entries = (await this._options.api.logs(open.name, open.version, LOG_ENTRIES)).reverse();
    } catch (error) {
      trouble = messageOf(error);
    }
    this._log = { id, entries, trouble };
    this._emit();
  }

  private get _shownLog(): ILog | null {
    const { openKey, _log: log } = this;
    return openKey && log?.id === idOf(openKey) ? log : null;
  }

  private _lookSoon(): void {
    if (this.list.isFollowing) {
      void this._poll.refresh();
    }
  }

  private _onListed(): void {
    const ids = new Set(this.list.value?.map(idOf));
    if ([...this._selected].some(id => !ids.has(id))) {
      this._selected = new Set([...this._selected].filter(id => ids.has(id)));
    }
    if (!this.list.isLoading && this.isOpenGone) {
      this.openKey = null;
    }
    this._emit();
  }

  private readonly _onOutside = (): void => {
    this._poll.frequency = this._frequency;
    this._emit();
  };

  /**
   * Ask for what changed, and for all where it is much or unknown.
   */
  private readonly _onEvents = (_: unknown, { kind, events }: IChange): void => {
    if (kind !== 'service' || !this.list.isFollowing) {
      return;
    }
    const changes = new Map(events.map(event => [`${event.name}/${event.version}`, event]));
    const isKnown = [...changes.values()].every(
      ({ name, version }) => name && version && !MADE_UP.test(version)
    );
    if (changes.size === 0 || changes.size > FEW || !isKnown) {
      void this.list.load();
    } else {
      void this.list.amend(signal => this._amendment([...changes.values()], signal));
    }
  };

  private async _amendment(
    changes: readonly IServerEvent[],
    signal: AbortSignal
  ): Promise<(list: IServiceVersion[]) => IServiceVersion[]> {
    const now = await Promise.all(
      changes.map(async ({ action, name, version }) =>
        action === 'deleted'
          ? { key: `${name}/${version}`, service: null }
          : {
              key: `${name}/${version}`,
              service: await this._options.api.version(name, version, signal)
            }
      )
    );
    return list => now.reduce((amended, { key, service }) => amendOne(amended, key, service), list);
  }

  private _emit(): void {
    this._known = null;
    this._changed.emit();
  }

  private get _frequency(): { interval: number; backoff: boolean; max: number } {
    const interval = this._options.settings.pollInterval;
    return { interval, backoff: true, max: Math.max(interval, 60_000) };
  }

  private _names(key: string): string[] {
    return this._options.state.get<string[]>(key, []);
  }

  private _setNamed(key: string, name: string, isNamed: boolean): void {
    const others = this._names(key).filter(other => other !== name);
    this._options.state.set(key, isNamed ? [...others, name] : others);
    this._emit();
  }

  private get _sections(): Record<string, boolean> {
    return this._options.state.get<Record<string, boolean>>(SECTIONS, {});
  }

  private readonly _changed = new Signal<this, void>(this);
  private readonly _poll: Poll;
  private readonly _forms = new Map<string, { form: TryForm; inputs: string }>();
  private _history: IServiceHistory | null = null;
  private _log: ILog | null = null;
  private _panel: IDisposable | null = null;
  private _watchers = 0;
  private _openedAt = -Infinity;
  private _known: IListed | null = null;
  private _focused = '';
  private _isFocusWanted = false;
  private _edited: string | null = null;
  private _selected: ReadonlySet<string> = new Set();
}

/**
 * Put a version where the server lists it, which is oldest first, or take it out.
 */
function amendOne(
  list: IServiceVersion[],
  id: string,
  service: IServiceVersion | null
): IServiceVersion[] {
  const at = list.findIndex(each => idOf(each) === id);
  if (service && at >= 0 && list[at]?.creationTime === service.creationTime) {
    return list.map((each, i) => (i === at ? service : each));
  }
  const others = list.filter((_, i) => i !== at);
  return service ? [...others, service] : others;
}

/**
 * Each text once and sorted, without empty ones.
 */
function distinct(texts: readonly string[] = [], ...more: readonly string[]): readonly string[] {
  const { compare } = new Intl.Collator(undefined, { numeric: true });
  return [...new Set([...texts, ...more])].filter(Boolean).sort(compare);
}
