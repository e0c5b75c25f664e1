import { TranslationBundle } from '@jupyterlab/translation';
import { ReactWidget, refreshIcon } from '@jupyterlab/ui-components';
import { IDisposable } from '@lumino/disposable';
import { Message } from '@lumino/messaging';
import * as React from 'react';

import { Command, IconButton, INSTALL, Tabs, useSignal } from './components';
import { ServerEvents } from './events';
import { servicesIcon } from './icon';
import { PanelState } from './state';
import { IUser, ServerStatus } from './status';
import { IPanelView, PANEL_ID } from './tokens';

const VIEW = 'view';

/**
 * What the frame of the panel is made of.
 */
export interface IPanelOptions {
  trans: TranslationBundle;
  status: ServerStatus;
  events: ServerEvents;
  state: PanelState;
}

/**
 * The side panel: a frame around views, of which one is seen at a time.
 *
 * The view that is seen is active while the panel is visible, and only then are the server's
 * events watched.
 */
export class MlsvcPanel extends ReactWidget {
  constructor(private readonly _options: IPanelOptions) {
    super();
    const { trans, state, status } = this._options;
    this.id = PANEL_ID;
    this.addClass('jp-Mlsvc');
    this.title.icon = servicesIcon;
    this.title.caption = trans.__('ML Services');
    this.node.setAttribute('role', 'region');
    this.node.setAttribute('aria-label', trans.__('ML Services'));
    void state.restored.then(() => {
      this._isRestored = true;
      this._follow();
      this.update();
    });
    status.changed.connect(() => {
      this.update();
    });
  }

  /**
   * Add a tab after those that are there.
   */
  addView(view: IPanelView): void {
    this._views.push(view);
    this._follow();
    this.update();
  }

  /**
   * The view whose tab is selected.
   */
  get view(): IPanelView | undefined {
    const id = this._options.state.get(VIEW, '');
    return this._views.find(view => view.id === id) ?? this._views[0];
  }

  /**
   * Select a tab.
   */
  select(id: string): void {
    this._options.state.set(VIEW, id);
    this._follow();
    this.update();
  }

  /**
   * Load again what is seen.
   */
  async refresh(): Promise<void> {
    await Promise.all([this._options.status.check(), this.view?.refresh()]);
  }

  override dispose(): void {
    this._isGone = true;
    this._follow();
    for (const view of this._views) {
      view.dispose?.();
    }
    super.dispose();
  }

  protected override onAfterAttach(message: Message): void {
    super.onAfterAttach(message);
    this._follow();
  }

  protected override onBeforeDetach(message: Message): void {
    super.onBeforeDetach(message);
    this._watching?.dispose();
    this._watching = null;
  }

  protected override onAfterShow(message: Message): void {
    super.onAfterShow(message);
    this._follow();
  }

  protected override onAfterHide(message: Message): void {
    super.onAfterHide(message);
    this._follow();
  }

  protected render(): React.ReactElement {
    const { trans, status } = this._options;
    const { view } = this;
    return (
      <>
        <Header
          trans={trans}
          status={status}
          onRefresh={() => {
            void this.refresh();
          }}
        />
        <Tabs
          prefix={PANEL_ID}
          label={trans.__('What is on the server')}
          tabs={this._views}
          selected={view?.id ?? ''}
          onSelect={id => {
            this.select(id);
          }}
        />
        <div
          className="jp-Mlsvc-view"
          id={`${PANEL_ID}-panel`}
          role="tabpanel"
          aria-labelledby={view && `${PANEL_ID}-tab-${view.id}`}
          data-view={view?.id}
        >
          {this._isRestored && <React.Fragment key={view?.id}>{view?.render()}</React.Fragment>}
        </div>
      </>
    );
  }

  /**
   * Activate what is seen, and that alone.
   */
  private _follow(): void {
    const isSeen = !this._isGone && this.isAttached && this.isVisible && this._isRestored;
    const seen = isSeen ? this.view : undefined;
    if (seen === this._active) {
      return;
    }
    this._active?.deactivate();
    this._active = seen;
    if (seen) {
      this._watching ??= this._options.events.watch();
      seen.activate();
    } else {
      this._watching?.dispose();
      this._watching = null;
    }
  }

  private readonly _views: IPanelView[] = [];
  private _active: IPanelView | undefined;
  private _watching: IDisposable | null = null;
  private _isRestored = false;
  private _isGone = false;
}

function Header(props: {
  trans: TranslationBundle;
  status: ServerStatus;
  onRefresh: () => void;
}): React.ReactElement {
  const { trans, status, onRefresh } = props;
  useSignal(status.changed);
  const { user, otherVersion } = status;
  return (
    <>
      <div className="jp-Mlsvc-header">
        <h2 className="jp-Mlsvc-title">{trans.__('ML Services')}</h2>
        {user && (
          <span
            className="jp-Mlsvc-user"
            title={[
              trans.__('Signed in as %1 (%2)', user.name, user.role),
              confinementOf(user, trans)
            ]
              .filter(Boolean)
              .join('\n')}
          >
            {user.name}
          </span>
        )}
        <IconButton icon={refreshIcon} label={trans.__('Refresh')} onClick={onRefresh} />
      </div>
      {otherVersion !== null && (
        <div className="jp-Mlsvc-notice jp-mod-warning" role="alert">
          <p className="jp-Mlsvc-noticeTitle">
            {otherVersion
              ? trans.__(
                  'The panel is of version %1, the server of %2',
                  status.version,
                  otherVersion
                )
              : trans.__('The server is older than this panel (%1)', status.version)}
          </p>
          <p>
            {trans.__(
              'Some things may not work. Update the older of the two, restart Jupyter and reload this page:'
            )}
          </p>
          <Command command={INSTALL.split('\n')[0] ?? ''} />
        </div>
      )}
    </>
  );
}

/**
 * How code is confined that the user runs; empty for who runs none.
 */
function confinementOf({ confinement }: IUser, trans: TranslationBundle): string {
  switch (confinement) {
    case undefined:
    case '':
      return '';
    case 'none':
      return trans.__('Nothing keeps code of sessions and services from the files of the server');
    default:
      return trans.__('Code of sessions and services is confined at level %1', confinement);
  }
}
