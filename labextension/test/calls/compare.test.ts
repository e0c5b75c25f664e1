import { describe, expect, it } from 'vitest';

import { linesOf } from '../../src/calls/compare';
import { english } from '../../src/page/translation';

describe('linesOf', () => {
  const marked = (left: string, right: string): string[] =>
    linesOf(left, right, english).map(({ mark, text }) => `${mark} ${text}`);

  it('marks what is on one side alone', () => {
    expect(marked('a\nb', 'a\nc\nd')).toEqual(['  a', '- b', '+ c', '+ d']);
    expect(marked('', 'a')).toEqual(['+ a']);
  });

  it('leaves out what is far from any change', () => {
    const lines = Array.from({ length: 20 }, (_, i) => String(i));
    const changed = lines.map((line, i) => (i === 10 ? 'x' : line));

    expect(marked(lines.join('\n'), changed.join('\n'))).toEqual([
      '… 7 lines',
      ...['  7', '  8', '  9', '- 10', '+ x', '  11', '  12', '  13'],
      '… 6 lines'
    ]);
  });

  it('shows what would turn the line round', () => {
    expect(marked('a', 'a\u202e')).toEqual(['- a', '+ a\\u{202e}']);
  });
});
