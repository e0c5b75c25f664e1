import { IDisposable } from '@lumino/disposable';
import { ISignal, Signal } from '@lumino/signaling';

import { IRequestOptions, IRequests, MlsvcError, NoAnswer } from '../calls/request';
import { IWidgetModel } from './model';

/**
 * What went wrong, as the kernel writes it down.
 */
export interface IProblem {
  /**
   * 0 where no server answered.
   */
  status: number;
  message: string;
  exceptionType?: string;
  inputs?: Record<string, string>;
}

/**
 * A message of the kernel: an answer where it has an id, else something that happened.
 */
interface IMessage {
  id?: string;
  problem?: IProblem;

  /**
   * A part of the answer, in the buffer; others follow.
   */
  line?: boolean;

  /**
   * A service was called; by which request, or by none where a program did.
   */
  called?: string;

  /**
   * Something else has changed; the buffer says what it is now.
   */
  changed?: boolean;
}

interface IWaiting {
  resolve: (text: string) => void;
  reject: (error: Error) => void;
  onLine?: (text: string) => void;
}

/**
 * Has the kernel make requests, with its own login: there is no token in the browser, and the
 * server needs to be in reach of the kernel alone.
 */
export class KernelRequests implements IRequests, IDisposable {
  constructor(private readonly _model: IWidgetModel) {
    _model.on('msg:custom', this._onMessage);
    // There is one such event after the start: the kernel was restarted.
    _model.on('comm_live_update', this._onGone);
    _model.on('comm:close', this._onGone);
  }

  /**
   * Emitted when a service was called, but not from here.
   */
  get called(): ISignal<this, void> {
    return this._called;
  }

  /**
   * Emitted with what the kernel says by itself.
   */
  get changed(): ISignal<this, unknown> {
    return this._changed;
  }

  /**
   * Emitted when the kernel has forgotten the widget.
   */
  get gone(): ISignal<this, void> {
    return this._gone;
  }

  get isGone(): boolean {
    return this._isGone;
  }

  get isDisposed(): boolean {
    return this._isDisposed;
  }

  async json<T>(
    method: string,
    path: readonly string[],
    options: IRequestOptions = {}
  ): Promise<T> {
    const text = await this._ask(contentOf(method, path, options), options);
    try {
      return JSON.parse(text || 'null') as T;
    } catch {
      throw new MlsvcError('The answer is not JSON.', 502);
    }
  }

  async *lines<T>(
    method: string,
    path: readonly string[],
    options: IRequestOptions = {}
  ): AsyncGenerator<T, void, undefined> {
    const came: string[] = [];
    const aborter = new AbortController();
    const giveUp = (): void => {
      aborter.abort();
    };
    const state = { isOver: false, wake: (): void => undefined };
    options.signal?.throwIfAborted();
    options.signal?.addEventListener('abort', giveUp);
    const content = { ...contentOf(method, path, options), lines: true };
    const asked = this._ask(content, { ...options, signal: aborter.signal }, text => {
      came.push(text);
      state.wake();
    });
    const end = (): void => {
      state.isOver = true;
      state.wake();
    };
    asked.then(end, end);
    try {
      while (!state.isOver || came.length > 0) {
        for (const text of came.splice(0)) {
          yield JSON.parse(text) as T;
        }
        await new Promise<void>(resolve => {
          state.wake = resolve;
          if (state.isOver || came.length > 0) {
            resolve();
          }
        });
      }
      await asked;
    } finally {
      options.signal?.removeEventListener('abort', giveUp);
      giveUp();
    }
  }

  dispose(): void {
    if (this._isDisposed) {
      return;
    }
    this._isDisposed = true;
    this._model.off('msg:custom', this._onMessage);
    this._model.off('comm_live_update', this._onGone);
    this._model.off('comm:close', this._onGone);
    this._waiting.clear();
    Signal.clearData(this);
  }

  private _ask(
    content: object,
    { body, signal }: IRequestOptions,
    onLine?: (text: string) => void
  ): Promise<string> {
    const bytes = body === undefined ? [] : [new TextEncoder().encode(JSON.stringify(body)).buffer];
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted();
      if (this._isGone) {
        throw new NoAnswer(GONE);
      }
      const id = `${this._prefix}${(this._count += 1)}`;
      this._waiting.set(id, { resolve, reject, onLine });
      signal?.addEventListener('abort', () => {
        if (this._waiting.delete(id)) {
          this._model.send({ cancel: id });
          reject(new DOMException('The request was given up.', 'AbortError'));
        }
      });
      this._model.send({ id, ...content }, undefined, bytes);
    });
  }

  private readonly _onMessage = (message: IMessage, buffers: DataView[]): void => {
    const { id, problem, line, called, changed } = message;
    if (changed) {
      this._changed.emit(JSON.parse(textOf(buffers)));
    }
    if (called !== undefined && !called.startsWith(this._prefix)) {
      this._called.emit();
    }
    const waiting = id === undefined ? undefined : this._waiting.get(id);
    if (id === undefined || !waiting) {
      // Of another view of the widget.
      return;
    }
    if (line) {
      waiting.onLine?.(textOf(buffers));
      return;
    }
    this._waiting.delete(id);
    if (problem) {
      waiting.reject(errorOf(problem));
    } else {
      waiting.resolve(textOf(buffers));
    }
  };

  private readonly _onGone = (): void => {
    this._isGone = true;
    for (const { reject } of this._waiting.values()) {
      reject(new NoAnswer(GONE));
    }
    this._waiting.clear();
    this._gone.emit();
  };

  private readonly _called = new Signal<this, void>(this);
  private readonly _changed = new Signal<this, unknown>(this);
  private readonly _gone = new Signal<this, void>(this);
  private readonly _prefix = `${Math.random().toString(36).slice(2)}-`;
  private readonly _waiting = new Map<string, IWaiting>();
  private _count = 0;
  private _isGone = false;
  private _isDisposed = false;
}

const GONE = 'The kernel was restarted. Run the cell again.';

function contentOf(
  method: string,
  path: readonly string[],
  { query = {} }: IRequestOptions
): object {
  const given = Object.entries(query).flatMap(([name, value]) =>
    value === undefined ? [] : [[name, String(value)] as const]
  );
  return { method, path, query: Object.fromEntries(given) };
}

function textOf(buffers: readonly DataView[]): string {
  return buffers[0] ? new TextDecoder().decode(buffers[0]) : '';
}

/**
 * Make an error of what the kernel says of it.
 */
export function errorOf({ status, message, exceptionType, inputs }: IProblem): Error {
  return status === 0
    ? new NoAnswer(message)
    : new MlsvcError(message, status, exceptionType, inputs);
}
