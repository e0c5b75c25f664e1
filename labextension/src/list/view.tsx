import { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { Loading, Trouble, useSignal } from '../components';
import { Actions, IAction, SelectionBar } from './detail';
import { IListItem, Listbox } from './listbox';
import { IOpenItem, ListModel } from './model';

/**
 * A list that is loaded: a bar with what can be done, and the items, or why there are none.
 */
export function ListPage<T extends IListItem>(props: {
  label: string;
  className: string;
  model: ListModel<T, IOpenItem<T>>;
  trans: TranslationBundle;

  /**
   * What can be done with the chosen items.
   */
  actions: readonly IAction[];

  /**
   * What stands at the end of the bar.
   */
  aside: React.ReactNode;

  /**
   * What is shown when there are no items.
   */
  empty: React.ReactNode;
  render: (item: T) => React.ReactElement;

  /**
   * What an item is called, where that is not its `name`.
   */
  nameOf?: (item: T) => string;
  onDelete: () => void;
}): React.ReactElement {
  const { label, className, model, trans, actions, aside, empty, render, onDelete } = props;
  const { nameOf = ({ name }: T): string => name } = props;
  const { list, choice } = model;
  useSignal(list.changed);
  useSignal(choice.changed);
  const items = list.value;
  return (
    <div className={`jp-MlsvcList-page ${className}`}>
      <div className="jp-MlsvcList-head">
        <SelectionBar
          count={choice.selected.size}
          trans={trans}
          onClear={() => {
            choice.select([]);
          }}
        >
          <Actions actions={actions} />
        </SelectionBar>
        {aside}
      </div>
      {list.trouble && (
        <Trouble trouble={list.trouble} trans={trans} onRetry={() => void list.load()} />
      )}
      {!items && !list.trouble && <Loading trans={trans} />}
      {items?.length === 0 && !list.trouble && empty}
      {items && items.length > 0 && (
        <Listbox
          label={label}
          items={items.map(item => ({ ...item, name: nameOf(item) }))}
          choice={choice}
          trans={trans}
          render={render}
          onOpen={id => {
            model.show(id);
          }}
          onDelete={onDelete}
        />
      )}
    </div>
  );
}
