import { ServerConnection } from '@jupyterlab/services';
import { createServer, IncomingMessage } from 'node:http';
import { AddressInfo } from 'node:net';

/**
 * What the server of a test answers.
 */
export interface IAnswer {
  status?: number;
  body?: unknown;
  text?: string;
}

/**
 * An HTTP server on a loopback port that keeps what it was asked.
 */
export class TestServer {
  readonly requests: string[] = [];
  answer: (request: IncomingMessage) => IAnswer = () => ({ body: [] });

  static async start(): Promise<TestServer> {
    const server = new TestServer();
    await new Promise<void>(resolve => server._server.listen(0, '127.0.0.1', resolve));
    return server;
  }

  get settings(): ServerConnection.ISettings {
    const { port } = this._server.address() as AddressInfo;
    return ServerConnection.makeSettings({ baseUrl: `http://127.0.0.1:${port}/hub/user%20name/` });
  }

  async stop(): Promise<void> {
    this._server.closeAllConnections();
    await new Promise(resolve => this._server.close(resolve));
  }

  private readonly _server = createServer((request, response) => {
    this.requests.push(`${request.method ?? ''} ${request.url ?? ''}`);
    const { status = 200, body, text = JSON.stringify(body) } = this.answer(request);
    response.writeHead(status, { 'Content-Type': 'application/json' });
    response.end(text);
  });
}
