import * as React from 'react';

import { IIcon } from './icons';

type ButtonProps = React.ButtonHTMLAttributes<HTMLButtonElement>;

/**
 * A button that shows an icon only; the label is its accessible name and its tooltip.
 */
export function IconButton(
  props: ButtonProps & { icon: IIcon; label: string }
): React.ReactElement {
  const { icon: Icon, label, className = '', ...rest } = props;
  return (
    <button
      type="button"
      title={label}
      aria-label={label}
      {...rest}
      className={`jp-Mlsvc-iconButton ${className}`}
    >
      <Icon.react tag="span" aria-hidden="true" />
    </button>
  );
}

/**
 * A button with words; `kind` says how much it matters.
 */
export function Button(
  props: ButtonProps & { kind?: 'plain' | 'accept' | 'warn' }
): React.ReactElement {
  const { kind = 'plain', className = '', ...rest } = props;
  return (
    <button
      type="button"
      {...rest}
      className={`jp-Mlsvc-button jp-mod-styled jp-mod-${kind} ${className}`}
    />
  );
}
