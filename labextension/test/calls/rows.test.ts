import { describe, expect, it } from 'vitest';

import { IServiceStatistics, IServiceVersion } from '../../src/calls/api';
import {
  filterServices,
  groupByName,
  idOf,
  keyOf,
  Order,
  rowsOf,
  sortGroups
} from '../../src/calls/rows';
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

  it('finds those with a tag', () => {
    const tagged = SERVICES.map((service, i) =>
      i === 1 ? { ...service, tags: ['cars'] } : service
    );
    const filter = { text: '', publisher: null, tag: 'cars' };
    expect(ids(filterServices(tagged, filter))).toEqual(['Cars 10/7']);
  });
});

describe('rowsOf', () => {
  it('lays versions beneath their service, with their places', () => {
    const rows = rowsOf(groupByName(SERVICES), {
      isCollapsed: name => name === 'Cars 9',
      isUnfolded: () => false
    });

    expect(rows.map(({ id }) => id)).toEqual([
      'Cars 9',
      'Cars 10',
      'Cars 10/7',
      'Iris',
      'Iris/V2.0',
      'Iris/V1.0'
    ]);
    expect(rows[3]?.place).toEqual({ level: 1, position: 3, size: 3 });
    expect(rows[5]?.place).toEqual({ level: 2, position: 2, size: 2 });
  });

  it('folds older versions where there are several', () => {
    const versions = ['1', '2', '3'].map(version => ({ name: 'Iris', version }));
    const shown = (isUnfolded: boolean): string[] =>
      rowsOf(groupByName(versions), {
        isCollapsed: () => false,
        isUnfolded: () => isUnfolded
      }).map(({ id, place }) => `${place.level} ${id}`);

    expect(shown(false)).toEqual(['1 Iris', '2 Iris/3', '2 Iris//']);
    expect(shown(true)).toEqual(['1 Iris', '2 Iris/3', '2 Iris//', '3 Iris/2', '3 Iris/1']);
    expect(keyOf('Iris//')).toBeNull();
  });
});

describe('sortGroups', () => {
  const services = [
    { name: 'a', version: '1', creationTime: '2026-01-01T00:00:00Z' },
    { name: 'b', version: '1', creationTime: '2026-01-03T00:00:00Z' },
    { name: 'c', version: '1', creationTime: '2026-01-02T00:00:00Z' },
    { name: 'a', version: '2', creationTime: '2026-01-04T00:00:00Z' }
  ];
  const figures = (calls: number, errors: number, state = 'ready'): IServiceStatistics =>
    ({ calls, errors, state }) as IServiceStatistics;
  const statistics = new Map([
    ['a/1', figures(1, 5)],
    ['a/2', figures(1, 0)],
    ['b/1', figures(9, 0, 'failing')]
  ]);

  it.each<[Order, string]>([
    ['name', 'abc'],
    ['newest', 'abc'],
    ['calls', 'bac'],
    ['errors', 'bac']
  ])('sorts by %s', (order, names) => {
    const sorted = sortGroups(groupByName(services), order, statistics);
    expect(sorted.map(({ name }) => name).join('')).toBe(names);
  });

  it('takes the newest version of each', () => {
    const sorted = sortGroups(groupByName(services.slice(0, 3)), 'newest', statistics);
    expect(sorted.map(({ name }) => name).join('')).toBe('bca');
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
