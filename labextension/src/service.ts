import { URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';

/**
 * A published version of a service, as `GET /services` lists it.
 */
export interface IServiceVersion {
  name: string;
  version: string;
  versionPublishedBy?: string | null;
  creationTime?: string | null;
  runtimeType?: string | null;
  description?: string | null;
  myPermissionOnService?: string | null;
}

/**
 * The server answered that it could not do what was asked; the message is the server's own.
 */
export class MlsvcError extends Error {
  constructor(
    message: string,
    readonly status: number
  ) {
    super(message);
    this.name = 'MlsvcError';
  }
}

/**
 * Talks to the Jupyter door of the server, one method a route.
 */
export class MlsvcServer {
  constructor(private readonly _settings = ServerConnection.makeSettings()) {}

  /**
   * List every version of every service, oldest first.
   */
  async listServices(): Promise<IServiceVersion[]> {
    return (await this._request('GET', 'services')) as IServiceVersion[];
  }

  /**
   * Delete one version of a service.
   */
  async deleteService(name: string, version: string): Promise<void> {
    await this._request('DELETE', 'services', name, version);
  }

  private async _request(method: string, ...path: string[]): Promise<unknown> {
    const url = URLExt.join(this._settings.baseUrl, 'mlsvc', ...path.map(encodeURIComponent));
    const response = await ServerConnection.makeRequest(url, { method }, this._settings);
    const text = await response.text();
    if (!response.ok) {
      throw new MlsvcError(errorMessage(response, text), response.status);
    }
    return text ? JSON.parse(text) : null;
  }
}

function errorMessage(response: Response, text: string): string {
  try {
    const { message } = JSON.parse(text) as { message?: unknown };
    if (typeof message === 'string' && message) {
      return message;
    }
  } catch {
    // Not the server's error body: a proxy's page, or no extension behind the address.
  }
  return `${response.status} ${response.statusText}`;
}
