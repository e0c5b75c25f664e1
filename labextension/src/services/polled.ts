import { Poll } from '@lumino/polling';
import * as React from 'react';

import { isAbort, messageOf } from '../calls/error';

/**
 * What is asked for again and again, as last seen.
 */
export interface IPolled<T> {
  /**
   * Null until the first answer.
   */
  value: T | null;

  /**
   * Why the last attempt failed; empty where it did not. The value is then an older one.
   */
  trouble: string;

  /**
   * Ask now.
   */
  refresh: () => void;
}

/**
 * Ask for something while the component is looked at: at once, and then every so many seconds.
 *
 * @param key - What is asked for; where it changes, what is known is forgotten.
 * @param seconds - Between two questions.
 * @param element - Part of the component; while it is hidden, nobody is asked.
 */
export function usePolled<T>(
  load: (signal: AbortSignal) => Promise<T>,
  key: string,
  seconds: number,
  element: React.RefObject<HTMLElement>
): IPolled<T> {
  const [state, setState] = React.useState<{ key: string; value: T | null; trouble: string }>();
  const latest = React.useRef(load);
  latest.current = load;
  const poll = React.useRef<Poll | null>(null);
  React.useEffect(() => {
    const aborter = new AbortController();
    const made = new Poll({
      name: `jupyter-mlsvc:${key}`,
      auto: false,
      frequency: { interval: seconds * 1000, backoff: true, max: 60_000 },
      standby: () => document.hidden || Boolean(element.current?.closest('.lm-mod-hidden')),
      factory: async () => {
        try {
          const value = await latest.current(aborter.signal);
          if (!aborter.signal.aborted) {
            setState({ key, value, trouble: '' });
          }
        } catch (error) {
          if (!isAbort(error) && !aborter.signal.aborted) {
            const trouble = messageOf(error);
            setState(known => ({
              key,
              value: known?.key === key ? known.value : null,
              trouble
            }));
          }
          // The poll backs off when it sees a failure.
          throw error;
        }
      }
    });
    poll.current = made;
    void made.refresh();
    return () => {
      aborter.abort();
      made.dispose();
      poll.current = null;
    };
  }, [key, seconds]);
  const isCurrent = state?.key === key;
  return {
    value: isCurrent ? state.value : null,
    trouble: isCurrent ? state.trouble : '',
    refresh: () => {
      void poll.current?.refresh();
    }
  };
}
