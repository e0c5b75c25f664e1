import { TranslationBundle } from '@jupyterlab/translation';
import { checkIcon } from '@jupyterlab/ui-components';
import * as React from 'react';

import { focusTabStop, useKeptFocus, useSignal } from '../components';
import { ListChoice } from './choice';
import { targetOf } from './keys';

/**
 * What a list needs to know of its items.
 */
export interface IListItem {
  id: string;

  /**
   * What typing its first letter finds, and its accessible name begins with.
   */
  name: string;
}

/**
 * A list by the keyboard pattern of WAI-ARIA: one tab stop, arrows move, Space chooses, Enter
 * opens. A click opens, a click on the box or with Ctrl chooses.
 */
export function Listbox<T extends IListItem>(props: {
  label: string;
  items: readonly T[];
  choice: ListChoice;
  trans: TranslationBundle;
  render: (item: T) => React.ReactElement;
  onOpen: (id: string) => void;
  onDelete: () => void;
}): React.ReactElement {
  const { label, items, choice, trans, render, onOpen, onDelete } = props;
  useSignal(choice.changed);
  const list = React.useRef<HTMLDivElement>(null);
  const focused = Math.max(
    0,
    items.findIndex(({ id }) => id === choice.focused)
  );
  React.useEffect(() => {
    if (choice.takeFocus()) {
      focusTabStop(list.current);
    }
  }, [choice]);
  const keptFocus = useKeptFocus(list);

  const moveTo = (index: number): void => {
    choice.focused = items[index]?.id ?? '';
    (list.current?.children[index] as HTMLElement | undefined)?.focus();
  };
  const onKeyDown = (event: React.KeyboardEvent): void => {
    const item = items[focused];
    if (!item || event.altKey) {
      return;
    }
    const isControl = event.ctrlKey || event.metaKey;
    const target = targetOf(event.key, items, focused, ({ name }) => name);
    if (isControl && event.key.toLowerCase() === 'a') {
      choice.select(items.map(({ id }) => id));
    } else if (isControl) {
      return;
    } else if (target !== null) {
      if (event.shiftKey) {
        choice.select([...choice.selected, item.id, items[target]?.id ?? item.id]);
      }
      moveTo(target);
    } else if (event.key === 'Enter') {
      onOpen(item.id);
    } else if (event.key === ' ') {
      choice.toggle(item.id);
    } else if (event.key === 'Delete') {
      choice.focused = item.id;
      onDelete();
    } else if (event.key === 'Escape' && choice.selected.size > 0) {
      choice.select([]);
    } else {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
  };
  return (
    <div
      className="jp-MlsvcList"
      role="listbox"
      aria-label={label}
      aria-multiselectable="true"
      ref={list}
      onKeyDown={onKeyDown}
      {...keptFocus}
    >
      {items.map((item, at) => (
        <Item
          key={item.id}
          item={item}
          isTabStop={at === focused}
          choice={choice}
          trans={trans}
          onOpen={onOpen}
          onRange={() => {
            const [from, to] = focused < at ? [focused, at] : [at, focused];
            choice.select(items.slice(from, to + 1).map(({ id }) => id));
          }}
        >
          {render(item)}
        </Item>
      ))}
    </div>
  );
}

function Item(props: {
  item: IListItem;
  isTabStop: boolean;
  choice: ListChoice;
  trans: TranslationBundle;
  children: React.ReactNode;
  onOpen: (id: string) => void;
  onRange: () => void;
}): React.ReactElement {
  const { item, isTabStop, choice, trans, onOpen, onRange } = props;
  const { id } = item;
  const isSelected = choice.selected.has(id);
  return (
    <div
      className={`jp-MlsvcList-item${isSelected ? ' jp-mod-selected' : ''}`}
      role="option"
      aria-selected={isSelected}
      tabIndex={isTabStop ? 0 : -1}
      data-id={id}
      data-name={item.name}
      onFocus={() => {
        choice.focused = id;
      }}
      onContextMenu={() => {
        choice.focused = id;
        if (!isSelected) {
          choice.select([]);
        }
      }}
      onClick={event => {
        if (event.ctrlKey || event.metaKey) {
          choice.toggle(id);
        } else if (event.shiftKey) {
          onRange();
        } else {
          onOpen(id);
        }
      }}
    >
      <span
        className="jp-MlsvcList-check"
        aria-hidden="true"
        title={trans.__('Select')}
        onClick={event => {
          event.stopPropagation();
          choice.toggle(id);
        }}
      >
        {isSelected && <checkIcon.react tag="span" />}
      </span>
      <span className="jp-MlsvcList-lines">{props.children}</span>
    </div>
  );
}
