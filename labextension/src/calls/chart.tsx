import * as React from 'react';

import { formatMilliseconds, parseTime } from './components';
import { IServiceHistory, IStatisticsInterval, Period } from './api';
import { ITranslation } from './translation';

const WIDTH = 240;
const HEIGHT = 40;

/**
 * What a version did in a time: calls as bars with the failed ones, p50 and p99 as lines.
 *
 * The figures are beside it as text; who does not see it is told what it shows in a sentence.
 */
export function Chart(props: {
  history: IServiceHistory;
  period: Period;
  onPeriod: (period: Period) => void;
  trans: ITranslation;
}): React.ReactElement {
  const { history, period, onPeriod, trans } = props;
  const intervals = history.history;
  const mostCalls = Math.max(1, ...intervals.map(({ calls }) => calls));
  const longest = Math.max(
    0,
    ...intervals.map(row => row.p99Milliseconds ?? row.p50Milliseconds ?? 0)
  );
  const calls = intervals.reduce((sum, row) => sum + row.calls, 0);
  const spans: Record<Period, string> = {
    '': trans.__('ten minutes'),
    hour: trans.__('hour'),
    day: trans.__('day'),
    week: trans.__('week')
  };
  return (
    <div className="jp-Mlsvc-charts">
      <select
        className="jp-Mlsvc-select"
        aria-label={trans.__('Time that is shown')}
        value={period}
        onChange={event => {
          onPeriod(event.target.value as Period);
        }}
      >
        <option value="">{trans.__('Last 10 minutes')}</option>
        <option value="hour">{trans.__('Last hour')}</option>
        <option value="day">{trans.__('Last day')}</option>
        <option value="week">{trans.__('Last week')}</option>
      </select>
      <figure>
        <figcaption>
          <span>{trans.__('Calls in %1', spanOf(history.intervalSeconds, trans))}</span>
          <span>{trans.__('at most %1', mostCalls === 1 && calls === 0 ? 0 : mostCalls)}</span>
        </figcaption>
        <svg
          viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
          preserveAspectRatio="none"
          role="img"
          aria-label={trans._n(
            '%1 call in the last %2',
            '%1 calls in the last %2',
            calls,
            spans[period]
          )}
        >
          {intervals.map((row, i) => (
            <Bars
              key={row.time}
              row={row}
              x={(i * WIDTH) / intervals.length}
              width={WIDTH / intervals.length - 1}
              scale={HEIGHT / mostCalls}
              title={titleOf(row, history.intervalSeconds, trans)}
            />
          ))}
        </svg>
      </figure>
      <figure>
        <figcaption>
          <span>
            <span className="jp-Mlsvc-key jp-mod-p50">{trans.__('p50')}</span>{' '}
            <span className="jp-Mlsvc-key jp-mod-p99">{trans.__('p99')}</span>
          </span>
          <span>{longest > 0 && trans.__('at most %1', formatMilliseconds(longest))}</span>
        </figcaption>
        <svg
          viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
          preserveAspectRatio="none"
          role="img"
          aria-label={
            longest > 0
              ? trans.__('Duration of calls, at most %1', formatMilliseconds(longest))
              : trans.__('Duration of calls: there were none')
          }
        >
          {(['p99Milliseconds', 'p50Milliseconds'] as const).map(member => (
            <Line
              key={member}
              className={member === 'p50Milliseconds' ? 'jp-mod-p50' : 'jp-mod-p99'}
              values={intervals.map(row => row[member])}
              longest={longest}
            />
          ))}
        </svg>
      </figure>
    </div>
  );
}

function Bars(props: {
  row: IStatisticsInterval;
  x: number;
  width: number;
  scale: number;
  title: string;
}): React.ReactElement {
  const { row, x, width, scale, title } = props;
  const height = row.calls * scale;
  const failed = Math.min(height, row.errors * scale);
  return (
    <g>
      <rect x={x} y={0} width={width} height={HEIGHT} className="jp-Mlsvc-bar jp-mod-area">
        <title>{title}</title>
      </rect>
      <rect x={x} y={HEIGHT - height} width={width} height={height} className="jp-Mlsvc-bar" />
      <rect
        x={x}
        y={HEIGHT - failed}
        width={width}
        height={failed}
        className="jp-Mlsvc-bar jp-mod-failed"
      />
    </g>
  );
}

/**
 * A line with a gap wherever there were no calls; a lone value is a short dash.
 */
function Line(props: {
  className: string;
  values: readonly (number | null)[];
  longest: number;
}): React.ReactElement {
  const { className, values, longest } = props;
  const step = WIDTH / Math.max(1, values.length);
  const y = (value: number): number => HEIGHT - 2 - (value / longest) * (HEIGHT - 4);
  const path = values
    .map((value, i) => {
      if (value === null) {
        return '';
      }
      const goesOn = i > 0 && values[i - 1] !== null;
      const x = i * step;
      return `${goesOn ? 'L' : 'M'}${x.toFixed(1)} ${y(value).toFixed(1)}h${(step - 1).toFixed(1)}`;
    })
    .join('');
  return <path className={`jp-Mlsvc-curve ${className}`} d={path} />;
}

/**
 * How long a time is, in the largest unit of which it has whole ones.
 */
function spanOf(seconds: number, trans: ITranslation): string {
  if (seconds < 60) {
    return trans.__('%1 s', seconds);
  }
  return seconds < 3600
    ? trans._n('%1 minute', '%1 minutes', seconds / 60)
    : trans._n('%1 hour', '%1 hours', seconds / 3600);
}

function titleOf(row: IStatisticsInterval, seconds: number, trans: ITranslation): string {
  const moment = parseTime(row.time);
  const time =
    (seconds < 60
      ? moment?.toLocaleTimeString()
      : moment?.toLocaleString([], {
          weekday: seconds < 900 ? undefined : 'short',
          hour: 'numeric',
          minute: '2-digit'
        })) ?? row.time;
  const calls = trans._n('%1 call', '%1 calls', row.calls);
  const parts = [time, calls];
  if (row.errors > 0) {
    parts.push(trans._n('%1 error', '%1 errors', row.errors));
  }
  if (row.p50Milliseconds !== null) {
    parts.push(`p50 ${formatMilliseconds(row.p50Milliseconds)}`);
  }
  if (row.p99Milliseconds !== null) {
    parts.push(`p99 ${formatMilliseconds(row.p99Milliseconds)}`);
  }
  return parts.join(', ');
}
