import * as React from 'react';

/**
 * A tab: its id and its name.
 */
export interface ITab {
  id: string;
  label: string;
}

/**
 * A row of tabs, by the keyboard pattern of WAI-ARIA: one tab stop, arrows, Home and End.
 *
 * The panel of a tab has the id `<prefix>-panel` and is labelled by `<prefix>-tab-<id>`.
 */
export function Tabs(props: {
  prefix: string;
  label: string;
  tabs: readonly ITab[];
  selected: string;
  onSelect: (id: string) => void;
}): React.ReactElement {
  const { prefix, label, tabs, selected, onSelect } = props;
  const list = React.useRef<HTMLDivElement>(null);
  const move = (event: React.KeyboardEvent): void => {
    const at = tabs.findIndex(tab => tab.id === selected);
    const target = {
      ArrowRight: (at + 1) % tabs.length,
      ArrowLeft: (at + tabs.length - 1) % tabs.length,
      Home: 0,
      End: tabs.length - 1
    }[event.key];
    if (target === undefined) {
      return;
    }
    event.preventDefault();
    onSelect(tabs[target]?.id ?? selected);
    (list.current?.children[target] as HTMLElement | undefined)?.focus();
  };
  return (
    <div className="jp-Mlsvc-tabs" role="tablist" aria-label={label} ref={list} onKeyDown={move}>
      {tabs.map(tab => (
        <button
          key={tab.id}
          id={`${prefix}-tab-${tab.id}`}
          className="jp-Mlsvc-tab"
          role="tab"
          type="button"
          aria-selected={tab.id === selected}
          aria-controls={`${prefix}-panel`}
          tabIndex={tab.id === selected ? 0 : -1}
          onClick={() => {
            onSelect(tab.id);
          }}
        >
          {tab.label}
        </button>
      ))}
    </div>
  );
}
