import * as React from 'react';

import { Navigation } from './place';

/**
 * A link that keeps the page, and with it who is signed in, where nobody asks for a new tab.
 */
export function Link(props: {
  navigation: Navigation;
  to: readonly string[];
  children: React.ReactNode;
}): React.ReactElement {
  const { navigation, to, children } = props;
  const href = navigation.href(...to);
  return (
    <a
      href={href}
      onClick={event => {
        const isPlain = !event.ctrlKey && !event.metaKey && !event.shiftKey && !event.altKey;
        if (event.button === 0 && isPlain) {
          event.preventDefault();
          navigation.go(href);
        }
      }}
    >
      {children}
    </a>
  );
}
