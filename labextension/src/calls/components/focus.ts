import * as React from 'react';

/**
 * The element of a list that Tab leads to.
 */
const TAB_STOP = '[tabindex="0"]';

/**
 * Where the focus goes when the list itself is gone: the search box, else the tab.
 */
const NEARBY = 'input[type=search], [role=tab][aria-selected=true]';

/**
 * Handlers for the element that a list is.
 */
export interface IFocusHandlers {
  onFocus: () => void;
  onBlur: (event: React.FocusEvent) => void;
}

/**
 * Keep the focus in a list when the element that has it goes.
 *
 * A dialog gives the focus back to the element that had it. That element may be gone by then, because
 * of what the dialog asked, or of an event of the server meanwhile; so a dialog borrows the focus.
 */
export function useKeptFocus(list: React.RefObject<HTMLElement>): IFocusHandlers {
  const isHere = React.useRef(false);
  React.useLayoutEffect(() => {
    if (isHere.current && isFocusNowhere()) {
      focusTabStop(list.current);
    }
  });
  React.useLayoutEffect(() => {
    const panel = list.current?.closest('.jp-Mlsvc') ?? document;
    return () => {
      if (isHere.current) {
        // What comes in the list's place may take the focus first.
        requestAnimationFrame(() => {
          if (isFocusNowhere()) {
            panel.querySelector<HTMLElement>(NEARBY)?.focus();
          }
        });
      }
    };
  }, [list]);
  return {
    onFocus: () => {
      isHere.current = true;
    },
    onBlur: ({ relatedTarget }) => {
      isHere.current = Boolean(relatedTarget?.closest('.jp-Dialog'));
    }
  };
}

/**
 * Focus the element of a list that Tab leads to.
 */
export function focusTabStop(list: HTMLElement | null): void {
  list?.querySelector<HTMLElement>(TAB_STOP)?.focus({ preventScroll: true });
}

function isFocusNowhere(): boolean {
  return !document.activeElement || document.activeElement === document.body;
}
