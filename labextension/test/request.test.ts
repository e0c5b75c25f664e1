import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { MlsvcError, NoAnswer } from '../src/calls/request';
import { Requester } from '../src/request';
import { troubleOf } from '../src/calls/error';
import { TestServer } from './server';

describe('Requester', () => {
  let server: TestServer;
  let requester: Requester;

  beforeEach(async () => {
    server = await TestServer.start();
    requester = new Requester(server.settings);
  });

  afterEach(() => server.stop());

  it('asks under the base URL, with escaped parts and the query', async () => {
    server.answer = () => ({ body: { name: 'Iris' } });

    const answer = await requester.json('GET', ['services', 'My Iris/é', 'V1.0'], {
      query: { after: 3, run: undefined }
    });

    expect(answer).toEqual({ name: 'Iris' });
    expect(server.requests).toEqual([
      'GET /hub/user%20name/mlsvc/services/My%20Iris%2F%C3%A9/V1.0?after=3'
    ]);
  });

  it('sends a body as JSON', async () => {
    let type: string | undefined;
    server.answer = request => {
      type = request.headers['content-type'];
      return { body: 'Changed.' };
    };

    await requester.json('PATCH', ['services', 'Iris', '1'], { body: { description: 'é' } });

    expect(server.bodies).toEqual(['{"description":"é"}']);
    expect(type).toBe('application/json');
  });

  it('takes an empty answer for null', async () => {
    server.answer = () => ({ text: '' });

    await expect(requester.json('DELETE', ['sessions', '1'])).resolves.toBeNull();
  });

  it('keeps what the server names, and gives it again where that has not changed', async () => {
    const known: (string | undefined)[] = [];
    let tag = '"1"';
    server.answer = request => {
      known.push(request.headers['if-none-match']);
      const isKnown = request.headers['if-none-match'] === tag;
      return { headers: { ETag: tag }, ...(isKnown ? { status: 304, text: '' } : { body: [tag] }) };
    };
    const ask = (isKept = true): Promise<unknown> =>
      requester.json('GET', ['services'], { isKept });

    const first = await ask();
    expect(await ask()).toBe(first);
    await ask(false);
    tag = '"2"';
    expect(await ask()).toEqual(['"2"']);
    expect(known).toEqual([undefined, '"1"', undefined, '"1"']);
  });

  it('gives bytes', async () => {
    server.answer = () => ({ text: 'zip' });

    const blob = await requester.bytes('GET', ['snapshots', '1']);

    expect(await blob.text()).toBe('zip');
  });

  it('gives lines of JSON as they come, however they are cut', async () => {
    let goOn = (): void => undefined;
    server.answer = (_request, response) => {
      response.writeHead(200);
      response.write('{"text":"é1"}\n{"te');
      goOn = () => response.end('xt":"2"}\n\n{"text":"3"}');
      return undefined;
    };

    const texts: string[] = [];
    for await (const { text } of requester.lines<{ text: string }>('GET', ['events'])) {
      texts.push(text);
      goOn();
    }

    expect(texts).toEqual(['é1', '2', '3']);
  });

  it('ends lines that are no longer wanted', async () => {
    let isClosed = false;
    server.answer = (_request, response) => {
      response.on('close', () => {
        isClosed = true;
      });
      response.write('{}\n');
      return undefined;
    };

    for await (const line of requester.lines('GET', ['events'])) {
      expect(line).toEqual({});
      break;
    }

    await expect.poll(() => isClosed).toBe(true);
  });

  it('rejects as aborted, not as offline, when its caller ends it', async () => {
    const aborter = new AbortController();
    server.answer = () => {
      aborter.abort();
      return new Promise(() => undefined);
    };

    const answer = requester.json('GET', ['services'], { signal: aborter.signal });

    await expect(answer).rejects.toMatchObject({ name: 'AbortError' });
  });

  it("rejects with the server's own message", async () => {
    server.answer = () => ({
      status: 403,
      body: { message: 'Only maria may delete Iris.', exceptionType: 'ForbiddenException' }
    });

    const deletion = requester.json('DELETE', ['services', 'Iris', 'V1.0']);

    await expect(deletion).rejects.toEqual(
      new MlsvcError('Only maria may delete Iris.', 403, 'ForbiddenException')
    );
  });

  it('leaves out what the server advises callers of the REST API to do', async () => {
    const inputs = { x: 'Input x is missing.' };
    server.answer = () => ({
      status: 404,
      body: {
        message: "There is no service 'a'. List what is published with GET /services.",
        exceptionType: 'NotFoundException',
        reason: "There is no service 'a'.",
        inputs
      }
    });

    await expect(requester.json('GET', ['services', 'a', '1'])).rejects.toEqual(
      new MlsvcError("There is no service 'a'.", 404, 'NotFoundException', inputs)
    );
  });

  it('names the status when the answer is not an error body', async () => {
    server.answer = () => ({ status: 502, text: '<html>proxy</html>' });

    await expect(requester.json('GET', ['services'])).rejects.toThrow('502 Bad Gateway');
  });

  it('does not take a page for an answer', async () => {
    server.answer = () => ({ text: '<html>Log in</html>' });

    await expect(requester.json('GET', ['services'])).rejects.toBeInstanceOf(MlsvcError);
  });

  it('is offline when nobody answers', async () => {
    await server.stop();

    const error: unknown = await requester.json('GET', ['services']).catch((e: unknown) => e);

    expect(error).toBeInstanceOf(NoAnswer);
    expect(troubleOf(error).kind).toBe('offline');
  });
});

describe('troubleOf', () => {
  it.each([
    [new MlsvcError('Who?', 401, 'UnauthorizedException'), 'signedOut'],
    [new MlsvcError('Forbidden', 403), 'signedOut'],
    [new MlsvcError('Not yours.', 403, 'ForbiddenException'), 'forbidden'],
    [new MlsvcError('Not Found', 404), 'absent'],
    [new MlsvcError('No service.', 404, 'NotFoundException'), 'failed'],
    [new MlsvcError('502 Bad Gateway', 502), 'offline'],
    [new MlsvcError('Queue is full.', 503, 'BackEndBusyException'), 'unavailable'],
    ['broken', 'failed']
  ])('tells %s', (error, kind) => {
    expect(troubleOf(error).kind).toBe(kind);
  });
});
