import { nullTranslator } from '@jupyterlab/translation';
import { describe, expect, it } from 'vitest';

import {
  formatBytes,
  formatDuration,
  harmless,
  harmlessLines
} from '../../../src/calls/components/format';

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

describe('formatBytes', () => {
  // The Python client's test has the same ones.
  it.each([
    [0, '0 B'],
    [999, '999 B'],
    [1000, '1 kB'],
    [1024, '1.02 kB'],
    [99_949, '99.9 kB'],
    [999_500, '1 MB'],
    [123_456_789, '123 MB'],
    [2_500_000_000_000, '2.5 TB']
  ])('writes %d bytes as %s', (count, text) => {
    expect(formatBytes(count)).toBe(text);
  });
});

describe('harmless', () => {
  it.each(['plain', 'naïve', '日本語', 'שלום', 'می\u200cخواهم', '👩\u200d🔬', '<b>&'])(
    'leaves %s alone',
    name => {
      expect(harmless(name)).toBe(name);
    }
  );

  it.each([
    ['\u202etxt.exe', '\\u{202e}txt.exe'],
    ['a\nb\x1b[2J', 'a\\x0ab\\x1b[2J'],
    ['\u2066x\u2069\ufeff', '\\u{2066}x\\u{2069}\\u{feff}'],
    ['\ud83d', '\\u{d83d}']
  ])('escapes what hides or moves text in %j', (name, shown) => {
    expect(harmless(name)).toBe(shown);
  });

  it('leaves line ends and tabs in what is said', () => {
    expect(harmlessLines('\u202ea\n\tb\r')).toBe('\\u{202e}a\n\tb\\x0d');
  });
});
