import { ServerConnection } from '@jupyterlab/services';
import { createServer, IncomingMessage, ServerResponse } from 'node:http';
import { AddressInfo } from 'node:net';

/**
 * What the server of a test answers.
 */
export interface IAnswer {
  status?: number;
  body?: unknown;
  text?: string;
  headers?: Record<string, string>;
}

/**
 * An HTTP server on a loopback port that keeps what it was asked.
 */
export class TestServer {
  /**
   * Methods and addresses, without the time that Lab adds.
   */
  readonly requests: string[] = [];
  readonly bodies: string[] = [];

  /**
   * Answers a request, at once or later, or writes the response itself and gives nothing.
   */
  answer: (
    request: IncomingMessage,
    response: ServerResponse
  ) => IAnswer | Promise<IAnswer> | undefined = () => ({ body: [] });

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
    void this._respond(request, response);
  });

  private async _respond(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = (request.url ?? '').replace(/[?&]\d+$/, '');
    this.requests.push(`${request.method ?? ''} ${url}`);
    const chunks: Buffer[] = [];
    for await (const chunk of request) {
      chunks.push(chunk as Buffer);
    }
    this.bodies.push(Buffer.concat(chunks).toString());
    const answer = await this.answer(request, response);
    if (answer) {
      const { status = 200, body, text = JSON.stringify(body), headers = {} } = answer;
      response.writeHead(status, { 'Content-Type': 'application/json', ...headers });
      response.end(text);
    }
  }
}
