import { TranslationBundle } from '@jupyterlab/translation';

/**
 * Write a duration with one unit, or two where the first counts few: `40 s`, `5 min`, `2 h 10 min`.
 */
export function formatDuration(seconds: number, trans: TranslationBundle): string {
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
