const PAGE = 10;

/**
 * Where a key leads to in a list; null for keys that lead nowhere.
 *
 * @param focused - The place that the keyboard is at.
 * @param nameOf - What typing its first letter finds; empty for items that are not found so.
 */
export function targetOf<T>(
  key: string,
  items: readonly T[],
  focused: number,
  nameOf: (item: T) => string
): number | null {
  const last = items.length - 1;
  const target = {
    ArrowDown: focused + 1,
    ArrowUp: focused - 1,
    Home: 0,
    End: last,
    PageDown: focused + PAGE,
    PageUp: focused - PAGE
  }[key];
  if (target !== undefined) {
    return Math.max(0, Math.min(last, target));
  }
  if (key.length !== 1 || key === ' ') {
    return null;
  }
  const begins = (item: T): boolean => nameOf(item).toLowerCase().startsWith(key.toLowerCase());
  const after = items.findIndex((item, at) => at > focused && begins(item));
  const found = after >= 0 ? after : items.findIndex(begins);
  return found >= 0 ? found : null;
}
