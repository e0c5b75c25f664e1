import { ILayoutRestorer } from '@jupyterlab/application';
import { WidgetTracker } from '@jupyterlab/apputils';
import { ILauncher } from '@jupyterlab/launcher';
import { ReactWidget } from '@jupyterlab/ui-components';
import { IDisposable } from '@lumino/disposable';
import { Message } from '@lumino/messaging';
import * as React from 'react';

import { Catalogue } from '../calls/catalogue';
import { Comparison } from '../calls/compare';
import { useLoaded } from '../calls/load';
import { Button, Empty, harmless, Loading, Trouble, useSignal } from '../components';
import { groupByName, idOf, isChangeable, IVersionKey } from '../calls/rows';
import { LANGUAGES } from '../calls/snippets';
import { Version } from '../calls/version';
import { servicesIcon } from '../icon';
import { IMlsvc } from '../tokens';
import { Batches } from './batches';
import { ServicesModel } from './model';
import { RecentCalls } from './recent';

/**
 * What a tab of the main area shows: a version, two of them side by side, or all services.
 */
type Shown = (IVersionKey & { against?: IVersionKey }) | null;

/**
 * What the name of a tab and its id are made of.
 */
function nameOf(shown: Shown): string {
  return shown ? [idOf(shown), ...(shown.against ? [idOf(shown.against)] : [])].join(' - ') : 'all';
}

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
      {shown?.against ? (
        <Compared left={shown.against} right={shown} model={model} mlsvc={mlsvc} />
      ) : shown ? (
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

/**
 * Two versions side by side, the older one to the left.
 */
function Compared(props: {
  left: IVersionKey;
  right: IVersionKey;
  model: ServicesModel;
  mlsvc: IMlsvc;
}): React.ReactElement {
  const { left, right, model, mlsvc } = props;
  const { trans } = mlsvc;
  const services = [model.find(left), model.find(right)] as const;
  const revisions = services.map(service => service?.snapshotId ?? '');
  const { value } = useLoaded(
    signal =>
      Promise.all(
        // Of another person's it is not told.
        [left, right].map(({ name, version }) =>
          model.api.contents(name, version, signal).catch(() => null)
        )
      ),
    [idOf(left), idOf(right), ...revisions]
  );
  const title = trans.__(
    '%1 and %2',
    harmless(`${left.name} ${left.version}`),
    harmless(right.name === left.name ? right.version : `${right.name} ${right.version}`)
  );
  const [older, newer] = services;
  if (!older || !newer) {
    return <Empty title={trans.__('One of these versions was deleted, or you may not see it')} />;
  }
  if (!value) {
    return <Loading trans={trans} />;
  }
  return (
    <article className="jp-MlsvcDocument" aria-label={title}>
      <h2>{title}</h2>
      <Comparison
        left={{ service: older, contents: value[0] ?? null }}
        right={{ service: newer, contents: value[1] ?? null }}
        trans={trans}
      />
    </article>
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
  const versions = group?.versions ?? [service];
  const previous = versions[versions.indexOf(service) + 1];
  const figures = model.statistics.value?.get(idOf(shown));
  const address = `${requests.url}/api/${encodeURIComponent(name)}/${encodeURIComponent(version)}`;
  return (
    <Version
      service={service}
      versions={versions}
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
      aside={
        previous && (
          <Button
            onClick={() => {
              onOpen({ ...shown, against: previous });
            }}
          >
            {trans.__('Compare with %1', harmless(previous.version))}
          </Button>
        )
      }
      onVersion={chosen => {
        onOpen({ name, version: chosen });
      }}
    >
      {isChangeable(service) && (
        <section aria-label={trans.__('Newest calls')}>
          <h3>{trans.__('Newest calls')}</h3>
          <RecentCalls
            service={service}
            api={model.api}
            seconds={model.pollSeconds}
            onKeepBodies={keepBodies => model.change(service, { keepBodies })}
            trans={trans}
          />
        </section>
      )}
      <section aria-label={trans.__('Batches')}>
        <h3>{trans.__('Batches')}</h3>
        <Batches
          service={service}
          api={model.batches}
          apiUrl={requests.url}
          seconds={model.pollSeconds}
          trans={trans}
        />
      </section>
    </Version>
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
      args: ({ shown }) =>
        shown
          ? {
              name: shown.name,
              version: shown.version,
              ...(shown.against ? { against: idOf(shown.against) } : {})
            }
          : { all: true },
      name: ({ shown }) => nameOf(shown)
    });
  }

  /**
   * Open a version, or with null all services, or come back to the tab where it is open.
   */
  open(key: Shown): void {
    const shown = key && {
      name: key.name,
      version: key.version,
      ...(key.against ? { against: { name: key.against.name, version: key.against.version } } : {})
    };
    const { app, trans } = this._mlsvc;
    const id = `jupyter-mlsvc-document-${nameOf(shown)}`;
    let widget = this._tracker.find(each => each.id === id);
    if (!widget) {
      const open = (other: Shown): void => {
        this.open(other);
      };
      // The main area disposes of it when it is closed.
      // eslint-disable-next-line jupyter/require-disposable-ownership
      widget = new ServicesDocument(shown, this._model, this._mlsvc, open);
      widget.id = id;
      const label = shown && harmless(`${shown.name} ${shown.version}`);
      widget.title.label = !label
        ? trans.__('ML Services')
        : shown.against
          ? trans.__('%1 compared', label)
          : label;
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
