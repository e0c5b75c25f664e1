import * as React from 'react';

/**
 * An icon as JupyterLab's are, as far as it is needed here.
 */
export interface IIcon {
  react: (props: { tag?: 'span'; 'aria-hidden'?: 'true' }) => React.ReactNode;
}

/**
 * Two sheets, one over the other.
 */
export const copyIcon: IIcon = {
  react: () => (
    <span aria-hidden="true">
      <svg width="16" height="16" viewBox="0 0 16 16" fill="none" stroke="currentColor">
        <path d="M10.5 2.5v-1h-8v10h1M5.5 4.5h8v10h-8z" />
      </svg>
    </span>
  )
};
