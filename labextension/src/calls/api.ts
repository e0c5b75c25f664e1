import { IRequests } from './request';

/**
 * What is known of the values of a column, or of the elements of a vector or matrix.
 */
export interface ICellDefinition {
  /**
   * The dtype as pandas spells it, or a word of JSON Schema; absent where it is not known.
   */
  type?: string;

  /**
   * All values that there are; absent where there are others, or where they are not told.
   */
  categories?: unknown[] | null;

  /**
   * Whether a value may be null; absent where that is not known.
   */
  nullable?: boolean | null;
  minimum?: number | null;
  maximum?: number | null;
}

/**
 * A column of a data.frame that is known.
 */
export interface IColumnDefinition extends ICellDefinition {
  name: string;
  description?: string;

  /**
   * The dtype of the categories, and whether their order counts.
   */
  categoryType?: string;
  ordered?: boolean;

  /**
   * Whether callers are not shown the categories.
   */
  hideCategories?: boolean;
}

/**
 * What the elements of a vector or matrix are.
 */
export type IItemsDefinition = ICellDefinition;

/**
 * A call of a service with what it answers.
 */
export interface IServiceExample {
  name?: string;
  inputs: Record<string, unknown>;
  outputs?: Record<string, unknown>;
}

/**
 * Name and type of an input or output.
 */
export interface IParameterDefinition {
  name: string;

  /**
   * One of the contract's seven words, or a free one.
   */
  type: string;

  /**
   * Those of a data.frame, as far as they are known.
   */
  columns?: IColumnDefinition[] | null;

  /**
   * The value where the input is left out; absent where it has to be there.
   */
  default?: unknown;

  /**
   * What its publisher says of it.
   */
  description?: string;

  /**
   * A value to look at; absent where its publisher shows none.
   */
  example?: unknown;

  /**
   * The elements of a vector or matrix.
   */
  items?: IItemsDefinition | null;

  /**
   * Lengths of a vector or matrix, null for any.
   */
  shape?: (number | null)[] | null;
}

/**
 * What the publish check of a version found.
 */
export interface IPublishCheck {
  /**
   * Whether the code was called; the notes say why not.
   */
  called: boolean;
  success: boolean;
  errorMessage: string;
  outputParameters: Record<string, unknown>;
  consoleOutput: string;
  notes: string[];

  /**
   * When it was made; absent in what older servers kept.
   */
  time?: string;
}

/**
 * A published version of a service, as `GET /services` lists it.
 */
export interface IServiceVersion {
  name: string;
  version: string;
  versionPublishedBy?: string | null;
  creationTime?: string | null;
  snapshotId?: string | null;
  runtimeType?: string | null;

  /**
   * Left out for those who may not see it, as `initCode` is.
   */
  code?: string | null;
  initCode?: string | null;
  description?: string | null;
  operationId?: string | null;
  inputParameterDefinitions?: IParameterDefinition[];
  outputParameterDefinitions?: IParameterDefinition[];
  outputFileNames?: string[];

  /**
   * Words to find the service by.
   */
  tags?: string[];

  /**
   * Calls with their answers, as its publisher shows them.
   */
  examples?: IServiceExample[];

  /**
   * Whether no call of this version ever succeeded.
   */
  neverAnswered?: boolean;

  /**
   * What trying this revision showed when it was published; absent where nobody asked for that, and
   * for those who may not see the code.
   */
  publishCheck?: IPublishCheck | null;
  myPermissionOnService?: string | null;

  /**
   * The group whose members may change all versions of the name; absent where there is none.
   */
  group?: string | null;
}

/**
 * What a version's calls were like (`GET /statistics`).
 */
export interface IServiceStatistics {
  name: string;
  version: string;
  state: 'idle' | 'starting' | 'ready' | 'busy' | 'failing';

  /**
   * Why it is failing, where it is.
   */
  message?: string | null;
  workers: number;
  waiting: number;

  /**
   * Calls and failed ones since the server started.
   */
  calls: number;
  errors: number;

  /**
   * Calls that were refused before the code ran, such as for inputs that do not fit.
   */
  rejected?: number;

  /**
   * Workers that were replaced because a call changed what cannot be put back.
   */
  retired?: number;

  /**
   * A sentence for the publisher where most calls cost a worker; else empty.
   */
  note?: string;
  callsPerMinute: number;
  p50Milliseconds: number | null;
  p99Milliseconds: number | null;
  lastCall: string | null;
}

/**
 * Calls during an interval.
 */
export interface IStatisticsInterval {
  time: string;
  calls: number;
  errors: number;
  p50Milliseconds: number | null;
  p99Milliseconds: number | null;
}

/**
 * The time that a history is of; the last ten minutes where it is empty.
 */
export type Period = '' | 'hour' | 'day' | 'week';

/**
 * The statistics of one version with the last minutes (`GET /services/{name}/{version}/statistics`).
 */
export interface IServiceHistory extends IServiceStatistics {
  memoryBytes?: number | null;
  intervalSeconds: number;

  /**
   * Oldest first; the last interval is still running.
   */
  history: IStatisticsInterval[];
}

/**
 * What a request has printed, or how it or a process failed (`GET /services/{name}/{version}/logs`).
 */
export interface IServiceLogEntry {
  /**
   * Greater than those of entries before.
   */
  id: number;
  time: string;
  level: 'info' | 'error';

  /**
   * What went wrong, in a line; else empty.
   */
  problem: string;
  text: string;

  /**
   * What the caller got as `X-Request-Id`.
   */
  requestId?: string;
}

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
   * The Swagger document of a version.
   */
  swagger(name: string, version: string, signal?: AbortSignal): Promise<unknown> {
    return this._requests.json('GET', ['api', name, version, 'swagger.json'], { signal });
  }

  /**
   * Change the description of a version.
   */
  async describe(name: string, version: string, description: string): Promise<void> {
    await this._requests.json('PATCH', ['services', name, version], { body: { description } });
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
}
