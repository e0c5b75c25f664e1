import { ISignal, Signal } from '@lumino/signaling';

/**
 * Which items of a list are chosen, and which one the keyboard is at.
 */
export class ListChoice {
  /**
   * Emitted when any of the properties below changed.
   */
  get changed(): ISignal<this, void> {
    return this._changed;
  }

  /**
   * Id of the item that the keyboard is at; empty for the first.
   */
  get focused(): string {
    return this._focused;
  }
  set focused(id: string) {
    if (id !== this._focused) {
      this._focused = id;
      this._changed.emit();
    }
  }

  /**
   * Ids of the chosen items, in the order in which they were chosen.
   */
  get selected(): ReadonlySet<string> {
    return this._selected;
  }

  /**
   * What an action is meant for: the chosen items, else the one the keyboard is at.
   */
  get targets(): string[] {
    return this._selected.size > 0 ? [...this._selected] : this._focused ? [this._focused] : [];
  }

  /**
   * Have the list take the focus when it is drawn next, because it is come back to.
   */
  wantFocus(): void {
    this._isFocusWanted = true;
  }

  /**
   * Whether the list is to take the focus; asked once.
   */
  takeFocus(): boolean {
    const isWanted = this._isFocusWanted;
    this._isFocusWanted = false;
    return isWanted;
  }

  select(ids: Iterable<string>): void {
    this._selected = new Set(ids);
    this._changed.emit();
  }

  toggle(id: string): void {
    const others = [...this._selected].filter(other => other !== id);
    this.select(this._selected.has(id) ? others : [...others, id]);
  }

  /**
   * Forget what is no longer there.
   *
   * @param ids - All items, in the order in which they are shown.
   */
  keep(ids: readonly string[]): void {
    const left = [...this._selected].filter(id => ids.includes(id));
    const isFocusLost = this._focused !== '' && !ids.includes(this._focused);
    if (left.length < this._selected.size || isFocusLost) {
      this._focused = isFocusLost
        ? (ids[Math.min(this._place, ids.length - 1)] ?? '')
        : this._focused;
      this._selected = new Set(left);
      this._changed.emit();
    }
    this._place = Math.max(0, ids.indexOf(this._focused));
  }

  private readonly _changed = new Signal<this, void>(this);
  private _focused = '';
  private _isFocusWanted = false;
  private _place = 0;
  private _selected: ReadonlySet<string> = new Set();
}
