import * as React from 'react';

import { formatAge, formatMilliseconds, formatNumber, parseTime } from './components';
import { IServiceStatistics, IServiceVersion } from './api';
import { ITranslation } from './translation';

/**
 * Whether nothing shows yet that a version works: no call of it ever succeeded.
 */
function isUnproven(service: IServiceVersion, statistics: IServiceStatistics | undefined): boolean {
  const { calls = 0, errors = 0, rejected } = statistics ?? {};
  // The figures may be newer than the list.
  const hasAnswered = rejected !== undefined && calls - errors - rejected > 0;
  return service.neverAnswered === true && !hasAnswered && statistics?.state !== 'failing';
}

/**
 * What tells versions apart at a glance: the state of workers, or that nothing shows yet that a
 * version works.
 */
export type Look = IServiceStatistics['state'] | 'unproven';

export function lookOf(service: IServiceVersion, statistics: IServiceStatistics | undefined): Look {
  return isUnproven(service, statistics) ? 'unproven' : (statistics?.state ?? 'idle');
}

/**
 * Name the state of a version: of its workers, or that it has not shown yet that it works.
 */
export function stateName(
  service: IServiceVersion,
  statistics: IServiceStatistics | undefined,
  trans: ITranslation
): string {
  if (isUnproven(service, statistics)) {
    return (statistics?.calls ?? 0) > 0 ? trans.__('Never answered') : trans.__('Never called');
  }
  switch (statistics?.state) {
    case 'starting':
      return trans.__('Starting');
    case 'ready':
      return trans.__('Ready');
    case 'busy':
      return trans.__('Busy');
    case 'failing':
      return trans.__('Failing');
    default:
      return trans.__('Idle');
  }
}

/**
 * The state of a version as a dot, with its name for those who do not see it.
 */
export function StateDot(props: {
  service: IServiceVersion;
  statistics: IServiceStatistics | undefined;
  trans: ITranslation;
}): React.ReactElement {
  const { service, statistics, trans } = props;
  const name = stateName(service, statistics, trans);
  return (
    <span
      className={`jp-Mlsvc-dot jp-mod-${lookOf(service, statistics)}`}
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
  service: IServiceVersion;
  statistics: IServiceStatistics | undefined;
  trans: ITranslation;
}): React.ReactElement | null {
  const { service, statistics, trans } = props;
  const look = lookOf(service, statistics);
  const doubt = (look === 'unproven' || look === 'failing') && (
    <span className={look === 'failing' ? 'jp-Mlsvc-errors' : 'jp-Mlsvc-unproven'}>
      {stateName(service, statistics, trans).toLocaleLowerCase()}
    </span>
  );
  if (!statistics || (statistics.calls === 0 && !statistics.rejected)) {
    return doubt ? <span className="jp-Mlsvc-figures">{doubt}</span> : null;
  }
  const { callsPerMinute, errors, rejected = 0, retired = 0, note = '' } = statistics;
  const { p50Milliseconds, p99Milliseconds } = statistics;
  return (
    <span className="jp-Mlsvc-figures">
      {doubt}
      {errors > 0 && (
        <span className="jp-Mlsvc-errors">{trans._n('%1 error', '%1 errors', errors)}</span>
      )}
      {rejected > 0 && (
        <span title={trans.__('Calls that were refused before the code ran')}>
          {trans.__('%1 rejected', rejected)}
        </span>
      )}
      {note && (
        <span className="jp-Mlsvc-errors" title={note}>
          {trans._n('%1 worker replaced', '%1 workers replaced', retired)}
        </span>
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

/**
 * Say what calls a version has had lately.
 */
export function describeCalls(
  statistics: IServiceStatistics | undefined,
  trans: ITranslation,
  now = new Date()
): string {
  if (!statistics || statistics.calls === 0) {
    return trans.__('No calls since the server started.');
  }
  const { calls, errors, callsPerMinute, lastCall } = statistics;
  const parts = [
    trans._n('%1 call since the server started', '%1 calls since the server started', calls)
  ];
  if (errors > 0) {
    parts.push(trans._n('%1 of them failed', '%1 of them failed', errors));
  }
  if (callsPerMinute > 0) {
    parts.push(trans.__('%1 in the last minute', formatNumber(callsPerMinute)));
  }
  const last = parseTime(lastCall);
  if (last) {
    parts.push(trans.__('the last one %1', formatAge(last, trans, now)));
  }
  return `${parts.join(', ')}.`;
}
