import { readFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { Requester } from '../src/request';
import { isSameVersion, ServerStatus } from '../src/status';
import { VERSION } from '../src/version';
import { TestServer } from './server';

describe('ServerStatus', () => {
  let server: TestServer;
  let status: ServerStatus;

  beforeEach(async () => {
    server = await TestServer.start();
    status = new ServerStatus(new Requester(server.settings), '1.2.0');
  });

  afterEach(async () => {
    status.dispose();
    await server.stop();
  });

  it('knows who is signed in and where programs call', async () => {
    const user = {
      name: 'maria',
      role: 'owner',
      serverVersion: '1.2.0',
      publicUrl: 'http://127.0.0.1:12800/'
    };
    server.answer = () => ({ body: user });

    await status.check();

    expect(status.user).toEqual(user);
    expect(status.callUrl).toBe('http://127.0.0.1:12800');
    expect(status.otherVersion).toBeNull();
    expect(status.trouble).toBeNull();
  });

  it('has programs call the Jupyter-mounted API when the public one is closed', async () => {
    server.answer = () => ({ body: { name: 'maria', serverVersion: '1.2.0', publicUrl: '' } });

    await status.check();

    expect(status.callUrl).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/hub\/user%20name\/mlsvc$/);
    expect(status.isPublic).toBe(false);
  });

  it('names the other version when the two differ', async () => {
    server.answer = () => ({ body: { name: 'maria', serverVersion: '1.3.0', publicUrl: '' } });

    await status.check();

    expect(status.otherVersion).toBe('1.3.0');
  });

  it('takes a server that does not know the question for an older one', async () => {
    server.answer = () => ({
      status: 404,
      body: { message: 'No such path.', exceptionType: 'NotFoundException' }
    });

    await status.check();

    expect(status.otherVersion).toBe('');
    expect(status.trouble).toBeNull();
  });

  it('tells a server without the extension', async () => {
    server.answer = () => ({ status: 404, text: '<html>404</html>' });

    await status.check();

    expect(status.trouble?.kind).toBe('absent');
  });
});

describe('versions', () => {
  it('are compared as Python and npm write them', () => {
    expect(isSameVersion('1.0.0rc1', '1.0.0-rc.1')).toBe(true);
    expect(isSameVersion('1.0.0', '1.0.0')).toBe(true);
    expect(isSameVersion('1.0.0', '1.0.1')).toBe(false);
    expect(isSameVersion('1.11.0', '11.1.0')).toBe(false);
  });

  it('are the same in the code and in package.json', () => {
    const text = readFileSync(`${import.meta.dirname}/../package.json`, 'utf-8');
    expect((JSON.parse(text) as { version: string }).version).toBe(VERSION);
  });
});
