import * as React from 'react';

import { ITrouble } from '../error';
import { Button } from './buttons';
import { ITranslation } from '../translation';

/**
 * What a view shows in place of what it could not load, or above an older state of it.
 */
export function Trouble(props: {
  trouble: ITrouble;
  trans: ITranslation;
  onRetry: () => void;
}): React.ReactElement {
  const { trouble, trans, onRetry } = props;
  const { title, detail, command } = wordsFor(trouble, trans);
  return (
    <div className="jp-Mlsvc-notice jp-mod-trouble" role="alert" data-trouble={trouble.kind}>
      <p className="jp-Mlsvc-noticeTitle">{title}</p>
      {detail && <p>{detail}</p>}
      {command && <Command command={command} />}
      <div className="jp-Mlsvc-noticeActions">
        <Button onClick={onRetry}>{trans.__('Try again')}</Button>
        {trouble.kind === 'signedOut' && (
          <Button
            kind="accept"
            onClick={() => {
              window.location.reload();
            }}
          >
            {trans.__('Reload the page')}
          </Button>
        )}
      </div>
    </div>
  );
}

/**
 * A line for a terminal.
 */
export function Command(props: { command: string }): React.ReactElement {
  return (
    <pre className="jp-Mlsvc-command" tabIndex={0}>
      {props.command}
    </pre>
  );
}

/**
 * What a view shows where there is nothing: why, and what to do.
 */
export function Empty(props: { title: string; children?: React.ReactNode }): React.ReactElement {
  return (
    <div className="jp-Mlsvc-notice jp-mod-empty" role="status">
      <p className="jp-Mlsvc-noticeTitle">{props.title}</p>
      {props.children}
    </div>
  );
}

/**
 * What a view shows until the first answer.
 */
export function Loading(props: { trans: ITranslation; label?: string }): React.ReactElement {
  return (
    <div className="jp-Mlsvc-loading" role="status">
      <span className="jp-Mlsvc-spinner" aria-hidden="true" />
      {props.label ?? props.trans.__('Loading…')}
    </div>
  );
}

interface IWords {
  title: string;
  detail?: string;
  command?: string;
}

function wordsFor({ kind, message }: ITrouble, trans: ITranslation): IWords {
  switch (kind) {
    case 'offline':
      return {
        title: trans.__('The server does not answer'),
        detail: trans.__('It is asked again by itself. What is shown may be out of date.')
      };
    case 'unavailable':
      return { title: trans.__('The server cannot answer now'), detail: message };
    case 'signedOut':
      return { title: trans.__('You are signed out'), detail: message };
    case 'forbidden':
      return { title: trans.__('You may not do this'), detail: message };
    case 'absent':
      return {
        title: trans.__('jupyter-mlsvc does not run in this Jupyter server'),
        detail: trans.__(
          'Install and enable it in the environment of the server, then restart the server:'
        ),
        command: INSTALL
      };
    case 'failed':
      return { title: trans.__('The server reports an error'), detail: message };
  }
}

/**
 * Gets the server extension into the environment that Jupyter runs in.
 */
export const INSTALL =
  "pip install --upgrade 'jupyter-mlsvc[server]'\njupyter server extension enable jupyter_mlsvc_server";
