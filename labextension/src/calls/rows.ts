import { IServiceStatistics, IServiceVersion } from './api';

/**
 * What tells a version from all others.
 */
export interface IVersionKey {
  name: string;
  version: string;
}

/**
 * A service with its versions, newest first.
 */
export interface IServiceGroup {
  name: string;
  versions: IServiceVersion[];
}

/**
 * What part of the services is listed.
 */
export interface IFilter {
  /**
   * Words that must all occur, in any of a version's texts.
   */
  text: string;

  /**
   * The publisher whose versions alone are listed; null lists everybody's.
   */
  publisher: string | null;

  /**
   * The tag that versions have; null lists those without as well.
   */
  tag?: string | null;
}

/**
 * By what services are sorted.
 */
export type Order = 'name' | 'newest' | 'calls' | 'errors';

/**
 * A line of the list: a service, beneath it its newest versions, and one that the older ones are
 * folded under.
 */
export type Row =
  | { kind: 'service'; id: string; group: IServiceGroup; isExpanded: boolean; place: IPlace }
  | { kind: 'version'; id: string; group: IServiceGroup; service: IServiceVersion; place: IPlace }
  | { kind: 'older'; id: string; group: IServiceGroup; isExpanded: boolean; place: IPlace };

/**
 * Level in the tree, and position among the rows of the same level and parent; all from 1.
 */
export interface IPlace {
  level: number;
  position: number;
  size: number;
}

/**
 * What of the list is folded.
 */
export interface IFolding {
  isCollapsed: (name: string) => boolean;

  /**
   * Whether the older versions of a service are shown.
   */
  isUnfolded: (name: string) => boolean;
}

/**
 * From how many on older versions are folded: a single one takes no more room than the fold.
 */
const FOLDED_FROM = 2;

/**
 * Write a key as text; names have no slash.
 */
export function idOf({ name, version }: IVersionKey): string {
  return `${name}/${version}`;
}

/**
 * Read what `idOf` wrote; null for anything else.
 */
export function keyOf(id: string): IVersionKey | null {
  const [name, version, ...rest] = id.split('/');
  return name && version && rest.length === 0 ? { name, version } : null;
}

/**
 * Whether its reader may change or delete a version.
 */
export function isChangeable(service: IServiceVersion): boolean {
  return service.myPermissionOnService === 'read/write';
}

/**
 * Sort services by name, and the versions of each newest first; the server lists oldest first.
 */
export function groupByName(services: readonly IServiceVersion[]): IServiceGroup[] {
  const groups = new Map<string, IServiceVersion[]>();
  for (const service of services) {
    const versions = groups.get(service.name);
    if (versions) {
      versions.push(service);
    } else {
      groups.set(service.name, [service]);
    }
  }
  const { compare } = new Intl.Collator(undefined, { numeric: true });
  return [...groups]
    .map(([name, versions]) => ({ name, versions: versions.reverse() }))
    .sort((left, right) => compare(left.name, right.name));
}

/**
 * Leave the services that fit a filter, in their order.
 */
export function filterServices(
  services: readonly IServiceVersion[],
  { text, publisher, tag = null }: IFilter
): IServiceVersion[] {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  return services.filter(service => {
    if (publisher !== null && service.versionPublishedBy !== publisher) {
      return false;
    }
    if (tag !== null && !service.tags?.includes(tag)) {
      return false;
    }
    const texts = [
      service.name,
      service.version,
      service.description,
      service.versionPublishedBy,
      service.runtimeType,
      ...(service.tags ?? [])
    ];
    const all = texts.join('\n').toLowerCase();
    return words.every(word => all.includes(word));
  });
}

/**
 * Sort services that are sorted by name; those that are alike stay so.
 *
 * By errors, services with a version that is failing come first.
 *
 * @param statistics - By the ids of versions.
 */
export function sortGroups(
  groups: readonly IServiceGroup[],
  order: Order,
  statistics: ReadonlyMap<string, IServiceStatistics>
): readonly IServiceGroup[] {
  if (order === 'name') {
    return groups;
  }
  const weights = new Map(groups.map(group => [group, weightOf(group, order, statistics)]));
  const weight = (group: IServiceGroup): number => weights.get(group) ?? 0;
  return [...groups].sort((left, right) => weight(right) - weight(left));
}

function weightOf(
  { versions }: IServiceGroup,
  order: Exclude<Order, 'name'>,
  statistics: ReadonlyMap<string, IServiceStatistics>
): number {
  if (order === 'newest') {
    return Math.max(...versions.map(({ creationTime }) => timeOf(creationTime)));
  }
  let sum = 0;
  for (const version of versions) {
    const figures = statistics.get(idOf(version));
    sum += figures?.[order] ?? 0;
    if (order === 'errors' && figures?.state === 'failing') {
      sum += FAILING;
    }
  }
  return sum;
}

/**
 * More than a version has errors.
 */
const FAILING = 1e15;

function timeOf(text: string | null | undefined): number {
  return Date.parse(text ?? '') || 0;
}

/**
 * Lay groups out as lines; versions of collapsed services, and older ones that are folded, are left
 * out.
 */
export function rowsOf(groups: readonly IServiceGroup[], folding: IFolding): Row[] {
  return groups.flatMap((group, i) => {
    const { name, versions } = group;
    const isExpanded = !folding.isCollapsed(name);
    const place = { level: 1, position: i + 1, size: groups.length };
    const head: Row = { kind: 'service', id: name, group, isExpanded, place };
    return [head, ...(isExpanded ? beneath(group, versions, folding) : [])];
  });
}

function beneath(
  group: IServiceGroup,
  versions: readonly IServiceVersion[],
  folding: IFolding
): Row[] {
  const lines = (shown: readonly IServiceVersion[], level: number, size: number): Row[] =>
    shown.map((service, i) => {
      const place = { level, position: i + 1, size };
      return { kind: 'version', id: idOf(service), group, service, place };
    });
  const older = versions.slice(1);
  if (older.length < FOLDED_FROM) {
    return lines(versions, 2, versions.length);
  }
  const isExpanded = folding.isUnfolded(group.name);
  const place = { level: 2, position: 2, size: 2 };
  return [
    ...lines(versions.slice(0, 1), 2, 2),
    // No version has such an id.
    { kind: 'older', id: `${group.name}//`, group, isExpanded, place },
    ...(isExpanded ? lines(older, 3, older.length) : [])
  ];
}
