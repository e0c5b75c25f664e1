import { harmlessLines } from './components/format';
import { MlsvcError, NoAnswer } from './request';

/**
 * What kept a request from succeeding, as far as the panel tells cases apart.
 *
 * - `offline`: no answer came, or a proxy's in place of the server's
 * - `unavailable`: the server cannot do it now, such as while it starts or stops
 * - `signedOut`: the server does not know who is asking
 * - `forbidden`: it does, and refuses
 * - `absent`: a server answers, but jupyter-mlsvc does not run in it
 * - `failed`: anything else
 */
export type TroubleKind =
  'offline' | 'unavailable' | 'signedOut' | 'forbidden' | 'absent' | 'failed';

/**
 * A failure with the message for its reader: the server's own, where there is one.
 */
export interface ITrouble {
  kind: TroubleKind;
  message: string;
}

/**
 * Describe what a promise was rejected with.
 */
export function troubleOf(error: unknown): ITrouble {
  return { kind: kindOf(error), message: messageOf(error) };
}

/**
 * The message of what a promise was rejected with: the server's own, where there is one.
 *
 * Names of somebody's may be in it.
 */
export function messageOf(error: unknown): string {
  return harmlessLines(error instanceof Error ? error.message : String(error));
}

/**
 * Whether a request ended because its caller asked for it.
 */
export function isAbort(error: unknown): boolean {
  // A DOMException, which is no Error everywhere.
  return typeof error === 'object' && (error as Error | null)?.name === 'AbortError';
}

function kindOf(error: unknown): TroubleKind {
  if (error instanceof NoAnswer) {
    return 'offline';
  }
  if (!(error instanceof MlsvcError)) {
    return 'failed';
  }
  const { status, exceptionType } = error;
  if (status === 401 || (status === 403 && !exceptionType)) {
    // Jupyter itself answers 403 to those it doesn't know.
    return 'signedOut';
  }
  if (status === 403) {
    return 'forbidden';
  }
  if (status === 404 && !exceptionType) {
    return 'absent';
  }
  if (status === 503 && exceptionType) {
    return 'unavailable';
  }
  return [502, 503, 504].includes(status) && !exceptionType ? 'offline' : 'failed';
}
