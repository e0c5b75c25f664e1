import { describe, expect, it } from 'vitest';

import { ListChoice } from '../../src/list/choice';

describe('ListChoice', () => {
  it('means the chosen items, else the one the keyboard is at', () => {
    const choice = new ListChoice();
    expect(choice.targets).toEqual([]);
    choice.focused = 'b';
    expect(choice.targets).toEqual(['b']);
    choice.toggle('c');
    choice.toggle('a');
    expect(choice.targets).toEqual(['c', 'a']);
  });

  it('goes to the neighbour when the item that the keyboard is at goes', () => {
    const choice = new ListChoice();
    choice.focused = 'b';
    choice.select(['b', 'c']);
    choice.keep(['a', 'b', 'c']);
    choice.keep(['a', 'c']);

    expect(choice.focused).toBe('c');
    expect([...choice.selected]).toEqual(['c']);
    choice.keep(['a']);
    expect(choice.focused).toBe('a');
  });
});
