import { Kernel, KernelMessage } from '@jupyterlab/services';
import { PartialJSONObject } from '@lumino/coreutils';

import { messageOf } from '../calls/error';
import { INameCheck, IPublished, IPublishRequest, ISuggestion } from './suggestion';

/**
 * What may help where nothing was published.
 */
export interface IRemedy {
  /**
   * Whether it is published as it is when somebody insists.
   */
  force: boolean;

  /**
   * A version that is free, where the one that was asked for is not.
   */
  next: string | null;
}

/**
 * The kernel could not do what it was asked; the message is for people.
 */
export class KernelError extends Error {
  /**
   * @param kind - Name of the Python exception; empty where none was raised.
   */
  constructor(
    message: string,
    readonly kind = '',
    readonly remedy: IRemedy = { force: false, next: null }
  ) {
    super(message);
    this.name = 'KernelError';
  }

  /**
   * Whether the kernel's environment lacks the package, or has one that is too old.
   */
  get isMissingPackage(): boolean {
    return (
      (this.kind === 'ModuleNotFoundError' || this.kind === 'ImportError') &&
      this.message.includes('jupyter_mlsvc')
    );
  }
}

/**
 * What may accompany a call.
 */
export interface ICallOptions {
  /**
   * Ends the call: the kernel is interrupted, but only while it works on this call.
   */
  signal?: AbortSignal;

  /**
   * Called when it is this call's turn; the kernel may be busy with others before.
   */
  onBegin?: () => void;

  /**
   * Called with each line that is printed meanwhile.
   */
  onLine?: (line: string) => void;
}

/**
 * The part of a kernel connection that is needed here.
 */
export type IKernel = Pick<Kernel.IKernelConnection, 'requestExecute' | 'interrupt'>;

/**
 * What an older package in the kernel's environment does not say.
 */
const LEFT_OUT: Partial<ISuggestion> = {
  kind: 'code',
  function: null,
  model: null,
  response: [],
  versions: [],
  setupCode: '',
  isolation: null,
  effects: false,
  network: true,
  readOnly: false,
  keepBodies: false,
  concurrency: null,
  deadlineSeconds: null,
  problems: []
};

/**
 * Asks `jupyter_mlsvc.publishing` in a notebook's kernel.
 *
 * Nothing of it is seen there: no name in the user's namespace, no history, no execution count.
 */
export class PublishingKernel {
  constructor(private readonly _kernel: IKernel) {}

  /**
   * Find out what publishing the code needs; where it is published to decides what is there.
   */
  async suggest(
    sources: readonly string[],
    place: { session?: string; snapshot?: string },
    options: ICallOptions = {}
  ): Promise<ISuggestion> {
    const [code = ''] = sources;
    const cells = sources.length > 1 ? { code: '', sources: [...sources] } : { code };
    const found = await this._call<ISuggestion>('suggest', { ...cells, ...place }, options);
    return { ...LEFT_OUT, ...found };
  }

  /**
   * Find out whether a name and a version can be taken.
   */
  checkName(name: string, version: string): Promise<INameCheck> {
    return this._call<INameCheck>('check_name', { name, version }, {});
  }

  /**
   * Publish; rejects with a `KernelError` that has the server's message.
   */
  async publish(request: IPublishRequest, options: ICallOptions = {}): Promise<IPublished> {
    type Refusal = { message: string } & Partial<IRemedy>;
    type Answer = IPublished & { error?: Refusal | null };
    const { error, ...published } = await this._call<Answer>(
      'publish',
      { ...request } as unknown as PartialJSONObject,
      options
    );
    if (error) {
      const { message, force = false, next = null } = error;
      throw new KernelError(message, '', { force, next });
    }
    return published;
  }

  private async _call<T>(
    name: string,
    args: PartialJSONObject,
    { signal, onBegin, onLine }: ICallOptions
  ): Promise<T> {
    signal?.throwIfAborted();
    const future = this._kernel.requestExecute({
      code: '',
      silent: true,
      store_history: false,
      allow_stdin: false,
      stop_on_error: false,
      user_expressions: { answer: expression(name, args) }
    });
    let hasBegun = false;
    const interrupt = (): void => {
      // Before its turn, an interrupt would hit what the user runs.
      if (hasBegun) {
        void this._kernel.interrupt().catch(() => undefined);
      }
    };
    future.onIOPub = message => {
      if (KernelMessage.isStatusMsg(message) && message.content.execution_state === 'busy') {
        hasBegun = true;
        onBegin?.();
        if (signal?.aborted) {
          interrupt();
        }
      } else if (KernelMessage.isStreamMsg(message)) {
        for (const line of message.content.text.split(/[\r\n]+/)) {
          if (line.trim()) {
            onLine?.(line.trim());
          }
        }
      }
    };
    signal?.addEventListener('abort', interrupt);
    const aborted = new Promise<never>((_, reject) => {
      signal?.addEventListener('abort', () => {
        if (!hasBegun) {
          reject(signal.reason as Error);
        }
      });
    });
    try {
      const reply = await Promise.race([future.done, aborted]);
      return answerOf(reply) as T;
    } catch (error) {
      signal?.throwIfAborted();
      if (error instanceof KernelError) {
        throw error;
      }
      throw new KernelError(messageOf(error));
    } finally {
      signal?.removeEventListener('abort', interrupt);
    }
  }
}

/**
 * Write the call of a function as a Python expression that shows its answer as JSON.
 */
export function expression(name: string, args: PartialJSONObject): string {
  const module = `__import__("jupyter_mlsvc.publishing", fromlist=["${name}"])`;
  const values = `__import__("json").loads(${pythonString(JSON.stringify(args))})`;
  return `__import__("IPython.display", fromlist=["JSON"]).JSON(${module}.${name}(**${values}))`;
}

/**
 * Write text as a Python literal: JSON's escapes are Python's, and all else is ASCII.
 */
export function pythonString(text: string): string {
  return JSON.stringify(text).replace(
    /[^\x20-\x7e]/g,
    letter => `\\u${letter.charCodeAt(0).toString(16).padStart(4, '0')}`
  );
}

function answerOf(reply: KernelMessage.IExecuteReplyMsg | undefined): unknown {
  const content = reply?.content;
  if (content?.status !== 'ok') {
    const error = content as Partial<KernelMessage.IReplyErrorContent> | undefined;
    throw new KernelError(error?.evalue ?? 'The kernel did not answer.', error?.ename);
  }
  const answer = content.user_expressions.answer as
    | { status: 'ok'; data: Record<string, unknown> }
    | { status: 'error'; ename: string; evalue: string }
    | undefined;
  if (answer?.status === 'error') {
    throw new KernelError(answer.evalue || answer.ename, answer.ename);
  }
  const value = answer?.data['application/json'];
  if (value === undefined) {
    throw new KernelError('The kernel answered without JSON.');
  }
  return value;
}
