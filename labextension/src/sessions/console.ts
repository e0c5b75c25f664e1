import * as nbformat from '@jupyterlab/nbformat';
import { IDisposable } from '@lumino/disposable';
import { ISignal, Signal } from '@lumino/signaling';

import { MlsvcError } from '../calls/request';
import { isAbort } from '../calls/error';
import { ExecutionEvent } from './api';

/**
 * Characters of a text that are kept; the beginning of a longer one goes.
 */
const MAX_TEXT_LENGTH = 200_000;

/**
 * Pauses in milliseconds between attempts to follow on after a broken connection.
 */
const PAUSES = [500, 1000, 2000, 5000, 10_000];

/**
 * Opens the events of an execution from one on.
 */
export type Follow = (
  executionId: string,
  since: number,
  signal: AbortSignal
) => AsyncIterable<ExecutionEvent>;

/**
 * The output of one execution at a time: replayed from its beginning, then live.
 */
export class ConsoleLog implements IDisposable {
  constructor(private readonly _follow: Follow) {}

  /**
   * Emitted when any of the properties below changed.
   */
  get changed(): ISignal<this, void> {
    return this._changed;
  }

  /**
   * Id of the execution that is shown; null for none.
   */
  get executionId(): string | null {
    return this._executionId;
  }

  /**
   * What it has put out so far; an output that changes is replaced by a new object.
   */
  get outputs(): readonly nbformat.IOutput[] {
    return this._outputs;
  }

  /**
   * Whether more may come.
   */
  get isRunning(): boolean {
    return this._abort !== null;
  }

  /**
   * Why there is no more of it; null if there is.
   */
  get trouble(): string | null {
    return this._trouble;
  }

  get isDisposed(): boolean {
    return this._isDisposed;
  }

  /**
   * Show an execution from now on; one that is shown already goes on.
   */
  show(executionId: string | null): void {
    if (this._isDisposed || executionId === this._executionId) {
      return;
    }
    this.stop();
    this._executionId = executionId;
    this._outputs = [];
    this._isToClear = false;
    this._trouble = null;
    this._next = 0;
    this._isOver = false;
    this.resume();
  }

  /**
   * Go on where `stop` ended.
   */
  resume(): void {
    if (!this._isDisposed && this._executionId !== null && !this._abort && !this._isOver) {
      this._abort = new AbortController();
      void this._run(this._executionId, this._abort.signal);
    }
    this._changed.emit();
  }

  /**
   * Leave the server alone; what has come stays.
   */
  stop(): void {
    this._abort?.abort();
    this._abort = null;
  }

  dispose(): void {
    if (this._isDisposed) {
      return;
    }
    this._isDisposed = true;
    this.stop();
    Signal.clearData(this);
  }

  private async _run(executionId: string, signal: AbortSignal): Promise<void> {
    let failures = 0;
    while (!signal.aborted && !this._isOver) {
      try {
        for await (const event of this._follow(executionId, this._next, signal)) {
          signal.throwIfAborted();
          failures = 0;
          this._take(event);
        }
      } catch (error) {
        if (isAbort(error)) {
          return;
        }
        if (error instanceof MlsvcError && error.status < 500 && error.status !== 429) {
          // It is gone, or not for us.
          this._trouble = error.message;
          this._isOver = true;
        }
      }
      await this._pause(failures, signal);
      failures += 1;
    }
    if (!signal.aborted) {
      this._abort = null;
      this._changed.emit();
    }
  }

  private async _pause(failures: number, signal: AbortSignal): Promise<void> {
    if (!this._isOver) {
      await pause(PAUSES[Math.min(failures, PAUSES.length - 1)] ?? 0, signal);
    }
  }

  private _take(event: ExecutionEvent): void {
    if (event.type === 'heartbeat' || event.seq < this._next) {
      return;
    }
    this._next = event.seq + 1;
    if (event.type === 'result') {
      this._isOver = true;
    } else if (event.type === 'clear_output') {
      if (event.wait) {
        this._isToClear = true;
      } else {
        this._outputs = [];
      }
    } else {
      if (this._isToClear) {
        this._outputs = [];
        this._isToClear = false;
      }
      this._outputs = withEvent(this._outputs, event);
    }
    this._changed.emit();
  }

  private readonly _changed = new Signal<this, void>(this);
  private _abort: AbortController | null = null;
  private _executionId: string | null = null;
  private _isDisposed = false;
  private _isOver = false;
  private _isToClear = false;
  private _next = 0;
  private _outputs: nbformat.IOutput[] = [];
  private _trouble: string | null = null;
}

type OutputEvent = Exclude<
  ExecutionEvent,
  { type: 'heartbeat' } | { type: 'result' } | { type: 'clear_output' }
>;

function withEvent(outputs: nbformat.IOutput[], event: OutputEvent): nbformat.IOutput[] {
  switch (event.type) {
    case 'stream':
      return withText(outputs, event.name === 'stderr' ? 'stderr' : 'stdout', event.text);
    case 'truncated':
      return withText(outputs, 'stderr', `${event.message}\n`);
    case 'error':
      return [
        ...outputs,
        {
          output_type: 'error',
          ename: event.ename,
          evalue: event.evalue,
          traceback: event.traceback ?? []
        }
      ];
    case 'update_display_data':
      return outputs.map((output): nbformat.IOutput =>
        isSameDisplay(output, event.transient?.display_id)
          ? { ...output, data: event.data, metadata: event.metadata ?? {} }
          : output
      );
    case 'display_data':
    case 'execute_result':
      return [
        ...outputs,
        {
          output_type: event.type,
          data: event.data,
          metadata: event.metadata ?? {},
          ...(event.type === 'execute_result' ? { execution_count: null } : {}),
          ...(event.transient ? { transient: event.transient } : {})
        }
      ];
  }
}

function isSameDisplay(output: nbformat.IOutput, displayId: string | undefined): boolean {
  const transient = output.transient as { display_id?: string } | undefined;
  return displayId !== undefined && transient?.display_id === displayId;
}

function withText(
  outputs: nbformat.IOutput[],
  name: 'stdout' | 'stderr',
  text: string
): nbformat.IOutput[] {
  const last = outputs.at(-1);
  const isSame = last?.output_type === 'stream' && last.name === name;
  const before = isSame ? (last.text as string) : '';
  const output: nbformat.IStream = {
    output_type: 'stream',
    name,
    text: shortened(overwritten(before + text))
  };
  return [...(isSame ? outputs.slice(0, -1) : outputs), output];
}

/**
 * Let a carriage return write over its line, as terminals do; progress bars rely on it.
 */
export function overwritten(text: string): string {
  if (!text.includes('\r')) {
    return text;
  }
  return text
    .replace(/\r+\n/g, '\n')
    .split('\n')
    .map(line => {
      const isAtStart = line.endsWith('\r');
      const parts = line.split('\r').filter(Boolean);
      const shown = parts.reduce((below, above) => above + below.slice(above.length), '');
      // What comes next writes over it.
      return isAtStart ? `${shown}\r` : shown;
    })
    .join('\n');
}

function shortened(text: string): string {
  if (text.length <= MAX_TEXT_LENGTH) {
    return text;
  }
  const tail = text.slice(-MAX_TEXT_LENGTH);
  return `…\n${tail.slice(tail.indexOf('\n') + 1)}`;
}

function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise(resolve => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener('abort', () => {
      clearTimeout(timer);
      resolve();
    });
  });
}
