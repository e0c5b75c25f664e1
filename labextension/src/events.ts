import { IDisposable, DisposableDelegate } from '@lumino/disposable';
import { Poll } from '@lumino/polling';
import { ISignal, Signal } from '@lumino/signaling';

import { MlsvcError } from './calls/request';
import { Requester } from './request';
import { isAbort } from './calls/error';
import { Sent } from './calls/api';

export type EventKind = 'service' | 'session' | 'snapshot' | 'batch' | 'key';

/**
 * A change on the server (`GET /events`).
 */
export type IServerEvent = Sent['Event'];

/**
 * What changed of one kind; `events` is empty when anything may have changed.
 */
export interface IChange {
  kind: EventKind;
  events: readonly IServerEvent[];
}

/**
 * Whether it was our server that does not know the route, rather than none of ours.
 */
function isOlderServer(error: unknown): boolean {
  return (
    error instanceof MlsvcError && [404, 405].includes(error.status) && error.exceptionType !== ''
  );
}

type IEventsAnswer = Sent['EventList'];

const KINDS: readonly EventKind[] = ['service', 'session', 'snapshot', 'batch', 'key'];

/**
 * Seconds that the server may keep a question open; proxies cut at 60.
 */
const WAIT = 25;

/**
 * Pauses in milliseconds between two questions; after failures they grow up to the longest.
 */
const PAUSE = 150;
const MAX_PAUSE = 30_000;

/**
 * Pause in milliseconds where the server has no events to wait for.
 */
const PLAIN_PAUSE = 10_000;

/**
 * Changes on the server as they happen, by one long poll for the whole front end.
 *
 * It asks only while somebody watches and the page can be seen: a browser has few connections to
 * a host, and this one is held. What changed meanwhile is told when it goes on. When it fails, and
 * when it works again, all kinds are told as changed, so that those who load them find out.
 */
export class ServerEvents implements IDisposable {
  constructor(private readonly _requests: Pick<Requester, 'json'>) {
    this._poll = new Poll({
      name: 'jupyter-mlsvc:events',
      auto: false,
      factory: () => this._ask(),
      frequency: { interval: PAUSE, backoff: 4, max: MAX_PAUSE },
      standby: 'never'
    });
    document.addEventListener('visibilitychange', this._run);
  }

  /**
   * Emitted once for each kind of thing that changed.
   */
  get changed(): ISignal<this, IChange> {
    return this._changed;
  }

  get isDisposed(): boolean {
    return this._poll.isDisposed;
  }

  /**
   * Have changes told until what is returned is disposed of.
   */
  watch(): IDisposable {
    this._watchers += 1;
    this._run();
    return new DisposableDelegate(() => {
      this._watchers -= 1;
      this._run();
    });
  }

  dispose(): void {
    if (this.isDisposed) {
      return;
    }
    document.removeEventListener('visibilitychange', this._run);
    this._asking?.abort();
    this._poll.dispose();
    Signal.clearData(this);
  }

  /**
   * Start or stop, as watchers and page have it.
   */
  private readonly _run = (): void => {
    if (this.isDisposed) {
      return;
    }
    const isWanted = this._watchers > 0 && !document.hidden;
    if (isWanted === this._isRunning) {
      return;
    }
    this._isRunning = isWanted;
    if (isWanted) {
      void this._poll.refresh();
    } else {
      void this._poll.stop();
      this._asking?.abort();
    }
  };

  private async _ask(): Promise<void> {
    const asking = new AbortController();
    this._asking = asking;
    try {
      if (this._isPlain) {
        this._tellAll();
      } else {
        await this._follow(asking.signal);
      }
    } catch (error) {
      if (!isAbort(error) && !this._hasFailed) {
        this._hasFailed = true;
        // Whoever shows what is on the server finds out by asking, and says so.
        this._tellAll();
      }
      // The poll backs off when it sees the failure.
      throw error;
    }
  }

  private async _follow(signal: AbortSignal): Promise<void> {
    // After a failure those who watch wait to hear that the server answers, whatever happens on it.
    const wait = this._hasFailed ? 0 : WAIT;
    const query =
      this._serverRun === null ? {} : { run: this._serverRun, after: this._after, wait };
    let answer: IEventsAnswer;
    try {
      answer = await this._requests.json<IEventsAnswer>('GET', ['events'], { query, signal });
    } catch (error) {
      if (isOlderServer(error)) {
        this._isPlain = true;
        this._poll.frequency = { interval: PLAIN_PAUSE, backoff: true, max: 120_000 };
        this._tellAll();
        return;
      }
      throw error;
    }
    const isAnything = this._serverRun === null || answer.isReset || this._hasFailed;
    this._serverRun = answer.run;
    this._after = answer.last;
    this._hasFailed = false;
    if (isAnything) {
      this._tellAll();
    } else {
      this._tell(answer.events);
    }
  }

  private _tell(events: readonly IServerEvent[]): void {
    for (const kind of KINDS) {
      const ofKind = events.filter(event => event.kind === kind);
      if (ofKind.length > 0) {
        this._changed.emit({ kind, events: ofKind });
      }
    }
  }

  private _tellAll(): void {
    for (const kind of KINDS) {
      this._changed.emit({ kind, events: [] });
    }
  }

  private readonly _changed = new Signal<this, IChange>(this);
  private readonly _poll: Poll;
  private _watchers = 0;
  private _isRunning = false;
  private _asking: AbortController | null = null;
  private _isPlain = false;
  private _hasFailed = false;
  private _serverRun: string | null = null;
  private _after = 0;
}
