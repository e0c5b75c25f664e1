import * as React from 'react';

import { isAbort, ITrouble, troubleOf } from './error';

/**
 * Something that is asked of the server: what came last, and why nothing newer did.
 */
export interface ILoaded<T> {
  value: T | null;
  trouble: ITrouble | null;
  reload: () => void;
}

/**
 * Load something when the component comes, and again when what it depends on changes.
 */
export function useLoaded<T>(
  load: (signal: AbortSignal) => Promise<T>,
  dependencies: readonly unknown[]
): ILoaded<T> {
  const [state, setState] = React.useState<{ value: T | null; trouble: ITrouble | null }>({
    value: null,
    trouble: null
  });
  const [count, reload] = React.useReducer((n: number) => n + 1, 0);
  React.useEffect(() => {
    const aborter = new AbortController();
    load(aborter.signal).then(
      value => {
        if (!aborter.signal.aborted) {
          setState({ value, trouble: null });
        }
      },
      (error: unknown) => {
        if (!aborter.signal.aborted && !isAbort(error)) {
          setState({ value: null, trouble: troubleOf(error) });
        }
      }
    );
    return () => {
      aborter.abort();
    };
  }, [...dependencies, count]);
  return { ...state, reload };
}
