import { JupyterFrontEndPlugin } from '@jupyterlab/application';
import { Clipboard, Notification, showErrorMessage } from '@jupyterlab/apputils';
import { INotebookTracker, NotebookPanel } from '@jupyterlab/notebook';
import { TranslationBundle } from '@jupyterlab/translation';

import { IMlsvc } from '../tokens';
import { activate, insertBelow, selectedCode } from './cells';
import { PublishDialog } from './dialog';
import { addExampleCommand } from './example';
import { publishIcon } from './icon';
import { PublishingKernel } from './kernel';
import { PublishModel } from './model';
import { IPublished } from './suggestion';
import { PUBLISH_PLUGIN_ID, PublishCommandIDs } from './tokens';

/**
 * Publishing code of a notebook, from its toolbar, a cell's context menu and the palette.
 */
export const publishPlugin: JupyterFrontEndPlugin<void> = {
  id: PUBLISH_PLUGIN_ID,
  description: 'Publishes code of a notebook as a service.',
  autoStart: true,
  requires: [IMlsvc, INotebookTracker],
  activate: (_app, mlsvc: IMlsvc, tracker: INotebookTracker) => {
    const { app, trans } = mlsvc;
    const { commands } = app;
    const isAtNotebook = (): boolean =>
      tracker.currentWidget !== null && tracker.currentWidget === app.shell.currentWidget;
    mlsvc.addCommand(PublishCommandIDs.publishCell, {
      label: trans.__('Publish Cell as a Service…'),
      caption: trans.__('Publish the code of the active or selected cells as a service'),
      icon: publishIcon,
      isEnabled: isAtNotebook,
      describedBy: {
        args: {
          type: 'object',
          properties: {
            session: {
              type: 'string',
              description: trans.__(
                'Session whose objects the service finds; that of the notebook if left out'
              )
            },
            isContextMenu: {
              type: 'boolean',
              description: trans.__('Whether the cell beneath the context menu is meant')
            }
          }
        }
      },
      execute: async ({ session, isContextMenu }) => {
        if (tracker.currentWidget) {
          if (isContextMenu) {
            const isCell = (node: HTMLElement): boolean => node.classList.contains('jp-Cell');
            activate(tracker.currentWidget.content, app.contextMenuHitTest(isCell));
          }
          await publishFrom(
            tracker.currentWidget,
            mlsvc,
            typeof session === 'string' ? session : undefined
          );
        }
      }
    });
    addExampleCommand(mlsvc, tracker);
    const update = (): void => {
      commands.notifyCommandChanged(PublishCommandIDs.publishCell);
    };
    tracker.currentChanged.connect(update);
    app.shell.currentChanged?.connect(update);
  }
};

async function publishFrom(
  panel: NotebookPanel,
  mlsvc: IMlsvc,
  session: string | undefined
): Promise<void> {
  const { trans } = mlsvc;
  const selected = selectedCode(panel.content);
  if (!selected) {
    await showErrorMessage(
      trans.__('There is no code to publish'),
      trans.__('Select a cell with the code that shall run for each call.')
    );
    return;
  }
  const kernel = panel.sessionContext.session?.kernel;
  const spec = await kernel?.spec.catch(() => undefined);
  if (!kernel || (spec && spec.language.toLowerCase() !== 'python')) {
    await showErrorMessage(
      trans.__('This notebook has no Python kernel'),
      kernel
        ? trans.__(
            'Code of a notebook with the kernel %1 is not published from here. In a notebook of Python, %%remote_exec --runtime R runs cells in R, and %%publish publishes them.',
            kernel.name
          )
        : trans.__('Start its kernel first: it knows what the code reads.')
    );
    return;
  }
  // A dialog disposes of itself when it closes.
  // eslint-disable-next-line jupyter/require-disposable-ownership
  const published = await new PublishDialog(
    new PublishModel(new PublishingKernel(kernel), selected.sources),
    trans
  ).ask(session === undefined ? undefined : { kind: 'session', name: session });
  if (published) {
    insertBelow(panel.content, selected.cellId, published.call);
    tell(published, mlsvc);
  }
}

function tell(published: IPublished, { trans, panel }: IMlsvc): void {
  const { name, version, url } = published;
  const actions = [
    { label: trans.__('Copy Address'), callback: copy(url, trans) },
    {
      label: trans.__('Show It'),
      callback: () => {
        panel.show('services');
      }
    }
  ];
  // What there is to know about it was shown in the dialog.
  Notification.success(trans.__('%1 %2 is published at %3', name, version, url), {
    actions,
    autoClose: 10_000
  });
}

function copy(text: string, trans: TranslationBundle): (event: MouseEvent) => void {
  return event => {
    // The notification stays, for its other action.
    event.preventDefault();
    Clipboard.copyToSystem(text);
    Notification.info(trans.__('The address is copied.'), { autoClose: 2000 });
  };
}
