import { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { formatMilliseconds, formatNumber } from '../components';
import { IServiceStatistics } from './api';

/**
 * Name the state of a version's workers.
 */
export function stateName(
  statistics: IServiceStatistics | undefined,
  trans: TranslationBundle
): string {
  switch (statistics?.state) {
    case 'starting':
      return trans.__('Starting');
    case 'ready':
      return trans.__('Ready');
    case 'busy':
      return trans.__('Busy');
    case 'failed':
      return trans.__('Cannot be started');
    default:
      return trans.__('Idle');
  }
}

/**
 * The state of a version's workers as a dot, with its name for those who do not see it.
 */
export function StateDot(props: {
  statistics: IServiceStatistics | undefined;
  trans: TranslationBundle;
}): React.ReactElement {
  const { statistics, trans } = props;
  const name = stateName(statistics, trans);
  return (
    <span
      className={`jp-Mlsvc-dot jp-mod-${statistics?.state ?? 'idle'}`}
      title={[name, statistics?.message].filter(Boolean).join(': ')}
    >
      <span className="jp-Mlsvc-hidden">{name}</span>
    </span>
  );
}

/**
 * The figures of a version that fit into a line: calls a minute, errors, median.
 */
export function Figures(props: {
  statistics: IServiceStatistics | undefined;
  trans: TranslationBundle;
}): React.ReactElement | null {
  const { statistics, trans } = props;
  if (!statistics || statistics.calls === 0) {
    return null;
  }
  const { callsPerMinute, errors, p50Milliseconds, p99Milliseconds } = statistics;
  return (
    <span className="jp-Mlsvc-figures">
      {errors > 0 && (
        <span className="jp-Mlsvc-errors">{trans._n('%1 error', '%1 errors', errors)}</span>
      )}
      {p50Milliseconds !== null && (
        <span
          title={trans.__(
            'Half of the last calls took at most %1, 99 of 100 at most %2',
            formatMilliseconds(p50Milliseconds),
            p99Milliseconds === null ? '–' : formatMilliseconds(p99Milliseconds)
          )}
        >
          {formatMilliseconds(p50Milliseconds)}
        </span>
      )}
      <span title={trans.__('%1 calls a minute', formatNumber(callsPerMinute))}>
        {trans.__('%1/min', formatNumber(callsPerMinute))}
      </span>
    </span>
  );
}
