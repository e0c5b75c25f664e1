import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { MlsvcError, MlsvcServer } from '../src/service';
import { TestServer } from './server';

describe('MlsvcServer', () => {
  let server: TestServer;

  beforeEach(async () => {
    server = await TestServer.start();
  });

  afterEach(() => server.stop());

  it('lists the services under the base URL', async () => {
    const iris = { name: 'Iris', version: 'V1.0' };
    server.answer = () => ({ body: [iris] });

    await expect(new MlsvcServer(server.settings).listServices()).resolves.toEqual([iris]);
    expect(server.requests).toHaveLength(1);
    expect(server.requests[0]).toMatch(/^GET \/hub\/user%20name\/mlsvc\/services(\?|$)/);
  });

  it('deletes a version whose name needs escaping', async () => {
    server.answer = () => ({ body: 'Deleted.' });

    await new MlsvcServer(server.settings).deleteService('My Iris', 'V1.0');

    expect(server.requests[0]).toMatch(
      /^DELETE \/hub\/user%20name\/mlsvc\/services\/My%20Iris\/V1\.0(\?|$)/
    );
  });

  it("rejects with the server's own message", async () => {
    server.answer = () => ({ status: 403, body: { message: 'Only maria may delete Iris.' } });

    const deletion = new MlsvcServer(server.settings).deleteService('Iris', 'V1.0');

    await expect(deletion).rejects.toEqual(new MlsvcError('Only maria may delete Iris.', 403));
  });

  it('names the status when the answer is not an error body', async () => {
    server.answer = () => ({ status: 502, text: '<html>proxy</html>' });

    await expect(new MlsvcServer(server.settings).listServices()).rejects.toThrow(
      '502 Bad Gateway'
    );
  });
});
