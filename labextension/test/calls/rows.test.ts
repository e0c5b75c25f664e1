import { describe, expect, it } from 'vitest';

import { IServiceVersion } from '../../src/calls/api';
import { filterServices, groupByName, idOf, keyOf, rowsOf } from '../../src/calls/rows';
import { windowOf } from '../../src/services/window';

const SERVICES: IServiceVersion[] = [
  { name: 'Iris', version: 'V1.0', versionPublishedBy: 'maria', runtimeType: 'Python' },
  { name: 'Cars 10', version: '7', versionPublishedBy: 'root', description: 'Miles to the gallon' },
  { name: 'Cars 9', version: '7', versionPublishedBy: 'root', runtimeType: 'R' },
  { name: 'Iris', version: 'V2.0', versionPublishedBy: 'root', runtimeType: 'Python' }
];
const ids = (services: readonly IServiceVersion[]): string[] => services.map(idOf);

describe('groupByName', () => {
  it('sorts services by name and versions newest first, and leaves the list as it was', () => {
    const before = ids(SERVICES);

    const groups = groupByName(SERVICES);

    expect(groups.map(({ name }) => name)).toEqual(['Cars 9', 'Cars 10', 'Iris']);
    expect(groups[2]?.versions.map(({ version }) => version)).toEqual(['V2.0', 'V1.0']);
    expect(ids(SERVICES)).toEqual(before);
  });
});

describe('filterServices', () => {
  it.each([
    ['', null, 4],
    ['iris', null, 2],
    ['IRIS v2', null, 1],
    ['gallon', null, 1],
    ['maria', null, 1],
    ['python', 'root', 1],
    ['', 'maria', 1],
    ['nothing', null, 0]
  ])('finds %j of %j', (text, publisher, count) => {
    expect(filterServices(SERVICES, { text, publisher })).toHaveLength(count);
  });
});

describe('rowsOf', () => {
  it('lays versions beneath their service, with their places', () => {
    const rows = rowsOf(groupByName(SERVICES), name => name === 'Cars 9');

    expect(rows.map(({ id }) => id)).toEqual([
      'Cars 9',
      'Cars 10',
      'Cars 10/7',
      'Iris',
      'Iris/V2.0',
      'Iris/V1.0'
    ]);
    expect(rows[3]?.place).toEqual({ position: 3, size: 3 });
    expect(rows[5]?.place).toEqual({ position: 2, size: 2 });
  });
});

describe('keyOf', () => {
  it('reads what idOf wrote, and nothing else', () => {
    expect(keyOf(idOf({ name: 'My Iris', version: 'V1.0' }))).toEqual({
      name: 'My Iris',
      version: 'V1.0'
    });
    expect(['', 'Iris', 'a/b/c'].map(keyOf)).toEqual([null, null, null]);
  });
});

describe('windowOf', () => {
  const heights = Array.from({ length: 1000 }, (_, i) => (i % 2 ? 40 : 20));

  it('draws what is in sight and a margin', () => {
    const { first, end, height, top } = windowOf(heights, 15_000, 600);

    expect(height).toBe(30_000);
    expect(top(first)).toBeLessThanOrEqual(14_700);
    expect(top(first)).toBeGreaterThan(14_600);
    expect(top(end)).toBeGreaterThanOrEqual(15_900);
    expect(end - first).toBeLessThan(50);
  });

  it('stays within the list at its ends', () => {
    expect(windowOf(heights, 0, 600).first).toBe(0);
    expect(windowOf(heights, 29_400, 600).end).toBe(1000);
    expect(windowOf([], 0, 600)).toMatchObject({ first: 0, end: 0, height: 0 });
  });
});
