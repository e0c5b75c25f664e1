import { Poll } from '@lumino/polling';

import { ServerEvents } from '../events';
import { ListModel } from '../list';
import { PanelSettings } from '../settings';
import { PanelState } from '../state';
import { ISession, SessionsApi } from './api';
import { SessionDetail } from './open';

/**
 * One's sessions as last seen, and the one that is open.
 */
export class SessionsModel extends ListModel<ISession, SessionDetail> {
  constructor(
    readonly api: SessionsApi,
    events: ServerEvents,
    settings: PanelSettings,
    state: PanelState
  ) {
    super({ load: signal => api.list(signal), kind: 'session', events, state });
    // Memory and leases change without an event.
    this._poll = new Poll({
      name: 'jupyter-mlsvc:sessions',
      auto: false,
      factory: () => this.list.load(),
      frequency: { interval: settings.pollInterval, backoff: false },
      standby: 'when-hidden'
    });
    settings.changed.connect(() => {
      this._poll.frequency = { ...this._poll.frequency, interval: settings.pollInterval };
    }, this);
  }

  override deactivate(): void {
    super.deactivate();
    void this._poll.stop();
  }

  override dispose(): void {
    this._poll.dispose();
    super.dispose();
  }

  protected override detailOf(id: string): SessionDetail {
    return new SessionDetail(this.api, id);
  }

  protected override load(): void {
    void this._poll.refresh();
  }

  private readonly _poll: Poll;
}
