/**
 * What the first bytes of images are in base64.
 */
const BEGINNINGS: readonly (readonly [string, string])[] = [
  ['iVBORw0KGgo', 'image/png'],
  ['/9j/', 'image/jpeg'],
  ['R0lGOD', 'image/gif'],
  ['UklGR', 'image/webp']
];

/**
 * Find out whether text is an image, and give an address that an `img` shows; null if it is none.
 *
 * Images come as base64, as a `data:` address or as SVG. In an `img` no script of an SVG runs.
 */
export function imageUrl(text: string): string | null {
  if (/^data:image\/[\w.+-]+[;,]/.test(text)) {
    return text;
  }
  const type = BEGINNINGS.find(([beginning]) => text.startsWith(beginning))?.[1];
  if (type !== undefined && text.length > 64 && /^[A-Za-z0-9+/\s]+=*\s*$/.test(text)) {
    return `data:${type};base64,${text.replace(/\s+/g, '')}`;
  }
  if (/^\s*(<\?xml[^>]*>\s*)?(<!--[\s\S]*?-->\s*)?(<!DOCTYPE[^>]*>\s*)?<svg[\s>]/i.test(text)) {
    return `data:image/svg+xml;charset=utf-8,${encodeURIComponent(text)}`;
  }
  return null;
}

/**
 * Find out whether a file's content, in base64, is an image; null if it is none.
 */
export function fileImageUrl(name: string, content: string): string | null {
  if (/\.svg$/i.test(name)) {
    return `data:image/svg+xml;base64,${content}`;
  }
  return imageUrl(content);
}
