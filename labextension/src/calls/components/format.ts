import { ITranslation } from '../translation';

const UNITS = ['B', 'kB', 'MB', 'GB', 'TB'];

/**
 * Write a number of bytes with three digits at most: `1.5 MB`.
 */
export function formatBytes(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 999.5 && unit < UNITS.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${formatNumber(value)} ${UNITS[unit] ?? ''}`;
}

// Controls, marks of writing direction, invisible operators, halves of characters, tags.
const HARMFUL =
  /[\p{Cc}\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\u{e0000}-\u{e007f}]|\p{Cs}/gu;

/**
 * Write a name of somebody's on one line, with what is invisible or moves other text as an escape.
 *
 * The Python client shows names alike.
 */
export function harmless(name: string): string {
  return name.replace(HARMFUL, escaped);
}

/**
 * Write what is said, with names of somebody's in it, likewise but with its line ends and tabs.
 */
export function harmlessLines(text: string): string {
  return text.replace(HARMFUL, found => ('\n\t'.includes(found) ? found : escaped(found)));
}

function escaped(found: string): string {
  const code = found.codePointAt(0) ?? 0;
  return code < 0x100 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u{${code.toString(16)}}`;
}

/**
 * Write a number with three digits, but no fewer than its whole part has.
 */
export function formatNumber(value: number): string {
  const digits =
    Math.abs(value) >= 100 || Number.isInteger(value) ? 0 : Math.abs(value) >= 10 ? 1 : 2;
  return String(Number(value.toFixed(digits)));
}

/**
 * Write a duration: `3.4 ms`, `1.2 s`, `2 min 5 s`.
 */
export function formatMilliseconds(milliseconds: number): string {
  if (milliseconds < 999.5) {
    return `${formatNumber(milliseconds)} ms`;
  }
  const seconds = milliseconds / 1000;
  if (seconds < 59.95) {
    return `${formatNumber(seconds)} s`;
  }
  const whole = Math.round(seconds);
  return `${Math.floor(whole / 60)} min ${whole % 60} s`;
}

/**
 * Write a duration with one unit, or two where the first counts few: `40 s`, `5 min`, `2 h 10 min`.
 */
export function formatDuration(seconds: number, trans: ITranslation): string {
  if (seconds < 1) {
    return trans.__('less than 1 s');
  }
  if (seconds < 60) {
    return trans.__('%1 s', Math.round(seconds));
  }
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) {
    return trans.__('%1 min', minutes);
  }
  const hours = Math.floor(minutes / 60);
  if (hours < 24) {
    return minutes % 60 > 0
      ? trans.__('%1 h %2 min', hours, minutes % 60)
      : trans.__('%1 h', hours);
  }
  const days = Math.floor(hours / 24);
  return trans._n('%1 day', '%1 days', days);
}

/**
 * Read a time of the contract (ISO 8601; UTC where it says nothing); null if it is none.
 */
export function parseTime(text: string | null | undefined): Date | null {
  if (!text) {
    return null;
  }
  const hasZone = /(Z|[+-]\d\d:?\d\d)$/i.test(text);
  // More than three digits of a second are not for every browser.
  const time = new Date(text.replace(/(\.\d{3})\d+/, '$1') + (hasZone ? '' : 'Z'));
  return Number.isNaN(time.getTime()) ? null : time;
}

/**
 * Write how long ago a time was.
 */
export function formatAge(time: Date, trans: ITranslation, now = new Date()): string {
  const seconds = Math.max(0, (now.getTime() - time.getTime()) / 1000);
  if (seconds < 45) {
    return trans.__('just now');
  }
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) {
    return trans._n('%1 min ago', '%1 min ago', minutes);
  }
  const hours = Math.round(minutes / 60);
  if (hours < 24) {
    return trans._n('%1 h ago', '%1 h ago', hours);
  }
  const days = Math.round(hours / 24);
  if (days < 31) {
    return trans._n('%1 day ago', '%1 days ago', days);
  }
  return time.toLocaleDateString();
}
