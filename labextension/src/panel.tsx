import { TranslationBundle } from '@jupyterlab/translation';
import { closeIcon, ReactWidget, refreshIcon, UseSignal } from '@jupyterlab/ui-components';
import { Message } from '@lumino/messaging';
import * as React from 'react';

import { servicesIcon } from './icon';
import { IServiceGroup, ServicesModel } from './model';
import { IServiceVersion } from './service';
import { PANEL_ID } from './tokens';

/**
 * What the panel lets its user do.
 */
export interface IServicesActions {
  refresh: () => void;
  deleteService: (name: string, version: string) => void;
}

/**
 * The side panel: every service with its versions.
 */
export class ServicesPanel extends ReactWidget {
  constructor(
    private readonly _model: ServicesModel,
    private readonly _actions: IServicesActions,
    private readonly _trans: TranslationBundle
  ) {
    super();
    this.id = PANEL_ID;
    this.addClass('jp-Mlsvc');
    this.title.icon = servicesIcon;
    this.title.caption = this._trans.__('ML services');
  }

  override dispose(): void {
    this._model.dispose();
    super.dispose();
  }

  protected override onAfterShow(message: Message): void {
    super.onAfterShow(message);
    this._model.isWatched = true;
    void this._model.refresh();
  }

  protected override onAfterHide(message: Message): void {
    super.onAfterHide(message);
    this._model.isWatched = false;
  }

  protected render(): React.JSX.Element {
    return (
      <UseSignal signal={this._model.changed}>
        {() => <Services model={this._model} actions={this._actions} trans={this._trans} />}
      </UseSignal>
    );
  }
}

function Services(props: {
  model: ServicesModel;
  actions: IServicesActions;
  trans: TranslationBundle;
}): React.JSX.Element {
  const { model, actions, trans } = props;
  const title = trans.__('Refresh the list of services');
  return (
    <>
      <div className="jp-Mlsvc-header">
        <h2>{trans.__('ML services')}</h2>
        <button
          className="jp-Mlsvc-button"
          title={title}
          aria-label={title}
          onClick={actions.refresh}
        >
          <refreshIcon.react tag="span" />
        </button>
      </div>
      {model.error !== null && (
        <p className="jp-Mlsvc-error" role="alert">
          {trans.__('The services could not be listed: %1', model.error)}
        </p>
      )}
      <Status model={model} trans={trans} />
      <ul className="jp-Mlsvc-services">
        {model.groups.map(group => (
          <Service key={group.name} group={group} actions={actions} trans={trans} />
        ))}
      </ul>
    </>
  );
}

function Status(props: { model: ServicesModel; trans: TranslationBundle }): React.JSX.Element {
  const { model, trans } = props;
  let text = '';
  if (!model.isLoaded && model.error === null) {
    text = trans.__('Loading…');
  } else if (model.isLoaded && model.groups.length === 0) {
    text = trans.__('No services yet. Publish one with %publish in a notebook.');
  }
  return (
    <p className="jp-Mlsvc-status" role="status">
      {text}
    </p>
  );
}

function Service(props: {
  group: IServiceGroup;
  actions: IServicesActions;
  trans: TranslationBundle;
}): React.JSX.Element {
  const { group, actions, trans } = props;
  return (
    <li>
      <h3 title={group.name}>{group.name}</h3>
      <ul>
        {group.versions.map(service => (
          <Version key={service.version} service={service} actions={actions} trans={trans} />
        ))}
      </ul>
    </li>
  );
}

function Version(props: {
  service: IServiceVersion;
  actions: IServicesActions;
  trans: TranslationBundle;
}): React.JSX.Element {
  const { service, actions, trans } = props;
  const title = trans.__('Delete %1 %2', service.name, service.version);
  const isOurs = service.myPermissionOnService !== 'read only';
  return (
    <li className="jp-Mlsvc-version" title={details(service, trans)}>
      <span className="jp-Mlsvc-versionName">{service.version}</span>
      <span className="jp-Mlsvc-description">{service.description}</span>
      {isOurs && (
        <button
          className="jp-Mlsvc-button"
          title={title}
          aria-label={title}
          onClick={() => {
            actions.deleteService(service.name, service.version);
          }}
        >
          <closeIcon.react tag="span" />
        </button>
      )}
    </li>
  );
}

function details(service: IServiceVersion, trans: TranslationBundle): string {
  return [
    service.description,
    service.runtimeType && trans.__('Runtime: %1', service.runtimeType),
    service.versionPublishedBy && trans.__('Published by %1', service.versionPublishedBy),
    service.creationTime && trans.__('Created %1 (UTC)', service.creationTime)
  ]
    .filter(Boolean)
    .join('\n');
}
