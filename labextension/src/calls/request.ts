/**
 * Requests as callers of the API make them, whoever carries them.
 */

/**
 * What a request may carry.
 */
export interface IRequestOptions {
  /**
   * Members that are undefined are left out.
   */
  query?: Readonly<Record<string, string | number | undefined>>;

  /**
   * Sent as JSON, or as the form that it is.
   */
  body?: unknown;

  /**
   * Media type that is asked for; JSON where it is left out.
   */
  accept?: string;

  /**
   * Ends the request; it then rejects with an `AbortError`.
   */
  signal?: AbortSignal;

  /**
   * Whether the answer is kept, and not sent again while it stays the same; it then is the very
   * object that came before.
   */
  isKept?: boolean;
}

/**
 * Carries requests to an API. Paths are given in parts, which are escaped by it.
 */
export interface IRequests {
  /**
   * Ask for JSON; an empty answer is null. Rejections are `MlsvcError` for answers that are no
   * success, `NoAnswer`, and `AbortError`.
   */
  json<T>(method: string, path: readonly string[], options?: IRequestOptions): Promise<T>;

  /**
   * Ask for lines of JSON, and give each as it comes; ending the loop ends the request. Not there
   * where requests go a way on which nothing comes in pieces.
   */
  lines?<T>(
    method: string,
    path: readonly string[],
    options?: IRequestOptions
  ): AsyncGenerator<T, void, undefined>;
}

/**
 * Media type of lines of JSON.
 */
export const LINES = 'application/x-ndjson';

/**
 * Read lines of JSON from an answer, each as it comes.
 */
export async function* linesOf<T>(
  response: Response,
  unlessAborted: <V>(promise: Promise<V>) => Promise<V> = promise => promise
): AsyncGenerator<T, void, undefined> {
  if (!response.body) {
    return;
  }
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  let text = '';
  try {
    for (;;) {
      const chunk = await unlessAborted(reader.read());
      text += decoder.decode(chunk.value, { stream: !chunk.done });
      const lines = text.split('\n');
      text = lines.pop() ?? '';
      for (const line of lines) {
        if (line.trim()) {
          yield JSON.parse(line) as T;
        }
      }
      if (chunk.done) {
        break;
      }
    }
    if (text.trim()) {
      yield JSON.parse(text) as T;
    }
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}

/**
 * Answers that the server names by an ETag, so that it need not send them again.
 */
export class KeptAnswers {
  /**
   * Headers of a request for what may be kept.
   */
  headersFor(url: string): Record<string, string> {
    const kept = this._kept.get(url);
    return kept ? { 'If-None-Match': kept.tag } : {};
  }

  /**
   * The answer that a server which sent none again has meant; undefined where there is another.
   */
  find(url: string, response: Response): { value: unknown } | undefined {
    return response.status === NOT_MODIFIED ? this._kept.get(url) : undefined;
  }

  keep(url: string, response: Response, value: unknown): void {
    const tag = response.headers.get('ETag');
    if (tag) {
      this._kept.set(url, { tag, value });
    } else {
      this._kept.delete(url);
    }
  }

  clear(): void {
    this._kept.clear();
  }

  private readonly _kept = new Map<string, { tag: string; value: unknown }>();
}

const NOT_MODIFIED = 304;

/**
 * The server answered that it could not do what was asked; the message is the server's own, without
 * its advice to callers of the REST API where that can be told apart.
 */
export class MlsvcError extends Error {
  /**
   * @param exceptionType - The server's name for it; empty when the answer was not our server's.
   * @param inputs - What is wrong with inputs of a service, by their names.
   */
  constructor(
    message: string,
    readonly status: number,
    readonly exceptionType = '',
    readonly inputs: Readonly<Record<string, string>> = {}
  ) {
    super(message);
    this.name = 'MlsvcError';
  }
}

/**
 * Nobody answered at all.
 */
export class NoAnswer extends Error {}

/**
 * The Error body of the contract.
 */
interface IProblem {
  message: string;
  exceptionType: string;

  /**
   * The message without advice to callers of the REST API.
   */
  reason: string;
  inputs: Record<string, string>;
}

/**
 * Read why an answer is no success.
 */
export function errorOf(response: Response, text: string): MlsvcError {
  try {
    // Servers before these members send a message and a type only.
    const { message, reason, exceptionType, inputs } = JSON.parse(text) as Partial<IProblem>;
    if (typeof message === 'string' && message) {
      return new MlsvcError(reason ?? message, response.status, exceptionType ?? '', inputs ?? {});
    }
  } catch {
    // Not the server's error body: a proxy's page, or no extension behind the address.
  }
  return new MlsvcError(`${response.status} ${response.statusText}`, response.status);
}
