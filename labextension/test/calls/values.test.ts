import { nullTranslator } from '@jupyterlab/translation';
import { describe, expect, it } from 'vitest';

import { delimiterOf, formatRows, parseRows } from '../../src/calls/csv';
import { InputProblem, parseInput, textOfValue } from '../../src/calls/values';

const trans = nullTranslator.load('jupyter_mlsvc');
const valueOf = (type: string, text: string): unknown => parseInput(type, text, trans).value;
const summaryOf = (type: string, text: string): string => parseInput(type, text, trans).summary;

describe('parseInput', () => {
  it.each([
    ['logical', 'true', true],
    ['numeric', ' 1.5e3 ', 1500],
    ['numeric', '-.5', -0.5],
    ['integer', '7', 7],
    ['integer', '7.0', 7],
    ['character', ' as it is ', ' as it is '],
    ['character', '', ''],
    ['vector', '7, 3.2, 4.7, 1.4', [7, 3.2, 4.7, 1.4]],
    ['vector', '7 3.2\n4.7', [7, 3.2, 4.7]],
    ['vector', '1;2;3', [1, 2, 3]],
    ['vector', '1\t2\t3\n', [1, 2, 3]],
    ['vector', '1, 2, 3,', [1, 2, 3]],
    ['vector', '1, , NaN', [1, null, null]],
    ['vector', 'true, False', [true, false]],
    ['vector', 'red, dark blue, "a, b"', ['red', 'dark blue', 'a, b']],
    ['vector', 'red\nNA\n1', ['red', 'NA', '1']],
    ['vector', '[1, "a", null]', [1, 'a', null]],
    ['vector', '', []],
    ['vector', '5', [5]],
    [
      'matrix',
      '1,2\n3,4',
      [
        [1, 2],
        [3, 4]
      ]
    ],
    [
      'matrix',
      '1\t2\r\n3\t4\r\n',
      [
        [1, 2],
        [3, 4]
      ]
    ],
    [
      'matrix',
      ' 1  2\n 3  4',
      [
        [1, 2],
        [3, 4]
      ]
    ],
    ['matrix', '1\n2', [[1], [2]]],
    ['matrix', '[[1, 2]]', [[1, 2]]],
    ['data.frame', 'a,b\n1,x\n2,"y, z"', { a: [1, 2], b: ['x', 'y, z'] }],
    ['data.frame', 'a\tb\n1\ttrue\n\tfalse', { a: [1, null], b: [true, false] }],
    ['data.frame', 'a;b\n1;2', { a: [1], b: [2] }],
    ['data.frame', 'id,n\n007x,1\n8,2', { id: ['007x', '8'], n: [1, 2] }],
    ['data.frame', '{"a": [1, 2]}', { a: [1, 2] }],
    ['data.frame', '[{"a": 1}, {"a": 2, "b": "x"}]', { a: [1, 2], b: [null, 'x'] }],
    ['string', 'text', 'text'],
    ['string', '{"a": 1}', { a: 1 }]
  ])('reads %s %j', (type, text, value) => {
    expect(valueOf(type, text)).toEqual(value);
  });

  it.each([
    ['numeric', '', 'Enter a number'],
    ['numeric', '1,5', '“1,5”'],
    ['numeric', 'Infinity', 'not a number'],
    ['integer', '1.5', 'not a whole number'],
    ['integer', '12345678901234567890', 'too large'],
    ['vector', '[1, [2]]', 'A vector has'],
    ['vector', '[1, 2', 'no JSON'],
    ['matrix', '1,2\n3', 'Line 2 has 1 values, the first has 2'],
    ['matrix', '[1, 2]', 'A matrix has rows'],
    ['data.frame', '', 'names of its columns'],
    ['data.frame', 'a,a\n1,2', 'two columns “a”'],
    ['data.frame', 'a,\n1,2', 'Column 2 has no name'],
    ['data.frame', 'a,b\n1,2,3', 'Line 2 has 3 values'],
    ['data.frame', '{"a": [1], "b": [1, 2]}', 'not all of one length'],
    ['data.frame', '[1, 2]', 'object of columns']
  ])('says what is wrong with %s %j', (type, text, message) => {
    expect(() => parseInput(type, text, trans)).toThrow(InputProblem);
    expect(() => parseInput(type, text, trans)).toThrow(message);
  });

  it('keeps long numbers in tables as text, rather than rounding them', () => {
    expect(valueOf('vector', '12345678901234567890, 1')).toEqual(['12345678901234567890', '1']);
  });

  it('keeps texts that look like numbers where a column is known to have texts', () => {
    const columns = [
      { name: 'code', type: 'str' },
      { name: 'day', type: 'datetime64[us]' },
      { name: 'size', type: 'category', categories: ['1', '2'] },
      { name: 'year', type: 'category', categories: [2023, 2024] }
    ];
    const text = 'code,day,size,year\n007,2024-02-29,1,2024\n,,,';
    expect(parseInput('data.frame', text, trans, columns).value).toEqual({
      code: ['007', null],
      day: ['2024-02-29', null],
      size: ['1', null],
      year: [2024, null]
    });
  });

  it('says what it understood', () => {
    expect(summaryOf('vector', '1, 2')).toBe('2 numbers');
    expect(summaryOf('vector', 'a')).toBe('1 value');
    expect(summaryOf('matrix', '1,2,3\n4,5,6')).toBe('2 × 3');
    expect(summaryOf('data.frame', 'a,b\n1,2')).toBe('1 row, 2 columns: a, b');
  });
});

describe('textOfValue', () => {
  it.each([
    ['vector', [7, 3.2], '7, 3.2'],
    ['vector', ['1', null], '["1",null]'],
    [
      'matrix',
      [
        [1, 2],
        [3, 4]
      ],
      '1, 2\n3, 4'
    ],
    ['data.frame', { a: [1, null], b: ['x', 'y, z'] }, 'a,b\n1,x\n,"y, z"'],
    ['data.frame', { id: ['007'] }, '{"id":["007"]}'],
    ['data.frame', { a: [1, null] }, '{"a":[1,null]}'],
    ['data.frame', { a: [1], b: [] }, '{"a":[1],"b":[]}'],
    ['character', 'a "b"', 'a "b"'],
    ['logical', true, 'true'],
    ['json', { a: 1 }, '{"a":1}']
  ])('writes a %s as somebody would type it: %j', (type, value, text) => {
    expect(textOfValue(value, type)).toBe(text);
    if (text !== '{"a":[1],"b":[]}') {
      expect(parseInput(type, text, trans).value).toEqual(value);
    }
  });
});

describe('parseRows', () => {
  it('reads quotes, doubled quotes and line ends within them', () => {
    expect(parseRows('a,"b ""c"""\n"d\ne",\n', ',')).toEqual([
      ['a', 'b "c"'],
      ['d\ne', '']
    ]);
  });

  it('reads what formatRows wrote', () => {
    const rows = [
      ['a', 'b,c', 'd"e'],
      ['', ' f', 'g\nh']
    ];
    expect(parseRows(formatRows(rows), ',')).toEqual(rows);
  });
});

describe('delimiterOf', () => {
  it.each([
    ['a,b', ','],
    ['a;b,c', ';'],
    ['a\tb,c', '\t'],
    ['"a;b",c', ','],
    ['title\na;b', ';'],
    ['one', ',']
  ])('finds it in %j', (text, delimiter) => {
    expect(delimiterOf(text)).toBe(delimiter);
  });
});
