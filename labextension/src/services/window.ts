import * as React from 'react';

/**
 * The part of a long list that has to be drawn.
 */
export interface IWindow {
  first: number;
  end: number;
  height: number;
  top: (index: number) => number;
}

/**
 * Rows drawn above and below what can be seen, in pixels.
 */
const MARGIN = 300;

/**
 * Find the rows of a scrolled list that are in sight.
 *
 * @param heights - Heights of all rows in pixels.
 */
export function windowOf(heights: readonly number[], scrollTop: number, view: number): IWindow {
  const tops = [0];
  for (const height of heights) {
    tops.push((tops.at(-1) ?? 0) + height);
  }
  const top = (index: number): number => tops[index] ?? 0;
  // The first row whose end is beyond a place.
  const at = (place: number): number => {
    let low = 0;
    let high = heights.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (top(middle + 1) > place) {
        high = middle;
      } else {
        low = middle + 1;
      }
    }
    return low;
  };
  return {
    first: at(scrollTop - MARGIN),
    end: Math.min(heights.length, at(scrollTop + view + MARGIN) + 1),
    height: top(heights.length),
    top
  };
}

/**
 * Follow how far an element is scrolled, how high it is, and the size of its font.
 */
export function useScroll(element: React.RefObject<HTMLElement>): {
  scrollTop: number;
  height: number;
  fontSize: number;
} {
  const [scroll, setScroll] = React.useState({ scrollTop: 0, height: 600, fontSize: 13 });
  React.useLayoutEffect(() => {
    const node = element.current;
    if (!node) {
      return undefined;
    }
    const measure = (): void => {
      const { scrollTop, clientHeight } = node;
      const fontSize = parseFloat(getComputedStyle(node).fontSize) || 13;
      setScroll(old =>
        old.scrollTop === scrollTop && old.height === clientHeight && old.fontSize === fontSize
          ? old
          : { scrollTop, height: clientHeight || old.height, fontSize }
      );
    };
    measure();
    node.addEventListener('scroll', measure, { passive: true });
    const observer = new ResizeObserver(measure);
    observer.observe(node);
    return () => {
      node.removeEventListener('scroll', measure);
      observer.disconnect();
    };
  }, [element]);
  return scroll;
}
