import { IDisposable } from '@lumino/disposable';
import { Debouncer } from '@lumino/polling';
import { ISignal, Signal } from '@lumino/signaling';

import { messageOf } from '../calls/error';
import { draftOf, IDraft, parametersOf, Place, Problem, problemsOf, requestOf } from './draft';
import { ICallOptions, IRemedy, KernelError } from './kernel';
import { INameCheck, IPublished, IPublishRequest, ISuggestion } from './suggestion';

/**
 * What the model needs of the kernel.
 */
export interface IPublisher {
  suggest(
    sources: readonly string[],
    place: { session?: string; snapshot?: string },
    options?: ICallOptions
  ): Promise<ISuggestion>;
  checkName(name: string, version: string): Promise<INameCheck>;
  publish(request: IPublishRequest, options?: ICallOptions): Promise<IPublished>;
}

/**
 * Why something did not work.
 */
export interface IFailure {
  message: string;

  /**
   * What failed: finding out, or publishing.
   */
  stage: 'asking' | 'publishing';
  isMissingPackage: boolean;
  remedy: IRemedy;
}

/**
 * Milliseconds after which a question that did not have its turn is said to wait.
 */
const PATIENCE = 700;

/**
 * Milliseconds after the last key press after which a name is checked.
 */
const TYPING = 400;

const NO_REMEDY: IRemedy = { force: false, next: null };

/**
 * A service on its way from code in a notebook to the server.
 */
export class PublishModel implements IDisposable {
  constructor(
    private readonly _kernel: IPublisher,
    private readonly _sources: readonly string[]
  ) {
    this._naming = new Debouncer(() => this._checkName(), TYPING);
  }

  /**
   * Emitted when any of the properties below changed.
   */
  get changed(): ISignal<this, void> {
    return this._changed;
  }

  /**
   * What the kernel is doing for this; null for nothing.
   */
  get activity(): 'asking' | 'publishing' | 'cancelling' | null {
    return this._activity;
  }

  /**
   * Whether the kernel has something else to do first.
   */
  get isWaiting(): boolean {
    return this._isWaiting;
  }

  /**
   * The last line that was printed meanwhile.
   */
  get progress(): string {
    return this._progress;
  }

  /**
   * What the kernel found out; null until it answered.
   */
  get suggestion(): ISuggestion | null {
    return this._suggestion;
  }

  /**
   * What stands in the form; null until the kernel answered.
   */
  get draft(): IDraft | null {
    return this._draft;
  }

  get problems(): Problem[] {
    return this._draft ? problemsOf(this._draft, this._suggestion?.runtimeType) : [];
  }

  /**
   * Why the last attempt failed; null if it did not.
   */
  get failure(): IFailure | null {
    return this._failure;
  }

  /**
   * The service, once it is published.
   */
  get published(): IPublished | null {
    return this._published;
  }

  /**
   * Whether name and version can be taken; null where that is not known.
   */
  get naming(): INameCheck | null {
    const { _draft: draft, _checked: checked } = this;
    return draft && checked && keyOf(draft) === checked.key ? checked.check : null;
  }

  get canPublish(): boolean {
    const { naming } = this;
    const isFree = !naming || naming.ok || Boolean(naming.neverAnswered && this._draft?.replace);
    return (
      this._activity === null &&
      this._published === null &&
      this._suggestion?.connected === true &&
      this._draft !== null &&
      this.problems.length === 0 &&
      isFree
    );
  }

  get isDisposed(): boolean {
    return this._isDisposed;
  }

  /**
   * Find out what the code needs; the outcome is in the properties, so this never rejects.
   *
   * @param place - Where the code shall find its names; where it is left out, the kernel decides.
   */
  async ask(place?: Place): Promise<void> {
    if (this._isDisposed || this._activity === 'publishing' || this._activity === 'cancelling') {
      return;
    }
    this._abort.abort();
    if (place && this._draft) {
      this._draft = { ...this._draft, place };
    }
    await this._during('asking', async options => {
      const suggestion = await this._kernel.suggest(this._sources, where(place), options);
      options.signal?.throwIfAborted();
      this._take(suggestion, place);
    });
  }

  /**
   * Change what stands in the form.
   */
  edit(change: Partial<IDraft>): void {
    if (!this._draft) {
      return;
    }
    const before = keyOf(this._draft);
    this._draft = { ...this._draft, ...change };
    this._hasEditedRows ||= 'inputs' in change || 'outputs' in change;
    if (keyOf(this._draft) !== before) {
      this._draft = { ...this._draft, replace: false };
      void this._naming.invoke().catch(() => undefined);
    }
    this._changed.emit();
  }

  /**
   * Publish what stands in the form; the outcome is in the properties, so this never rejects.
   *
   * @param force - Also where calls will fail.
   */
  async publish(force = false): Promise<void> {
    const { _suggestion: suggestion, _draft: draft } = this;
    if (!this.canPublish || !suggestion || !draft) {
      return;
    }
    await this._during('publishing', async options => {
      const request = { ...requestOf(suggestion, draft), force };
      this._published = await this._kernel.publish(request, options);
    });
    if (this._failure?.remedy.next) {
      // Somebody else was faster, or nobody asked before: it may be one to replace.
      await this._checkName();
    }
  }

  /**
   * Stop what goes on; gives whether there was anything that was not being stopped already.
   */
  cancel(): boolean {
    if (this._activity !== 'publishing') {
      return false;
    }
    this._activity = 'cancelling';
    this._abort.abort();
    this._changed.emit();
    return true;
  }

  dispose(): void {
    if (this._isDisposed) {
      return;
    }
    this._isDisposed = true;
    this._abort.abort();
    this._naming.dispose();
    Signal.clearData(this);
  }

  private async _checkName(): Promise<void> {
    const { _draft: draft } = this;
    const [name = '', version = ''] = [draft?.name.trim(), draft?.version.trim()];
    if (!draft || !name || !version || this._suggestion?.connected !== true) {
      return;
    }
    try {
      const check = await this._kernel.checkName(name, version);
      this._checked = { key: keyOf(draft), check };
    } catch {
      // It is checked again when it is published.
      return;
    }
    if (!this._isDisposed) {
      this._changed.emit();
    }
  }

  private async _during(
    activity: 'asking' | 'publishing',
    work: (options: ICallOptions) => Promise<void>
  ): Promise<void> {
    const abort = (this._abort = new AbortController());
    this._activity = activity;
    this._failure = null;
    this._progress = '';
    this._isWaiting = false;
    this._changed.emit();
    const waiting = setTimeout(() => {
      this._isWaiting = true;
      this._changed.emit();
    }, PATIENCE);
    try {
      await work({
        signal: abort.signal,
        onBegin: () => {
          clearTimeout(waiting);
          if (this._isWaiting) {
            this._isWaiting = false;
            this._changed.emit();
          }
        },
        onLine: line => {
          this._progress = line;
          this._changed.emit();
        }
      });
    } catch (error) {
      if (!abort.signal.aborted) {
        this._failure = {
          stage: activity,
          message: messageOf(error),
          isMissingPackage: error instanceof KernelError && error.isMissingPackage,
          remedy: error instanceof KernelError ? error.remedy : NO_REMEDY
        };
      }
    } finally {
      clearTimeout(waiting);
      // A newer question may have taken over.
      if (this._abort === abort) {
        this._activity = null;
        this._changed.emit();
      }
    }
  }

  private _take(suggestion: ISuggestion, place: Place | undefined): void {
    this._suggestion = suggestion;
    if (this._draft === null) {
      this._draft = draftOf(suggestion);
      if (suggestion.versions.includes(suggestion.version)) {
        void this._checkName();
      }
    } else if (!this._hasEditedRows) {
      this._draft = { ...this._draft, ...parametersOf(suggestion) };
    }
    if (place) {
      this._draft = { ...this._draft, place };
    }
    if (suggestion.error !== null) {
      this._failure = {
        stage: 'asking',
        message: suggestion.error,
        isMissingPackage: false,
        remedy: NO_REMEDY
      };
    }
  }

  private readonly _changed = new Signal<this, void>(this);
  private readonly _naming: Debouncer<void>;
  private _abort = new AbortController();
  private _checked: { key: string; check: INameCheck } | null = null;
  private _activity: 'asking' | 'publishing' | 'cancelling' | null = null;
  private _draft: IDraft | null = null;
  private _failure: IFailure | null = null;
  private _hasEditedRows = false;
  private _isDisposed = false;
  private _isWaiting = false;
  private _progress = '';
  private _published: IPublished | null = null;
  private _suggestion: ISuggestion | null = null;
}

function keyOf({ name, version }: IDraft): string {
  return JSON.stringify([name.trim(), version.trim()]);
}

function where(place: Place | undefined): { session?: string; snapshot?: string } {
  switch (place?.kind) {
    case 'session':
      return { session: place.name };
    case 'snapshot':
      return { snapshot: place.id };
    default:
      return {};
  }
}
