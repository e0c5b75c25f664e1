import { nullTranslator } from '@jupyterlab/translation';
import { describe, expect, it } from 'vitest';

import { formatDuration } from '../../src/components/format';

describe('formatDuration', () => {
  it.each([
    [0.2, 'less than 1 s'],
    [59.4, '59 s'],
    [90, '2 min'],
    [3600, '1 h'],
    [7800, '2 h 10 min'],
    [200_000, '2 days']
  ])('writes %d seconds as %s', (seconds, text) => {
    expect(formatDuration(seconds, nullTranslator.load(''))).toBe(text);
  });
});
