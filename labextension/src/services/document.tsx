import { ILayoutRestorer } from '@jupyterlab/application';
import { WidgetTracker } from '@jupyterlab/apputils';
import { ILauncher } from '@jupyterlab/launcher';
import { ReactWidget } from '@jupyterlab/ui-components';
import { IDisposable } from '@lumino/disposable';
import { Message } from '@lumino/messaging';
import * as React from 'react';

import { Catalogue } from '../calls/catalogue';
import { Empty, harmless, Loading, Trouble, useSignal } from '../components';
import { groupByName, idOf, IVersionKey } from '../calls/rows';
import { LANGUAGES } from '../calls/snippets';
import { Version } from '../calls/version';
import { servicesIcon } from '../icon';
import { IMlsvc } from '../tokens';
import { ServicesModel } from './model';

/**
 * What a tab of the main area shows: a version, or all services.
 */
type Shown = IVersionKey | null;

/**
 * Services in the main area, by the same components as on the page for callers.
 *
 * The server is watched while the tab can be seen.
 */
class ServicesDocument extends ReactWidget {
  constructor(
    readonly shown: Shown,
    private readonly _model: ServicesModel,
    private readonly _mlsvc: IMlsvc,
    private readonly _open: (shown: Shown) => void
  ) {
    super();
    this.addClass('jp-Mlsvc');
    this.addClass('jp-MlsvcMain');
    this.node.tabIndex = -1;
  }

  override dispose(): void {
    this._watching?.dispose();
    super.dispose();
  }

  protected override onAfterShow(message: Message): void {
    super.onAfterShow(message);
    this._watching ??= this._model.watch();
  }

  protected override onAfterAttach(message: Message): void {
    super.onAfterAttach(message);
    if (this.isVisible) {
      this._watching ??= this._model.watch();
    }
  }

  protected override onActivateRequest(): void {
    if (!this.node.contains(document.activeElement)) {
      this.node.focus();
    }
  }

  protected override onAfterHide(message: Message): void {
    super.onAfterHide(message);
    this._watching?.dispose();
    this._watching = null;
  }

  protected override onBeforeDetach(message: Message): void {
    super.onBeforeDetach(message);
    this._watching?.dispose();
    this._watching = null;
  }

  protected render(): React.ReactElement {
    return <Main shown={this.shown} model={this._model} mlsvc={this._mlsvc} onOpen={this._open} />;
  }

  private _watching: IDisposable | null = null;
}

function Main(props: {
  shown: Shown;
  model: ServicesModel;
  mlsvc: IMlsvc;
  onOpen: (shown: Shown) => void;
}): React.ReactElement {
  const { shown, model, mlsvc, onOpen } = props;
  const { trans } = mlsvc;
  useSignal(model.changed);
  const { value, trouble } = model.list;
  const notice = trouble && (
    <Trouble trouble={trouble} trans={trans} onRetry={() => void model.refresh()} />
  );
  if (!value) {
    return notice ?? <Loading trans={trans} />;
  }
  return (
    <main>
      {notice}
      {shown ? (
        <Opened shown={shown} model={model} mlsvc={mlsvc} onOpen={onOpen} />
      ) : (
        <Catalogue
          services={value}
          trans={trans}
          renderLink={(name, text) => (
            <button
              type="button"
              className="jp-Mlsvc-link"
              onClick={() => {
                const [newest] = groupByName(value.filter(each => each.name === name));
                onOpen(newest?.versions[0] ?? null);
              }}
            >
              {text}
            </button>
          )}
        />
      )}
    </main>
  );
}

function Opened(props: {
  shown: IVersionKey;
  model: ServicesModel;
  mlsvc: IMlsvc;
  onOpen: (shown: Shown) => void;
}): React.ReactElement {
  const { shown, model, mlsvc, onOpen } = props;
  const { requests, status, trans } = mlsvc;
  const { name, version } = shown;
  const service = model.find(shown);
  if (!service) {
    return (
      <Empty title={trans.__('“%1” has no version “%2”', harmless(name), harmless(version))}>
        <p>{trans.__('It was deleted, or you may not see it.')}</p>
      </Empty>
    );
  }
  const [group] = groupByName(model.list.value?.filter(each => each.name === name) ?? []);
  const figures = model.statistics.value?.get(idOf(shown));
  const address = `${requests.url}/api/${encodeURIComponent(name)}/${encodeURIComponent(version)}`;
  return (
    <Version
      service={service}
      versions={group?.versions ?? [service]}
      form={model.form(service)}
      api={model.api}
      trans={trans}
      callUrl={status.callUrl}
      languages={LANGUAGES}
      maySeeFigures={status.user !== null && status.user.role !== 'caller'}
      seen={JSON.stringify(figures)}
      documents={
        <>
          <a href={`${address}/openapi.json`} target="_blank" rel="noreferrer">
            {trans.__('OpenAPI 3.1')}
          </a>
          <a href={`${address}/swagger.json`} target="_blank" rel="noreferrer">
            {trans.__('Swagger 2.0')}
          </a>
        </>
      }
      onVersion={chosen => {
        onOpen({ name, version: chosen });
      }}
    />
  );
}

/**
 * Opens services in tabs of the main area, each version in one, and finds them again after a reload.
 */
export class ServiceTabs {
  constructor(
    private readonly _mlsvc: IMlsvc,
    private readonly _model: ServicesModel
  ) {}

  /**
   * Bring back what was open before the page was loaded.
   */
  restore(restorer: ILayoutRestorer, command: string): void {
    void restorer.restore(this._tracker, {
      command,
      args: ({ shown }) => (shown ? { ...shown } : { all: true }),
      name: ({ shown }) => (shown ? idOf(shown) : 'all')
    });
  }

  /**
   * Open a version, or with null all services, or come back to the tab where it is open.
   */
  open(key: Shown): void {
    const shown = key && { name: key.name, version: key.version };
    const { app, trans } = this._mlsvc;
    const id = `jupyter-mlsvc-document-${shown ? idOf(shown) : ''}`;
    let widget = this._tracker.find(each => each.id === id);
    if (!widget) {
      const open = (other: Shown): void => {
        this.open(other);
      };
      // The main area disposes of it when it is closed.
      // eslint-disable-next-line jupyter/require-disposable-ownership
      widget = new ServicesDocument(shown, this._model, this._mlsvc, open);
      widget.id = id;
      widget.title.label = shown
        ? `${harmless(shown.name)} ${harmless(shown.version)}`
        : trans.__('ML Services');
      widget.title.caption = widget.title.label;
      widget.title.icon = servicesIcon;
      widget.title.closable = true;
      void this._tracker.add(widget);
      app.shell.add(widget, 'main');
    }
    app.shell.activateById(id);
  }

  private readonly _tracker = new WidgetTracker<ServicesDocument>({
    namespace: 'jupyter-mlsvc'
  });
}

/**
 * Offer all services among what the launcher opens.
 */
export function addCard(launcher: ILauncher, command: string, { trans }: IMlsvc): void {
  launcher.add({ command, args: { all: true }, category: trans.__('Other'), rank: 3 });
}
