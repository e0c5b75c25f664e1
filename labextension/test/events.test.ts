// @vitest-environment jsdom
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { IChange, IServerEvent, ServerEvents } from '../src/events';
import { IRequestOptions, MlsvcError } from '../src/calls/request';
import { Resource } from '../src/resource';

/**
 * Answers questions one by one, when the test says so.
 */
class Door {
  readonly asked: (IRequestOptions & { resolve: (answer: unknown) => void })[] = [];
  private readonly _rejects: ((error: Error) => void)[] = [];

  readonly json = <T>(_method: string, _path: readonly string[], options: IRequestOptions = {}) =>
    new Promise<T>((resolve, reject) => {
      this.asked.push({ ...options, resolve: resolve as (answer: unknown) => void });
      this._rejects.push(reject);
      options.signal?.addEventListener('abort', () => {
        reject(new DOMException('Aborted', 'AbortError'));
      });
    });

  async answer(answer: unknown): Promise<void> {
    this.asked.at(-1)?.resolve(answer);
    await settle();
  }

  async fail(error: Error): Promise<void> {
    this._rejects.at(-1)?.(error);
    await settle();
  }
}

const settle = (): Promise<unknown> => vi.advanceTimersByTimeAsync(0);
const later = (milliseconds = 200): Promise<unknown> => vi.advanceTimersByTimeAsync(milliseconds);
const event = (number: number, kind: IServerEvent['kind']): IServerEvent => ({
  number,
  kind,
  action: 'created',
  id: '',
  name: 'Iris',
  version: ''
});

let isHidden = false;
Object.defineProperty(document, 'hidden', { get: () => isHidden });
const hide = (value: boolean): void => {
  isHidden = value;
  document.dispatchEvent(new Event('visibilitychange'));
};

const EVERY = ['service', 'session', 'snapshot', 'batch', 'key'];

describe('ServerEvents', () => {
  let door: Door;
  let events: ServerEvents;
  let changes: IChange[];
  const kinds = (): string[] => changes.splice(0).map(({ kind }) => kind);

  beforeEach(() => {
    vi.useFakeTimers();
    isHidden = false;
    door = new Door();
    events = new ServerEvents(door);
    changes = [];
    events.changed.connect((_, change) => {
      changes.push(change);
    });
  });

  afterEach(() => {
    events.dispose();
    vi.useRealTimers();
  });

  const begin = async (): Promise<void> => {
    events.watch();
    await settle();
    await door.answer({ run: 'a', last: 7, events: [], isReset: false });
    await later();
    changes = [];
  };

  it('asks nothing while nobody watches', async () => {
    await later(60_000);

    expect(door.asked).toHaveLength(0);
  });

  it('has all loaded once it knows where the server stands, then waits for what comes after', async () => {
    events.watch();
    await settle();
    await door.answer({ run: 'a', last: 7, events: [], isReset: false });
    await later();

    expect(kinds()).toEqual(EVERY);
    expect(door.asked.map(({ query }) => query)).toEqual([{}, { run: 'a', after: 7, wait: 25 }]);
  });

  it('tells each kind that changed once', async () => {
    await begin();

    await door.answer({
      run: 'a',
      last: 10,
      events: [event(8, 'service'), event(9, 'session'), event(10, 'service')],
      isReset: false
    });
    await later();

    expect(changes.map(({ kind, events: of }) => [kind, of.length])).toEqual([
      ['service', 2],
      ['session', 1]
    ]);
    expect(door.asked.at(-1)?.query).toMatchObject({ after: 10 });
  });

  it('says nothing when the wait was in vain', async () => {
    await begin();

    await door.answer({ run: 'a', last: 7, events: [], isReset: false });

    expect(kinds()).toEqual([]);
  });

  it('has all loaded again after a restart of the server', async () => {
    await begin();

    await door.answer({ run: 'b', last: 0, events: [], isReset: true });
    await later();

    expect(kinds()).toHaveLength(EVERY.length);
    expect(door.asked.at(-1)?.query).toMatchObject({ run: 'b', after: 0 });
  });

  it('backs off while the server does not answer, and has all loaded when it does', async () => {
    await begin();
    for (let i = 0; i < 8; i++) {
      await door.fail(new TypeError('no connection'));
      await later(31_000);
    }
    const asked = door.asked.length;
    await door.fail(new TypeError('no connection'));
    await later(140);

    expect(door.asked).toHaveLength(asked);
    await later(31_000);
    kinds();
    // It waits for no event, because that it answers is the news.
    expect(door.asked.at(-1)?.query).toMatchObject({ run: 'a', after: 7, wait: 0 });
    await door.answer({ run: 'a', last: 7, events: [], isReset: false });
    expect(kinds()).toHaveLength(EVERY.length);
    await later();
    expect(door.asked.at(-1)?.query).toMatchObject({ wait: 25 });
  });

  it('has all loaded at once when the server stops to answer, so that this is told', async () => {
    await begin();
    expect(kinds()).toHaveLength(0);

    await door.fail(new TypeError('no connection'));
    expect(kinds()).toHaveLength(EVERY.length);

    await later(31_000);
    await door.fail(new TypeError('no connection'));
    expect(kinds()).toHaveLength(0);
  });

  it('ends the question when the page is hidden, and goes on where it was', async () => {
    await begin();
    const asked = door.asked.length;

    hide(true);
    await later(60_000);
    expect(door.asked.at(-1)?.signal?.aborted).toBe(true);
    expect(door.asked).toHaveLength(asked);

    hide(false);
    await later();
    expect(door.asked.at(-1)?.query).toMatchObject({ run: 'a', after: 7 });
  });

  it('stops with its last watcher', async () => {
    const first = events.watch();
    const second = events.watch();
    await settle();

    first.dispose();
    expect(door.asked[0]?.signal?.aborted).toBe(false);
    second.dispose();
    await later(60_000);

    expect(door.asked[0]?.signal?.aborted).toBe(true);
    expect(door.asked).toHaveLength(1);
  });

  it('has all loaded now and then where the server has no events', async () => {
    events.watch();
    await settle();
    await door.fail(new MlsvcError('Not Found', 404, 'NotFoundException'));
    expect(kinds()).toHaveLength(EVERY.length);

    await later(10_500);

    expect(kinds()).toHaveLength(EVERY.length);
    expect(door.asked).toHaveLength(1);
  });
});

describe('Resource', () => {
  it('loads once more for all that was asked during a load', async () => {
    const answers: ((value: number) => void)[] = [];
    const resource = new Resource(() => new Promise<number>(resolve => answers.push(resolve)));

    const loads = [resource.load(), resource.load(), resource.load()];
    answers[0]?.(1);
    await vi.waitFor(() => {
      expect(answers).toHaveLength(2);
    });
    answers[1]?.(2);
    await Promise.all(loads);

    expect(resource.value).toBe(2);
    expect(resource.isLoading).toBe(false);
    resource.dispose();
  });

  it('keeps what it had when a load fails, and recovers', async () => {
    let failure: Error | null = null;
    const resource = new Resource(() =>
      failure ? Promise.reject(failure) : Promise.resolve('here')
    );
    await resource.load();

    failure = new Error('The server is gone.');
    await resource.load();
    expect(resource.value).toBe('here');
    expect(resource.trouble).toEqual({ kind: 'failed', message: 'The server is gone.' });

    failure = null;
    await resource.load();
    expect(resource.trouble).toBeNull();
    resource.dispose();
  });

  it('follows changes of its kind while somebody looks', async () => {
    let loads = 0;
    const door = new Door();
    const events = new ServerEvents(door);
    const resource = new Resource(() => Promise.resolve(++loads));
    resource.follow(events, 'session');
    const tell = async (kind: IServerEvent['kind']): Promise<void> => {
      (events.changed as unknown as { emit: (change: IChange) => void }).emit({ kind, events: [] });
      await Promise.resolve();
    };

    await tell('session');
    expect(loads).toBe(0);
    resource.isFollowing = true;
    await tell('snapshot');
    expect(loads).toBe(0);
    await tell('session');
    expect(loads).toBe(1);
    resource.dispose();
    events.dispose();
  });
});
