import * as React from 'react';

import { Empty } from '../components';
import { IMlsvc, IPanelView } from '../tokens';

/**
 * Make the tab that lists sessions.
 */
export function createSessionsView({ trans }: IMlsvc): IPanelView {
  return {
    id: 'sessions',
    label: trans.__('Sessions'),
    render: () => <Empty title={trans.__('No sessions')} />,
    activate: () => undefined,
    deactivate: () => undefined,
    refresh: () => Promise.resolve()
  };
}
