import * as React from 'react';

import { formatAge, parseTime } from './format';
import { ITranslation } from '../translation';

/**
 * How long ago a time of the server was, with the exact time as its title.
 */
export function RelativeTime(props: {
  time: string | null | undefined;
  trans: ITranslation;
}): React.ReactElement | null {
  const time = parseTime(props.time);
  if (!time) {
    return null;
  }
  return (
    <time dateTime={time.toISOString()} title={time.toLocaleString()}>
      {formatAge(time, props.trans)}
    </time>
  );
}
