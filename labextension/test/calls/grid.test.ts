import { nullTranslator } from '@jupyterlab/translation';
import { describe, expect, it } from 'vitest';

import { IParameterDefinition } from '../../src/calls/api';
import { formatTable, gridOf, pasted } from '../../src/calls/grid';
import { parseInput } from '../../src/calls/values';

const trans = nullTranslator.load('jupyterlab');
const INPUT: IParameterDefinition = {
  name: 'applicant',
  type: 'data.frame',
  columns: [
    { name: 'age', type: 'number' },
    { name: 'region', type: 'string' }
  ]
};
const parsed = (text: string): unknown =>
  parseInput('data.frame', text, trans, INPUT.columns ?? []).value;

describe('gridOf', () => {
  it('begins with an empty row of the columns that are known', () => {
    expect(gridOf(INPUT, '', trans)).toEqual([
      ['age', 'region'],
      ['', '']
    ]);
    expect(gridOf({ name: 'x', type: 'data.frame' }, '', trans)).toBeNull();
  });

  it('reads CSV and JSON, and leaves what is no table to the text', () => {
    const rows = [
      ['age', 'region'],
      ['40', 'Süd; West'],
      ['', 'a,b']
    ];
    expect(gridOf(INPUT, formatTable(rows), trans)).toEqual(rows);
    expect(gridOf(INPUT, '[{"age": 40, "region": null}]', trans)).toEqual([
      ['age', 'region'],
      ['40', '']
    ]);
    expect(gridOf(INPUT, 'age,region\n1', trans)).toBeNull();
    expect(gridOf(INPUT, '{"age"', trans)).toBeNull();
  });

  it('keeps an empty cell of a single column', () => {
    const rows = [['age'], [''], ['']];
    expect(gridOf(INPUT, formatTable(rows), trans)).toEqual(rows);
    expect(formatTable([['age'], ['']])).toBe('');
  });
});

describe('pasted', () => {
  const table = [
    ['age', 'region'],
    ['1', 'a'],
    ['2', 'b']
  ];

  it('fills cells from where it is pasted, and adds rows', () => {
    expect(pasted(table, '7\tx\n8\ty\n', 2, 0)).toEqual([
      ['age', 'region'],
      ['1', 'a'],
      ['7', 'x'],
      ['8', 'y']
    ]);
    expect(pasted(table, 'x\tno place\n', 1, 1)[1]).toEqual(['1', 'x']);
  });

  it('takes a table with names for all of it, in any order', () => {
    expect(pasted(table, 'region\tage\nnord\t5\n', 1, 0)).toEqual([
      ['age', 'region'],
      ['5', 'nord']
    ]);
  });
});

describe('known columns', () => {
  it('tell numbers and texts apart', () => {
    expect(parsed('age,region\n4,5\n,')).toEqual({ age: [4, null], region: ['5', null] });
    expect(() => parsed('age,region\nold,x')).toThrow('age: “old” is not a number.');
  });
});
