import { ISignal, Signal } from '@lumino/signaling';

import { IVersionKey } from '../calls/rows';

/**
 * What an address of the server shows.
 *
 * - `catalogue`: all services
 * - `service`: one of them, in its newest version where it names none
 * - `documentation`: the API, or a version of a service, as a document to try out
 * - `answer`: what the API answers at an address that has no page
 */
export type Place =
  | { kind: 'catalogue' }
  | { kind: 'service'; name: string; version: string | null }
  | { kind: 'documentation'; service: IVersionKey | null }
  | { kind: 'answer'; path: readonly string[] };

/**
 * Read the parts of an address.
 */
export function placeOf(parts: readonly string[]): Place {
  const [first = '', name, version] = parts;
  // Servers may take paths in any case.
  const noun = first.toLowerCase();
  if (noun === '' || (noun === 'services' && parts.length === 1)) {
    return { kind: 'catalogue' };
  }
  if (noun === 'docs' && parts.length === 1) {
    return { kind: 'documentation', service: null };
  }
  if (name && version && parts.length === 3) {
    if (noun === 'docs') {
      return { kind: 'documentation', service: { name, version } };
    }
    if (noun === 'services' || noun === 'api') {
      return { kind: 'service', name, version };
    }
  }
  if (noun === 'services' && name && parts.length === 2) {
    return { kind: 'service', name, version: null };
  }
  return { kind: 'answer', path: parts };
}

/**
 * Where the reader is; going elsewhere keeps the page, and with it who is signed in.
 */
export class Navigation {
  /**
   * @param root - Way from the page's address to the root of the API.
   */
  constructor(root: string) {
    this.root = new URL(root, window.location.href).href;
    this.place = this._read();
    window.addEventListener('popstate', () => {
      this._arrive();
    });
  }

  /**
   * Address of the API's root, with a slash at its end.
   */
  readonly root: string;
  place: Place;

  /**
   * Emitted when the reader is elsewhere.
   */
  get changed(): ISignal<this, void> {
    return this._changed;
  }

  /**
   * Address of the API that programs call, without a slash at its end.
   */
  get apiUrl(): string {
    return this.root.replace(/\/$/, '');
  }

  /**
   * The address of a path, given in parts.
   */
  href(...parts: readonly string[]): string {
    return this.root + parts.map(encodeURIComponent).join('/');
  }

  go(href: string): void {
    window.history.pushState(null, '', href);
    this._arrive();
    window.scrollTo(0, 0);
  }

  private _arrive(): void {
    this.place = this._read();
    this._changed.emit();
  }

  private _read(): Place {
    const path = window.location.pathname.slice(new URL(this.root).pathname.length);
    return placeOf(path.replace(/\/$/, '').split('/').map(decoded));
  }

  private readonly _changed = new Signal<this, void>(this);
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
