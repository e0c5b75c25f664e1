import { ITranslation } from '../calls/translation';

/**
 * The page's own texts, in the language they are written in.
 */
export const english: ITranslation = {
  __: (text, ...args) => filled(text, args),
  _n: (one, many, count, ...args) => filled(count === 1 ? one : many, [count, ...args])
};

function filled(text: string, args: readonly unknown[]): string {
  return text.replace(/%(\d)/g, (found, place: string) => {
    const arg = args[Number(place) - 1];
    return typeof arg === 'string' || typeof arg === 'number' ? String(arg) : found;
  });
}
