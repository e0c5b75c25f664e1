import { TranslationBundle } from '@jupyterlab/translation';
import { LabIcon } from '@jupyterlab/ui-components';
import * as React from 'react';

import { formatBytes, IconButton } from '../components';
import { backIcon } from './icon';

/**
 * The page of one item: a way back, its name, and what can be done with it.
 */
export function Detail(props: {
  title: string;
  back: string;
  trans: TranslationBundle;
  actions: React.ReactNode;
  children: React.ReactNode;
  onBack: () => void;
}): React.ReactElement {
  const { title, back, trans, actions, children, onBack } = props;
  const heading = React.useRef<HTMLHeadingElement>(null);
  // What was focused in the list is gone; what was opened is read aloud, and Escape leads back.
  React.useEffect(() => {
    // Elsewhere, such as on a tab that arrow keys led to, the focus stays.
    if (!document.activeElement || document.activeElement === document.body) {
      heading.current?.focus();
    }
  }, []);
  return (
    <section
      className="jp-MlsvcDetail"
      aria-label={title}
      onKeyDown={event => {
        if (event.key === 'Escape' && !event.defaultPrevented) {
          event.preventDefault();
          event.stopPropagation();
          onBack();
        }
      }}
    >
      <div className="jp-MlsvcDetail-header">
        <IconButton icon={backIcon} label={back} onClick={onBack} />
        <h3 className="jp-MlsvcDetail-title" tabIndex={-1} ref={heading} title={title}>
          {title}
        </h3>
        <div role="toolbar" aria-label={trans.__('Actions')} className="jp-MlsvcDetail-actions">
          {actions}
        </div>
      </div>
      {children}
    </section>
  );
}

/**
 * Names and values, such as size and age; those without a value are left out.
 */
export function Facts(props: {
  facts: readonly (readonly [string, React.ReactNode])[];
}): React.ReactElement {
  return (
    <dl className="jp-MlsvcDetail-facts">
      {props.facts
        .filter(([, value]) => value !== null && value !== undefined && value !== '')
        .map(([name, value]) => (
          <React.Fragment key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </React.Fragment>
        ))}
    </dl>
  );
}

/**
 * A part of a page that can be folded.
 */
export function Section(props: {
  title: string;
  count?: number | undefined;
  isOpen?: boolean;
  children: React.ReactNode;
}): React.ReactElement {
  const { title, count, isOpen = true, children } = props;
  return (
    <details className="jp-MlsvcDetail-section" open={isOpen}>
      <summary>
        <span className="jp-MlsvcDetail-sectionTitle">{title}</span>
        {count !== undefined && <span className="jp-MlsvcDetail-count">{count}</span>}
      </summary>
      {children}
    </details>
  );
}

/**
 * What can be done with the chosen items of a list.
 */
export function SelectionBar(props: {
  count: number;
  trans: TranslationBundle;
  children: React.ReactNode;
  onClear: () => void;
}): React.ReactElement | null {
  const { count, trans, children, onClear } = props;
  return (
    <div className="jp-MlsvcList-bar" role="toolbar" aria-label={trans.__('Selected items')}>
      <span role="status">{count > 0 && trans._n('%1 selected', '%1 selected', count)}</span>
      {count > 0 && (
        <>
          {children}
          <button type="button" className="jp-MlsvcList-link" onClick={onClear}>
            {trans.__('Clear')}
          </button>
        </>
      )}
    </div>
  );
}

/**
 * A column of a table: its title, its share of the width, and whether it holds numbers.
 */
export interface IColumn {
  title: string;
  width: string;
  isNumeric?: boolean;
}

/**
 * A table for a narrow panel; what does not fit into a cell is its tooltip.
 */
export function Table(props: {
  label: string;
  columns: readonly IColumn[];
  rows: readonly { key: string; cells: readonly string[] }[];
}): React.ReactElement {
  const { label, columns, rows } = props;
  const classOf = (column: IColumn | undefined): string | undefined =>
    column?.isNumeric ? 'jp-mod-numeric' : undefined;
  return (
    <table className="jp-MlsvcDetail-table" aria-label={label}>
      <colgroup>
        {columns.map(({ title, width }) => (
          <col key={title} style={{ width }} />
        ))}
      </colgroup>
      <thead>
        <tr>
          {columns.map(column => (
            <th key={column.title} scope="col" className={classOf(column)}>
              {column.title}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {rows.map(({ key, cells }) => (
          <tr key={key}>
            {cells.map((cell, at) => (
              <td key={columns[at]?.title} title={cell} className={classOf(columns[at])}>
                {cell}
              </td>
            ))}
          </tr>
        ))}
      </tbody>
    </table>
  );
}

/**
 * Objects with their types and sizes.
 */
export function ObjectTable(props: {
  label: string;
  objects: readonly { name: string; type: string; size?: number | null }[];
  trans: TranslationBundle;
}): React.ReactElement {
  const { label, objects, trans } = props;
  return (
    <Table
      label={label}
      columns={[
        { title: trans.__('Name'), width: '45%' },
        { title: trans.__('Type'), width: 'auto' },
        { title: trans.__('Size'), width: '5em', isNumeric: true }
      ]}
      rows={objects.map(({ name, type, size }) => ({
        key: name,
        cells: [name, type, typeof size === 'number' ? formatBytes(size) : '']
      }))}
    />
  );
}

/**
 * A button that runs a command.
 */
export interface IAction {
  icon: LabIcon;
  label: string;
  isDisabled?: boolean;
  execute: () => void;
}

/**
 * Buttons for actions.
 */
export function Actions(props: { actions: readonly IAction[] }): React.ReactElement {
  return (
    <>
      {props.actions.map(({ icon, label, isDisabled = false, execute }) => (
        <IconButton
          key={label}
          icon={icon}
          label={label}
          // Not `disabled`: a button that was just pressed would lose the focus.
          aria-disabled={isDisabled}
          onClick={isDisabled ? undefined : execute}
        />
      ))}
    </>
  );
}
