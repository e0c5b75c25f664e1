import { TranslationBundle } from '@jupyterlab/translation';
import { caretDownIcon, caretRightIcon } from '@jupyterlab/ui-components';
import * as React from 'react';

import { focusTabStop, harmless, RelativeTime, useKeptFocus, useSignal } from '../components';
import { targetOf } from '../list/keys';
import { IServiceStatistics, IServiceVersion } from '../calls/api';
import { Figures, lookOf, StateDot } from '../calls/figures';
import { ServicesModel } from './model';
import { idOf, IVersionKey, Row } from '../calls/rows';
import { useScroll, windowOf } from './window';

/**
 * Heights of rows, in sizes of the font; one and two lines of text.
 */
const SERVICE_HEIGHT = 2.2;
const VERSION_HEIGHT = 3.6;

/**
 * The services and their versions as a tree, by the keyboard pattern of WAI-ARIA.
 *
 * Only the rows in sight are drawn, and the one that has the focus.
 */
export function ServiceTree(props: {
  model: ServicesModel;
  trans: TranslationBundle;
  onOpen: (key: IVersionKey) => void;
  onOpenTab: (key: IVersionKey) => void;
}): React.ReactElement {
  const { model, trans, onOpen, onOpenTab } = props;
  useSignal(model.changed);
  const tree = React.useRef<HTMLDivElement>(null);
  const scroll = useScroll(tree);
  const { rows } = model;
  const heights = rows.map(row =>
    Math.round(scroll.fontSize * (row.kind === 'version' ? VERSION_HEIGHT : SERVICE_HEIGHT))
  );
  const { first, end, height, top } = windowOf(heights, scroll.scrollTop, scroll.height);
  const focused = Math.max(
    0,
    rows.findIndex(row => row.id === model.focused)
  );

  React.useLayoutEffect(() => {
    // Coming back from a version that was open, the list is where it was left.
    scrollTo(tree.current, top(focused), heights[focused] ?? 0);
    if (model.takeFocus()) {
      focusTabStop(tree.current);
    }
  }, []);

  const keptFocus = useKeptFocus(tree);
  const isMoving = React.useRef(false);
  React.useLayoutEffect(() => {
    // A key led to another row.
    if (isMoving.current) {
      focusTabStop(tree.current);
    }
    isMoving.current = false;
  });

  const moveTo = (index: number): void => {
    const row = rows[index];
    if (!row) {
      return;
    }
    model.focused = row.id;
    scrollTo(tree.current, top(index), heights[index] ?? 0);
    isMoving.current = true;
  };
  const drawn = [...rows.keys()].filter(i => (i >= first && i < end) || i === focused);
  return (
    <div
      className="jp-Mlsvc-tree"
      role="tree"
      aria-label={trans.__('Services')}
      aria-multiselectable="true"
      ref={tree}
      {...keptFocus}
      onKeyDown={event => {
        handleKey(event, { model, rows, focused, moveTo, onOpen, onOpenTab });
      }}
    >
      <div role="presentation" style={{ height, position: 'relative' }}>
        {drawn.map(i => {
          const row = rows[i];
          return (
            row && (
              <TreeRow
                key={row.id}
                row={row}
                statistics={
                  row.kind === 'version' ? model.statistics.value?.get(row.id) : undefined
                }
                isTabStop={i === focused}
                isSelected={model.selected.has(row.id)}
                style={{ top: top(i), height: heights[i] }}
                model={model}
                trans={trans}
                onOpen={onOpen}
              />
            )
          );
        })}
      </div>
    </div>
  );
}

interface ITreeRowProps {
  row: Row;
  statistics: IServiceStatistics | undefined;
  isTabStop: boolean;
  isSelected: boolean;
  style: React.CSSProperties;
  model: ServicesModel;
  trans: TranslationBundle;
  onOpen: (key: IVersionKey) => void;
}

function TreeRow(props: ITreeRowProps): React.ReactElement {
  const { row, statistics, isTabStop, isSelected, style, model, trans } = props;
  const common = {
    role: 'treeitem',
    tabIndex: isTabStop ? 0 : -1,
    'aria-level': row.place.level,
    'aria-posinset': row.place.position,
    'aria-setsize': row.place.size,
    'data-service': row.group.name,
    style,
    onFocus: () => {
      model.focused = row.id;
    },
    onContextMenu: () => {
      model.focused = row.id;
      if (!model.selected.has(row.id)) {
        model.select([]);
      }
    }
  } as const;
  if (row.kind !== 'version') {
    return (
      <div
        {...common}
        className={`jp-Mlsvc-row jp-mod-${row.kind}`}
        aria-expanded={row.isExpanded}
        onClick={() => {
          fold(model, row, row.isExpanded);
        }}
      >
        {row.kind === 'service' ? (
          <ServiceLine {...props} row={row} />
        ) : (
          <OlderLine {...props} row={row} />
        )}
      </div>
    );
  }
  const classes = ['jp-Mlsvc-row', 'jp-mod-version', `jp-mod-${lookOf(row.service, statistics)}`];
  if (isSelected) {
    classes.push('jp-mod-selected');
  }
  return (
    <div
      {...common}
      className={classes.join(' ')}
      aria-selected={isSelected}
      data-version={row.service.version}
      title={titleOf(row, trans)}
      onClick={event => {
        if (event.ctrlKey || event.metaKey) {
          model.toggle(row.id);
        } else if (event.shiftKey) {
          selectUpTo(model, row.id);
        } else {
          props.onOpen(row.service);
        }
      }}
    >
      <VersionLines {...props} row={row} />
    </div>
  );
}

/**
 * Show what is beneath a line, or hide it.
 */
function fold(model: ServicesModel, row: Row, isFolded: boolean): void {
  if (row.kind === 'service') {
    model.setCollapsed(row.group.name, isFolded);
  } else if (row.kind === 'older') {
    model.setOlderUnfolded(row.group.name, !isFolded);
  }
}

/**
 * How many of versions that are out of sight fail; nothing where all is well.
 */
function Failing(props: {
  model: ServicesModel;
  versions: readonly IServiceVersion[];
  trans: TranslationBundle;
}): React.ReactElement | null {
  const { model, versions, trans } = props;
  const count = versions.filter(
    version => model.statistics.value?.get(idOf(version))?.state === 'failing'
  ).length;
  return count === 0 ? null : (
    <span className="jp-Mlsvc-errors">{trans._n('%1 failing', '%1 failing', count)}</span>
  );
}

function OlderLine(props: {
  row: Extract<Row, { kind: 'older' }>;
  model: ServicesModel;
  trans: TranslationBundle;
}): React.ReactElement {
  const { row, model, trans } = props;
  const Caret = row.isExpanded ? caretDownIcon : caretRightIcon;
  const older = row.group.versions.slice(1);
  return (
    <>
      <Caret.react tag="span" className="jp-Mlsvc-caret" aria-hidden="true" />
      <span className="jp-Mlsvc-older">
        {trans._n('%1 older version', '%1 older versions', older.length)}
      </span>
      {!row.isExpanded && <Failing model={model} versions={older} trans={trans} />}
    </>
  );
}

function ServiceLine(props: {
  row: Extract<Row, { kind: 'service' }>;
  model: ServicesModel;
  trans: TranslationBundle;
}): React.ReactElement {
  const { row, model, trans } = props;
  const Caret = row.isExpanded ? caretDownIcon : caretRightIcon;
  const count = row.group.versions.length;
  const { tags = [] } = row.group.versions[0] ?? {};
  return (
    <>
      <Caret.react tag="span" className="jp-Mlsvc-caret" aria-hidden="true" />
      <span className="jp-Mlsvc-name" title={row.group.name}>
        {row.group.name}
      </span>
      {tags.length > 0 && (
        <span
          className="jp-Mlsvc-tagLine"
          title={trans.__('Tags: %1', tags.map(harmless).join(', '))}
        >
          {tags.map(tag => (
            <span key={tag} className="jp-Mlsvc-tag">
              {harmless(tag)}
            </span>
          ))}
        </span>
      )}
      {!row.isExpanded && (
        <>
          <Failing model={model} versions={row.group.versions} trans={trans} />
          <span className="jp-Mlsvc-aside">{trans._n('%1 version', '%1 versions', count)}</span>
        </>
      )}
    </>
  );
}

function VersionLines(
  props: Omit<ITreeRowProps, 'row'> & { row: Extract<Row, { kind: 'version' }> }
): React.ReactElement {
  const { row, statistics, isSelected, model, trans } = props;
  const { service } = row;
  const by = harmless(service.versionPublishedBy ?? '');
  const description = oneLine(service.description);
  return (
    <>
      <span
        className="jp-Mlsvc-check"
        aria-hidden="true"
        title={trans.__('Select')}
        onClick={event => {
          event.stopPropagation();
          model.toggle(row.id);
        }}
      >
        <input type="checkbox" tabIndex={-1} checked={isSelected} readOnly />
      </span>
      <span className="jp-Mlsvc-lines">
        <span className="jp-Mlsvc-line">
          <StateDot service={service} statistics={statistics} trans={trans} />
          <span className="jp-Mlsvc-versionName">{service.version}</span>
          <Figures service={service} statistics={statistics} trans={trans} />
        </span>
        <span className="jp-Mlsvc-line jp-mod-second">
          <span className="jp-Mlsvc-description">
            {description || [by, service.runtimeType].filter(Boolean).join(', ')}
          </span>
          <span className="jp-Mlsvc-aside">
            {description && by && <span className="jp-Mlsvc-by">{by}, </span>}
            <RelativeTime time={service.creationTime} trans={trans} />
          </span>
        </span>
      </span>
    </>
  );
}

/**
 * Write a description so that it cannot pass for the lines beside it.
 */
function oneLine(description: string | null | undefined): string {
  return harmless((description ?? '').replace(/\s+/gu, ' '));
}

function titleOf(row: Extract<Row, { kind: 'version' }>, trans: TranslationBundle): string {
  const { service } = row;
  return [
    `${service.name} ${service.version}`,
    oneLine(service.description),
    service.versionPublishedBy && trans.__('Published by %1', harmless(service.versionPublishedBy)),
    service.runtimeType && trans.__('Runtime: %1', service.runtimeType)
  ]
    .filter(Boolean)
    .join('\n');
}

interface ITreeActions {
  model: ServicesModel;
  rows: readonly Row[];
  focused: number;
  moveTo: (index: number) => void;
  onOpen: (key: IVersionKey) => void;
  onOpenTab: (key: IVersionKey) => void;
}

function handleKey(event: React.KeyboardEvent, actions: ITreeActions): void {
  const { model, rows, focused, moveTo, onOpen, onOpenTab } = actions;
  const row = rows[focused];
  if (!row || event.altKey) {
    return;
  }
  const isControl = event.ctrlKey || event.metaKey;
  const target = targetOf(event.key, rows, focused, nameOf);
  if (isControl && event.key.toLowerCase() === 'a') {
    model.select(versionsOf(rows));
  } else if (isControl) {
    return;
  } else if (target !== null) {
    if (event.shiftKey && rows[target]?.kind === 'version') {
      model.select([...model.selected, ...versionsOf([row, rows[target]])]);
    }
    moveTo(target);
  } else if (event.key === 'ArrowRight' && row.kind !== 'version') {
    if (row.isExpanded) {
      moveTo(focused + 1);
    } else {
      fold(model, row, false);
    }
  } else if (event.key === 'ArrowLeft') {
    if (row.kind !== 'version' && row.isExpanded) {
      fold(model, row, true);
    } else if (row.place.level > 1) {
      // To the line that it is beneath; the places of what is beneath it count from there.
      moveTo(focused - row.place.position);
    }
  } else if (event.key === 'Enter' && row.kind === 'version') {
    onOpenTab(row.service);
  } else if (event.key === 'ArrowRight' && row.kind === 'version') {
    onOpen(row.service);
  } else if (event.key === ' ' && row.kind === 'version') {
    model.toggle(row.id);
  } else if ((event.key === 'Enter' || event.key === ' ') && row.kind !== 'version') {
    fold(model, row, row.isExpanded);
  } else if (event.key === 'Escape' && model.selected.size > 0) {
    model.select([]);
  } else {
    return;
  }
  event.preventDefault();
  event.stopPropagation();
}

/**
 * What a letter leads to: services, by their names.
 */
function nameOf(row: Row): string {
  return row.kind === 'service' ? row.id : '';
}

function versionsOf(rows: readonly Row[]): string[] {
  return rows.flatMap(({ kind, id }) => (kind === 'version' ? id : []));
}

function selectUpTo(model: ServicesModel, id: string): void {
  const { rows } = model;
  const ends = [model.focused, id].map(end => rows.findIndex(row => row.id === end));
  const [from = 0, to = 0] = ends.sort((left, right) => left - right);
  model.select(versionsOf(rows.slice(Math.max(0, from), to + 1)));
}

function scrollTo(element: HTMLElement | null, top: number, height: number): void {
  if (!element) {
    return;
  }
  if (top < element.scrollTop) {
    element.scrollTop = top;
  } else if (top + height > element.scrollTop + element.clientHeight) {
    element.scrollTop = top + height - element.clientHeight;
  }
}
