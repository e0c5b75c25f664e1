// @vitest-environment jsdom
import { afterEach, describe, expect, it, vi } from 'vitest';

import { NoAnswer } from '../../src/calls/request';
import { Access } from '../../src/page/access';

type Answer = (url: string, init: RequestInit) => Response;

describe('Access', () => {
  let asked: [string, RequestInit][] = [];
  const create = (answer: Answer): Access => {
    asked = [];
    vi.stubGlobal('fetch', (url: URL, init: RequestInit) => {
      asked.push([url.href, init]);
      return Promise.resolve(answer(url.href, init));
    });
    return new Access('http://here/mlsvc/');
  };
  const answerAll: Answer = url =>
    Response.json(
      url.endsWith('/login') ? { access_token: 'secret' } : { name: 'ana', role: 'reader' }
    );

  afterEach(() => {
    vi.unstubAllGlobals();
  });

  it('sends the token in a header, and keeps it nowhere else', async () => {
    const access = create(answerAll);

    await access.signIn('ana', 'pass word');
    await access.json('GET', ['services', 'a/b'], { query: { limit: 1 } });

    expect(access.user?.name).toBe('ana');
    const [url, init] = asked.at(-1) ?? [];
    expect(url).toBe('http://here/mlsvc/services/a%2Fb?limit=1');
    expect(init).toMatchObject({
      credentials: 'omit',
      headers: { Authorization: 'Bearer secret', Accept: 'application/json' }
    });
    expect(JSON.stringify([localStorage, sessionStorage, document.cookie])).not.toContain('secret');
    expect(asked.map(([each]) => each).join()).not.toMatch(/secret|pass/);
  });

  it('forgets a token that is not good, and says so where it was', async () => {
    let isGood = false;
    const access = create(url =>
      isGood ? answerAll(url, {}) : Response.json({ message: 'No.' }, { status: 401 })
    );
    await expect(access.take('secret')).rejects.toThrow('No.');
    expect(access.headers).toEqual({ Accept: 'application/json' });
    expect(access.isExpired).toBe(false);

    isGood = true;
    await access.take('secret');
    isGood = false;
    await expect(access.json('GET', ['services'])).rejects.toThrow('No.');

    expect(access).toMatchObject({ user: null, isExpired: true });
    expect(access.headers).toEqual({ Accept: 'application/json' });
  });

  it('tells that nobody answers', async () => {
    const access = create(() => {
      throw new TypeError('Failed to fetch');
    });
    await expect(access.json('GET', ['services'])).rejects.toBeInstanceOf(NoAnswer);
  });
});
