import { IServiceVersion } from './api';

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
}

/**
 * A line of the list: a service, or one of its versions beneath.
 */
export type Row =
  | { kind: 'service'; id: string; group: IServiceGroup; isExpanded: boolean; place: IPlace }
  | { kind: 'version'; id: string; group: IServiceGroup; service: IServiceVersion; place: IPlace };

/**
 * Position among the rows of the same level and parent, from 1.
 */
export interface IPlace {
  position: number;
  size: number;
}

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
  { text, publisher }: IFilter
): IServiceVersion[] {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  return services.filter(service => {
    if (publisher !== null && service.versionPublishedBy !== publisher) {
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
 * Lay groups out as lines; versions of collapsed services are left out.
 */
export function rowsOf(
  groups: readonly IServiceGroup[],
  isCollapsed: (name: string) => boolean
): Row[] {
  const rows: Row[] = [];
  groups.forEach((group, i) => {
    const isExpanded = !isCollapsed(group.name);
    const place = { position: i + 1, size: groups.length };
    rows.push({ kind: 'service', id: group.name, group, isExpanded, place });
    if (isExpanded) {
      group.versions.forEach((service, j) => {
        const beneath = { position: j + 1, size: group.versions.length };
        rows.push({ kind: 'version', id: idOf(service), group, service, place: beneath });
      });
    }
  });
  return rows;
}
