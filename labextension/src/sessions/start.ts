import { Dialog, showDialog } from '@jupyterlab/apputils';
import { TranslationBundle } from '@jupyterlab/translation';
import { Message } from '@lumino/messaging';
import { Widget } from '@lumino/widgets';

/**
 * Languages by the names that servers know them by; one that has none of them says how to get it.
 */
const RUNTIMES = ['Python', 'R'] as const;

/**
 * A session to start.
 */
export interface IWantedSession {
  name: string;
  runtimeType?: string;
}

/**
 * Ask for the name and the language of a session; null if none is to be started.
 *
 * @param taken - Names that other sessions have; none of them is proposed.
 * @param runtimeType - The language that is chosen at first.
 */
export async function askForSession(
  trans: TranslationBundle,
  taken: readonly string[],
  runtimeType: string = RUNTIMES[0]
): Promise<IWantedSession | null> {
  const { button, value } = await showDialog({
    title: trans.__('Start a session'),
    body: new SessionFields(trans, freeName(taken), runtimeType),
    buttons: [
      Dialog.cancelButton({ label: trans.__('Cancel') }),
      Dialog.okButton({ label: trans.__('Start') })
    ],
    focusNodeSelector: 'input'
  });
  return button.accept && value ? value : null;
}

class SessionFields extends Widget implements Dialog.IBodyWidget<IWantedSession> {
  constructor(trans: TranslationBundle, name: string, runtimeType: string) {
    super();
    this.addClass('jp-MlsvcSessions-fields');
    this._name.className = 'jp-mod-styled';
    this._name.value = this._proposed = name;
    this._runtime.className = 'jp-mod-styled';
    this._runtime.replaceChildren(...RUNTIMES.map(name => new Option(name, name)));
    this._runtime.value = runtimeType;
    this.node.append(
      labelled(trans.__('Its name'), this._name),
      labelled(trans.__('Its language'), this._runtime)
    );
  }

  getValue(): IWantedSession {
    const name = this._name.value.trim() || this._proposed;
    return { name, runtimeType: this._runtime.value };
  }

  protected override onAfterAttach(message: Message): void {
    super.onAfterAttach(message);
    this._name.select();
  }

  private readonly _proposed: string;
  private readonly _name = document.createElement('input');
  private readonly _runtime = document.createElement('select');
}

function freeName(taken: readonly string[]): string {
  let number = 1;
  while (taken.includes(`session-${number}`)) {
    number += 1;
  }
  return `session-${number}`;
}

function labelled(text: string, field: HTMLElement): HTMLLabelElement {
  const label = document.createElement('label');
  label.append(text, field);
  return label;
}
