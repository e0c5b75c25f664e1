import { ReadonlyPartialJSONValue } from '@lumino/coreutils';
import { IDisposable } from '@lumino/disposable';
import { ISignal, Signal } from '@lumino/signaling';

import { MlsvcError } from './request';
import { isAbort, ITrouble, troubleOf } from './error';
import { IParameterDefinition, IServiceResult, IServiceVersion } from './api';
import { exampleOf } from './examples';
import { idOf } from './rows';
import { OnPart } from './stream';
import { InputProblem, IParsed, parseInput } from './values';
import { ITranslation } from './translation';

/**
 * Calls a version; what the form needs of the server.
 */
export type Consume = (
  inputs: Readonly<Record<string, unknown>>,
  signal: AbortSignal,

  /**
   * Takes what has come so far of an answer that comes item by item.
   */
  onPart: OnPart
) => Promise<IServiceResult>;

/**
 * How the last run went.
 */
export type Run =
  | { state: 'never' }
  | { state: 'running'; since: number; part?: IServiceResult }
  | { state: 'cancelled'; part?: IServiceResult | undefined }
  | { state: 'done'; milliseconds: number; result: IServiceResult }
  | { state: 'failed'; milliseconds: number; trouble: ITrouble };

/**
 * Longest inputs, in characters, that survive a reload, and of how many versions.
 */
const KEPT_CHARACTERS = 20_000;
const KEPT_VERSIONS = 30;
const KEPT = 'services.inputs';

type KeptTexts = Record<string, Record<string, string>>;

/**
 * Keeps what a reload of the page must not lose, or does not.
 */
export interface IKept {
  /**
   * What was kept under a key, if it is of the fallback's type.
   */
  get<T extends ReadonlyPartialJSONValue>(key: string, fallback: T): T;

  set(key: string, value: ReadonlyPartialJSONValue): void;
}

/**
 * What is typed into forms may be nobody else's business: it lasts as long as its form.
 */
export const NOTHING_KEPT: IKept = { get: (_key, fallback) => fallback, set: () => undefined };

/**
 * What a form is made of.
 */
export interface ITryFormOptions {
  service: IServiceVersion;
  consume: Consume;
  state: IKept;
  trans: ITranslation;
}

/**
 * The inputs of a version as they are typed, and a call with them.
 */
export class TryForm implements IDisposable {
  constructor(private readonly _options: ITryFormOptions) {
    this._id = idOf(_options.service);
    const kept = readKept(_options.state)[this._id] ?? {};
    for (const input of this.inputs) {
      const text = kept[input.name];
      this._texts.set(input.name, typeof text === 'string' ? text : emptyText(input));
    }
  }

  /**
   * Emitted when texts, problems or the run changed.
   */
  get changed(): ISignal<this, void> {
    return this._changed;
  }

  get inputs(): readonly IParameterDefinition[] {
    return this._options.service.inputParameterDefinitions ?? [];
  }

  get run(): Run {
    return this._run;
  }

  get isDisposed(): boolean {
    return this._isDisposed;
  }

  text(name: string): string {
    return this._texts.get(name) ?? '';
  }

  /**
   * Whether the publisher shows an example of an input.
   */
  hasExample({ name }: IParameterDefinition): boolean {
    return this._options.service.examples?.[0]?.inputs[name] !== undefined;
  }

  /**
   * A value to begin with: the publisher's example, or a made-up one.
   */
  exampleOf(input: IParameterDefinition): unknown {
    return this._options.service.examples?.[0]?.inputs[input.name] ?? exampleOf(input);
  }

  /**
   * What is wrong with an input, as far as it was tried; null if nothing is known.
   */
  problem(name: string): string | null {
    return this._problems.get(name) ?? null;
  }

  /**
   * What an input's text is understood as; null while it is no value.
   */
  parsed({ name, type, columns }: IParameterDefinition): IParsed | null {
    const text = this.text(name);
    const known = this._parsed.get(name);
    if (known?.text === text) {
      return known.parsed;
    }
    let parsed: IParsed | null = null;
    try {
      parsed = parseInput(type, text, this._options.trans, columns ?? []);
    } catch {
      // What is wrong is said when somebody tries to run it.
    }
    this._parsed.set(name, { text, parsed });
    return parsed;
  }

  /**
   * The inputs as they would be sent; null while one of them is no value, or empty.
   */
  get values(): Record<string, unknown> | null {
    const values = this.readable;
    const isWhole = this.inputs.every(input => input.name in values || this._isLeftOut(input));
    return isWhole ? values : null;
  }

  /**
   * Those inputs that are values, as they would be sent.
   */
  get readable(): Record<string, unknown> {
    const values: Record<string, unknown> = {};
    for (const input of this.inputs) {
      const isEmpty = input.type !== 'character' && this.text(input.name).trim() === '';
      const parsed = isEmpty || this._isLeftOut(input) ? null : this.parsed(input);
      if (parsed) {
        values[input.name] = parsed.value;
      }
    }
    return values;
  }

  /**
   * Take what was typed.
   */
  type(name: string, text: string): void {
    this._texts.set(name, text);
    this._problems.delete(name);
    this._keep();
    this._changed.emit();
  }

  /**
   * Empty all inputs, and forget the last run.
   */
  clear(): void {
    for (const input of this.inputs) {
      this._texts.set(input.name, emptyText(input));
    }
    this._problems.clear();
    this._run = { state: 'never' };
    this._keep();
    this._changed.emit();
  }

  /**
   * Call the version with what was typed; the outcome is in the properties, so this never rejects.
   *
   * @returns Whether it was called: not with inputs that are no values.
   */
  async submit(): Promise<boolean> {
    if (this._run.state === 'running') {
      return false;
    }
    const values = this._read();
    if (values === null) {
      this._changed.emit();
      return false;
    }
    const aborter = new AbortController();
    this._aborter = aborter;
    const since = performance.now();
    this._run = { state: 'running', since };
    this._changed.emit();
    const run = await this._outcome(
      () =>
        this._options.consume(values, aborter.signal, part => {
          if (this._aborter === aborter) {
            this._run = { state: 'running', since, part };
            this._changed.emit();
          }
        }),
      () => performance.now() - since
    );
    if (this._aborter === aborter) {
      this._aborter = null;
      this._run = run;
      this._changed.emit();
    }
    return true;
  }

  /**
   * Show how a call went that was made elsewhere; nothing while one is made from here.
   *
   * @param answer - Gives the answer, or throws as the call did.
   */
  async show(milliseconds: number, answer: () => IServiceResult): Promise<void> {
    if (this._run.state !== 'running') {
      this._problems.clear();
      this._run = await this._outcome(
        () => Promise.resolve().then(answer),
        () => milliseconds
      );
      this._changed.emit();
    }
  }

  /**
   * Give the running call up.
   */
  cancel(): void {
    this._aborter?.abort();
  }

  dispose(): void {
    if (this._isDisposed) {
      return;
    }
    this._isDisposed = true;
    this.cancel();
    Signal.clearData(this);
  }

  private _read(): Record<string, unknown> | null {
    this._problems.clear();
    const values: Record<string, unknown> = {};
    for (const input of this.inputs) {
      const { name, type, columns } = input;
      if (this._isLeftOut(input)) {
        continue;
      }
      try {
        const text = this.text(name);
        values[name] = parseInput(type, text, this._options.trans, columns ?? []).value;
      } catch (error) {
        if (!(error instanceof InputProblem)) {
          throw error;
        }
        this._problems.set(name, error.message);
      }
    }
    return this._problems.size === 0 ? values : null;
  }

  /**
   * Whether nothing was typed for an input that the service has a value for.
   */
  private _isLeftOut(input: IParameterDefinition): boolean {
    return input.default !== undefined && this.text(input.name).trim() === '';
  }

  private async _outcome(call: () => Promise<IServiceResult>, taken: () => number): Promise<Run> {
    try {
      const result = await call();
      return { state: 'done', milliseconds: taken(), result };
    } catch (error) {
      if (isAbort(error)) {
        return {
          state: 'cancelled',
          part: this._run.state === 'running' ? this._run.part : undefined
        };
      }
      const trouble = troubleOf(error);
      if (error instanceof MlsvcError && error.status === 400) {
        this._problems = new Map(problemsOf(error, this.inputs));
      }
      return { state: 'failed', milliseconds: taken(), trouble };
    }
  }

  private _keep(): void {
    const texts = Object.fromEntries(this._texts);
    const others = Object.entries(readKept(this._options.state)).filter(([id]) => id !== this._id);
    const size = JSON.stringify(texts).length;
    const kept = size <= KEPT_CHARACTERS ? [...others, [this._id, texts] as const] : others;
    this._options.state.set(KEPT, Object.fromEntries(kept.slice(-KEPT_VERSIONS)));
  }

  private readonly _changed = new Signal<this, void>(this);
  private readonly _id: string;
  private readonly _texts = new Map<string, string>();
  private _problems = new Map<string, string>();

  /**
   * A form is drawn more often than a table in it changes.
   */
  private readonly _parsed = new Map<string, { text: string; parsed: IParsed | null }>();
  private _aborter: AbortController | null = null;
  private _run: Run = { state: 'never' };
  private _isDisposed = false;
}

/**
 * The text of a field that nobody has touched: a switch is always on or off.
 */
function emptyText(input: IParameterDefinition): string {
  return input.type === 'logical' ? String(input.default === true) : '';
}

/**
 * Return what a refusal says of the inputs that the form has.
 */
export function problemsOf(
  error: MlsvcError,
  inputs: readonly IParameterDefinition[]
): [name: string, problem: string][] {
  return Object.entries(error.inputs).filter(([name]) => inputs.some(input => input.name === name));
}

function readKept(state: IKept): KeptTexts {
  const kept = state.get<KeptTexts>(KEPT, {});
  return Object.fromEntries(Object.entries(kept).filter(([, texts]) => typeof texts === 'object'));
}
