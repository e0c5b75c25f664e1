import * as React from 'react';

import { Empty } from '../components';
import { IMlsvc, IPanelView } from '../tokens';

/**
 * Make the tab that lists snapshots.
 */
export function createSnapshotsView({ trans }: IMlsvc): IPanelView {
  return {
    id: 'snapshots',
    label: trans.__('Snapshots'),
    render: () => <Empty title={trans.__('No snapshots')} />,
    activate: () => undefined,
    deactivate: () => undefined,
    refresh: () => Promise.resolve()
  };
}
