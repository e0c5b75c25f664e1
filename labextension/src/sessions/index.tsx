import * as React from 'react';

import { IMlsvc, IPanelView } from '../tokens';
import { SessionsApi } from './api';
import { addSessionCommands } from './commands';
import { SessionsModel } from './model';
import { SESSIONS_VIEW } from './tokens';
import { Sessions } from './view';

/**
 * Make the tab that lists sessions.
 */
export function createSessionsView(mlsvc: IMlsvc): IPanelView {
  const { requests, events, settings, state, trans } = mlsvc;
  const model = new SessionsModel(new SessionsApi(requests), events, settings, state);
  addSessionCommands(mlsvc, model);
  return {
    id: SESSIONS_VIEW,
    label: trans.__('Sessions'),
    render: () => <Sessions model={model} mlsvc={mlsvc} />,
    activate: () => {
      model.activate();
    },
    deactivate: () => {
      model.deactivate();
    },
    refresh: () => model.refresh()
  };
}
