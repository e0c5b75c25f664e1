import { Dialog, showDialog } from '@jupyterlab/apputils';
import { TranslationBundle } from '@jupyterlab/translation';
import { Widget } from '@lumino/widgets';

import { harmless } from '../components';
import { messageOf } from '../calls/error';
import { IWantedKey } from './keys';
import { IVersionKey } from '../calls/rows';

const DAY = 86_400;

/**
 * What somebody has chosen so far.
 */
interface IChoice {
  note: string;

  /**
   * Days for which the key is good; 0 until it is revoked.
   */
  days: string;
  isForAllVersions: boolean;
  origins: string;
}

/**
 * Ask what a key is to be, and make it; the form comes again with what was wrong.
 *
 * @returns Whether a key was made.
 */
export async function askForKey(
  service: IVersionKey,
  make: (wanted: IWantedKey) => Promise<void>,
  trans: TranslationBundle
): Promise<boolean> {
  let choice: IChoice = { note: '', days: '90', isForAllVersions: false, origins: '' };
  let problem = '';
  for (;;) {
    const { button, value } = await showDialog({
      title: trans.__('Create a key for a caller of %1', harmless(service.name)),
      body: new KeyFields(service, choice, problem, trans),
      buttons: [
        Dialog.cancelButton({ label: trans.__('Cancel') }),
        Dialog.okButton({ label: trans.__('Create') })
      ],
      focusNodeSelector: 'input'
    });
    if (!button.accept || !value) {
      return false;
    }
    choice = value;
    try {
      await make(wantedOf(service, choice));
      return true;
    } catch (error) {
      problem = messageOf(error);
    }
  }
}

function wantedOf({ name, version }: IVersionKey, choice: IChoice): IWantedKey {
  const days = Number(choice.days);
  return {
    services: [choice.isForAllVersions ? name : `${name}/${version}`],
    note: choice.note.trim(),
    expiresInSeconds: days > 0 ? days * DAY : null,
    origins: choice.origins.split(/[\s,]+/).filter(Boolean)
  };
}

class KeyFields extends Widget implements Dialog.IBodyWidget<IChoice> {
  constructor(
    { version }: IVersionKey,
    choice: IChoice,
    problem: string,
    trans: TranslationBundle
  ) {
    super();
    this.addClass('jp-Mlsvc-keyFields');
    for (const field of [this._note, this._days, this._versions, this._origins]) {
      field.className = 'jp-mod-styled';
    }
    this._note.maxLength = 200;
    this._note.value = choice.note;
    this._note.placeholder = trans.__('Who calls, and what for');
    this._days.replaceChildren(
      new Option(trans.__('30 days'), '30'),
      new Option(trans.__('90 days'), '90'),
      new Option(trans.__('A year'), '365'),
      new Option(trans.__('Until it is revoked'), '0')
    );
    this._days.value = choice.days;
    this._versions.replaceChildren(
      new Option(trans.__('Version %1', harmless(version)), ''),
      new Option(trans.__('All versions, later ones as well'), 'all')
    );
    this._versions.value = choice.isForAllVersions ? 'all' : '';
    this._origins.value = choice.origins;
    this._origins.placeholder = trans.__('Such as %1', 'https://app.example.org');
    this._origins.spellcheck = false;
    if (problem) {
      const said = document.createElement('p');
      said.className = 'jp-Mlsvc-keyProblem';
      said.setAttribute('role', 'alert');
      said.textContent = problem;
      this.node.append(said);
    }
    this.node.append(
      labelled(trans.__('Note'), this._note),
      labelled(trans.__('Good for'), this._days),
      labelled(trans.__('Calls'), this._versions),
      labelled(trans.__('From web pages of these origins (optional)'), this._origins)
    );
  }

  getValue(): IChoice {
    return {
      note: this._note.value,
      days: this._days.value,
      isForAllVersions: this._versions.value === 'all',
      origins: this._origins.value
    };
  }

  private readonly _note = document.createElement('input');
  private readonly _days = document.createElement('select');
  private readonly _versions = document.createElement('select');
  private readonly _origins = document.createElement('input');
}

function labelled(text: string, field: HTMLElement): HTMLLabelElement {
  const label = document.createElement('label');
  label.append(text, field);
  return label;
}
