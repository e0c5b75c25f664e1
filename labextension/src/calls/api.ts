import { components } from './openapi';
import { IRequests, LINES } from './request';
import { OnPart, resultOf, streams } from './stream';

/**
 * What the server sends, as its OpenAPI document says.
 */
export type Sent = components['schemas'];

/**
 * What is known of the values of a column, or of the elements of a vector or matrix.
 */
export type ICellDefinition = Sent['ItemsDefinition'];

/**
 * A column of a data.frame that is known.
 */
export type IColumnDefinition = Sent['ColumnDefinition'];

/**
 * What the elements of a vector or matrix are.
 */
export type IItemsDefinition = Sent['ItemsDefinition'];

/**
 * A call of a service with what it answers.
 */
export type IServiceExample = Sent['ServiceExample'];

/**
 * Name and type of an input or output. The type is one of the contract's seven words, or a free one.
 */
export type IParameterDefinition = Omit<Sent['ParameterDefinition'], 'type'> & { type: string };

/**
 * What the publish check of a version found.
 */
export type IPublishCheck = Filled<Sent['PublishCheck'], 'time'>;

/**
 * A published version of a service, as `GET /services` lists it. Its code is left out for those who
 * may not see it, and some of the rest by older servers.
 */
export type IServiceVersion = Pick<Sent['WebService'], 'name' | 'version'> &
  Partial<Omit<Sent['WebService'], 'name' | 'version' | Parameters | 'publishCheck'>> &
  Partial<Record<Parameters, IParameterDefinition[]>> & { publishCheck?: IPublishCheck | null };

type Parameters = 'inputParameterDefinitions' | 'outputParameterDefinitions';

/**
 * What the server always fills in, though its document lets it be left out, but for some members.
 */
type Filled<T, Missing extends keyof T = never> = Required<Omit<T, Missing>> & Pick<T, Missing>;

/**
 * What a version's calls were like (`GET /statistics`), since the server started. Older servers
 * leave out what has a default.
 */
export type IServiceStatistics = Sent['ServiceStatistics'];

/**
 * Calls during an interval.
 */
export type IStatisticsInterval = Sent['StatisticsInterval'];

/**
 * The time that a history is of; the last ten minutes where it is empty.
 */
export type Period = '' | 'hour' | 'day' | 'week';

/**
 * The statistics of one version with the last minutes (`GET /services/{name}/{version}/statistics`),
 * oldest first; the last interval is still running.
 */
export type IServiceHistory = Sent['ServiceStatisticsWithHistory'];

/**
 * What a request has printed, or how it or a process failed (`GET /services/{name}/{version}/logs`).
 */
export type IServiceLogEntry = Sent['ServiceLogEntry'];

/**
 * One of the newest calls of a version (`GET /services/{name}/{version}/calls`).
 */
export type IServiceCall = Sent['ServiceCall'];

/**
 * The same with what it printed, and the bodies where the version keeps them.
 */
export type IServiceCallDetails = Sent['ServiceCallDetails'];

/**
 * Answer of a call (contract: `WebServiceResult`).
 */
export interface IServiceResult {
  success: boolean;
  errorMessage: string;
  outputParameters: Record<string, unknown>;

  /**
   * Contents in base64; null for a file that was not written.
   */
  outputFiles: Record<string, string | null>;
  consoleOutput: string;
  changedFiles: string[];
}

/**
 * What the panel may change of a version.
 */
export interface IServiceChange {
  description?: string;
  keepBodies?: boolean;
}

/**
 * `runtimeType` of a model without code.
 */
const REALTIME = 'Realtime';

/**
 * The routes of services, one method a route.
 */
export class ServicesApi {
  constructor(private readonly _requests: IRequests) {}

  /**
   * List every version of every service, oldest first.
   */
  list(signal?: AbortSignal): Promise<IServiceVersion[]> {
    return this._requests.json('GET', ['services'], { signal, isKept: true });
  }

  /**
   * Read one version.
   */
  async version(name: string, version: string, signal?: AbortSignal): Promise<IServiceVersion> {
    const path = ['services', name, version];
    const [found] = await this._requests.json<[IServiceVersion]>('GET', path, { signal });
    return found;
  }

  /**
   * List the versions of one service, oldest first; none where there is no such service.
   */
  versions(name: string, signal?: AbortSignal): Promise<IServiceVersion[]> {
    return this._requests.json('GET', ['services', name], { signal });
  }

  /**
   * What a version holds that one may change.
   */
  contents(name: string, version: string, signal?: AbortSignal): Promise<Sent['ServiceContents']> {
    return this._requests.json('GET', ['services', name, version, 'contents'], { signal });
  }

  /**
   * List what was called or is loaded.
   */
  statistics(signal?: AbortSignal): Promise<IServiceStatistics[]> {
    return this._requests.json('GET', ['statistics'], { signal, isKept: true });
  }

  /**
   * The statistics of one version with what it did in a time.
   */
  history(
    name: string,
    version: string,
    period: Period,
    signal?: AbortSignal
  ): Promise<IServiceHistory> {
    return this._requests.json('GET', ['services', name, version, 'statistics'], {
      query: { period: period || undefined },
      signal
    });
  }

  /**
   * The newest entries of a version's log, oldest first.
   */
  logs(
    name: string,
    version: string,
    limit: number,
    signal?: AbortSignal
  ): Promise<IServiceLogEntry[]> {
    const path = ['services', name, version, 'logs'];
    return this._requests.json('GET', path, { query: { limit }, signal });
  }

  /**
   * The newest calls of a version, newest first.
   */
  calls(
    name: string,
    version: string,
    { limit, errors }: { limit: number; errors: boolean },
    signal?: AbortSignal
  ): Promise<IServiceCall[]> {
    const query = { limit, errors: errors ? 'true' : undefined };
    return this._requests.json('GET', ['services', name, version, 'calls'], { query, signal });
  }

  /**
   * One of these calls, with what it printed.
   */
  call(
    name: string,
    version: string,
    id: number,
    signal?: AbortSignal
  ): Promise<IServiceCallDetails> {
    const path = ['services', name, version, 'calls', String(id)];
    return this._requests.json('GET', path, { signal });
  }

  /**
   * The Swagger document of a version.
   */
  swagger(name: string, version: string, signal?: AbortSignal): Promise<unknown> {
    return this._requests.json('GET', ['api', name, version, 'swagger.json'], { signal });
  }

  /**
   * Change parts of a version, and leave the others.
   */
  async change(service: IServiceVersion, parts: IServiceChange): Promise<void> {
    const { name, version, runtimeType } = service;
    if (runtimeType !== REALTIME) {
      await this._requests.json('PATCH', ['services', name, version], { body: parts });
      return;
    }
    // A model has no code, and its parts come as those of a form.
    const form = new FormData();
    for (const [part, value] of Object.entries(parts)) {
      form.append(part, String(value));
    }
    await this._requests.json('PATCH', ['realtime-services', name, version], { body: form });
  }

  /**
   * Delete one version of a service.
   */
  async delete(name: string, version: string): Promise<void> {
    await this._requests.json('DELETE', ['services', name, version]);
  }

  /**
   * Call a version; code that fails is an answer with `success: false`.
   */
  consume(
    name: string,
    version: string,
    inputs: Readonly<Record<string, unknown>>,
    signal?: AbortSignal
  ): Promise<IServiceResult> {
    return this._requests.json('POST', ['api', name, version], { body: inputs, signal });
  }

  /**
   * The same, with what has come of the answer so far where the version sends it item by item.
   */
  answer(
    service: IServiceVersion,
    inputs: Readonly<Record<string, unknown>>,
    signal: AbortSignal,
    onPart: OnPart
  ): Promise<IServiceResult> {
    const { name, version, outputParameterDefinitions } = service;
    if (!this._requests.lines || !streams(service)) {
      return this.consume(name, version, inputs, signal);
    }
    const options = { body: inputs, signal, accept: LINES };
    const lines = this._requests.lines('POST', ['api', name, version], options);
    return resultOf(lines, outputParameterDefinitions ?? [], onPart);
  }
}
