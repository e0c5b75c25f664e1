import { ISignal } from '@lumino/signaling';
import * as React from 'react';

/**
 * Redraw the component whenever a signal is emitted.
 */
export function useSignal(signal: ISignal<unknown, unknown>): void {
  const [, redraw] = React.useReducer((count: number) => count + 1, 0);
  React.useLayoutEffect(() => {
    signal.connect(redraw);
    return () => {
      signal.disconnect(redraw);
    };
  }, [signal]);
}
