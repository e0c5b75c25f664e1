import * as React from 'react';

import { IMlsvc, IPanelView } from '../tokens';
import { SnapshotsApi } from './api';
import { addSnapshotCommands } from './commands';
import { SnapshotsModel } from './model';
import { SNAPSHOTS_VIEW } from './tokens';
import { Snapshots } from './view';

/**
 * Make the tab that lists snapshots.
 */
export function createSnapshotsView(mlsvc: IMlsvc): IPanelView {
  const { requests, events, state, trans } = mlsvc;
  const model = new SnapshotsModel(new SnapshotsApi(requests), events, state);
  addSnapshotCommands(mlsvc, model);
  return {
    id: SNAPSHOTS_VIEW,
    label: trans.__('Snapshots'),
    render: () => <Snapshots model={model} mlsvc={mlsvc} />,
    activate: () => {
      model.activate();
    },
    deactivate: () => {
      model.deactivate();
    },
    refresh: () => model.refresh()
  };
}
