import { describe, expect, it } from 'vitest';

import { IServiceVersion } from '../../src/calls/api';
import { exampleInputs, madeUp } from '../../src/calls/examples';

const LOANS: IServiceVersion = {
  name: 'Loans',
  version: 'V1.0',
  inputParameterDefinitions: [
    {
      name: 'applicant',
      type: 'data.frame',
      columns: [
        { name: 'age', type: 'number', minimum: 18, maximum: 99 },
        { name: 'since', type: 'datetime64[us]' },
        { name: 'region', type: 'str', categories: ['north', 'south'] },
        { name: 'size', type: 'category' },
        { name: 'ok', type: 'bool' },
        { name: 'wait', type: 'timedelta64[ns]' }
      ]
    },
    { name: 'scale', type: 'numeric', example: 4 }
  ]
};

describe('exampleInputs', () => {
  it('makes up rows with the columns that there are', () => {
    expect(exampleInputs(LOANS)).toEqual({
      applicant: {
        age: [59, 59],
        since: ['2024-01-31', '2024-01-31'],
        region: ['north', 'north'],
        size: [null, null],
        ok: [true, true],
        wait: ['PT1H', 'PT1H']
      },
      scale: 4
    });
  });

  it('takes the call that its publisher shows', () => {
    const inputs = { applicant: [{ age: 40 }], scale: 1 };

    expect(exampleInputs({ ...LOANS, examples: [{ inputs }] })).toEqual(inputs);
  });
});

describe('madeUp', () => {
  it('has elements and lengths as they are declared', () => {
    expect(madeUp({ name: 'v', type: 'vector', items: { type: 'string' }, shape: [2] })).toEqual([
      'text',
      'text'
    ]);
    expect(madeUp({ name: 'm', type: 'matrix', items: { minimum: 5 }, shape: [1, 2] })).toEqual([
      [5, 5]
    ]);
    expect(madeUp({ name: 'v', type: 'vector' })).toEqual([1, 2, 3]);
  });
});
