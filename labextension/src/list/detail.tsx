import { TranslationBundle } from '@jupyterlab/translation';
import { LabIcon } from '@jupyterlab/ui-components';
import * as React from 'react';

import { IconButton } from '../components';
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
  // What was opened is read aloud, and Escape leads back.
  React.useEffect(() => {
    heading.current?.focus();
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
      <span role="status">{count > 0 && trans._n('%1 selected', '%1 selected', count, count)}</span>
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
 * Objects as a table: what they are called, of what type and how large they are.
 */
export function Table(props: {
  label: string;
  columns: readonly string[];
  rows: readonly { key: string; cells: readonly React.ReactNode[] }[];
}): React.ReactElement {
  const { label, columns, rows } = props;
  return (
    <table className="jp-MlsvcDetail-table" aria-label={label}>
      <thead>
        <tr>
          {columns.map(column => (
            <th key={column} scope="col">
              {column}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {rows.map(({ key, cells }) => (
          <tr key={key}>
            {cells.map((cell, at) => (
              <td key={columns[at]}>{cell}</td>
            ))}
          </tr>
        ))}
      </tbody>
    </table>
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
        <IconButton key={label} icon={icon} label={label} disabled={isDisabled} onClick={execute} />
      ))}
    </>
  );
}
