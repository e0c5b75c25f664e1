import { Dialog } from '@jupyterlab/apputils';
import { TranslationBundle } from '@jupyterlab/translation';
import { Message } from '@lumino/messaging';

import { Place } from './draft';
import { PublishForm } from './form';
import { PublishModel } from './model';
import { IPublished } from './suggestion';

const CANCEL = 0;
const PUBLISH = 1;

/**
 * Where keys go until the form is there.
 */
const NAME = '.jp-MlsvcPublish [data-field="service"]';

/**
 * Asks for what will be published, and stays until it is, or until somebody gives up.
 *
 * It owns the model.
 */
export class PublishDialog extends Dialog<unknown> {
  constructor(
    private readonly _model: PublishModel,
    trans: TranslationBundle
  ) {
    super({
      title: trans.__('Publish as a service'),
      body: new PublishForm(_model, trans, () => {
        void this._publish(true);
      }),
      buttons: [
        Dialog.cancelButton({ label: trans.__('Cancel') }),
        Dialog.okButton({ label: trans.__('Publish') })
      ],
      defaultButton: PUBLISH,
      focusNodeSelector: NAME
    });
    this._done = trans.__('Done');
    this.addClass('jp-MlsvcPublish-dialog');
    _model.changed.connect(() => {
      this._follow();
    }, this);
    this._follow();
  }

  /**
   * Show the dialog, until its reader has seen what came of it; gives the service, or null if none
   * was published.
   *
   * @param place - Where the code shall find its names; the kernel decides where it is left out.
   */
  async ask(place?: Place): Promise<IPublished | null> {
    void this._model.ask(place);
    await this.launch();
    return this._model.published;
  }

  /**
   * The button that was pressed: publishing comes before the end, and cancelling it first.
   */
  override resolve(index = PUBLISH): void {
    if (this._model.published) {
      super.resolve(PUBLISH);
    } else if (index === PUBLISH) {
      void this._publish();
    } else {
      this.reject();
    }
  }

  /**
   * Give up: what is being published is cancelled, and the dialog stays with what was typed.
   *
   * Asked again before that has ended, it closes.
   */
  override reject(): void {
    if (this._model.published) {
      super.resolve(PUBLISH);
    } else if (!this._model.cancel()) {
      super.reject();
    }
  }

  override dispose(): void {
    this._model.dispose();
    super.dispose();
  }

  override handleEvent(event: Event): void {
    const target = event.target instanceof Node ? event.target : null;
    if (event.type === 'click' && target === this.node) {
      // A click beside the dialog must not lose what was typed.
      event.stopPropagation();
      return;
    }
    const isEnter = event.type === 'keydown' && (event as KeyboardEvent).key === 'Enter';
    if (isEnter && isOwnButton(target)) {
      return;
    }
    super.handleEvent(event);
  }

  protected override onAfterAttach(message: Message): void {
    super.onAfterAttach(message);
    // Until the form is there, nothing but this can have the focus, and without it keys get lost.
    this._button(CANCEL)?.focus();
  }

  private async _publish(force = false): Promise<void> {
    if (!this._model.canPublish) {
      return;
    }
    const before = document.activeElement;
    // What has the focus is disabled meanwhile, and would lose it.
    this._button(CANCEL)?.focus();
    await this._model.publish(force);
    if (this._model.published) {
      this._button(PUBLISH)?.focus();
    } else if (before instanceof HTMLElement) {
      requestAnimationFrame(() => {
        before.focus();
      });
    }
  }

  private _follow(): void {
    const { canPublish, published } = this._model;
    const publish = this._button(PUBLISH);
    if (publish) {
      publish.disabled = !canPublish && !published;
    }
    if (published && publish && !this._isDone) {
      this._isDone = true;
      // Nothing is left to cancel, nor to publish.
      this._button(CANCEL)?.remove();
      const label = publish.querySelector('.jp-Dialog-buttonLabel') ?? publish;
      label.textContent = this._done;
      publish.setAttribute('aria-label', this._done);
    }
  }

  private _button(index: number): HTMLButtonElement | undefined {
    const buttons = this.node.querySelectorAll<HTMLButtonElement>('.jp-Dialog-footer button');
    // The last one stays when the other is gone.
    return index === PUBLISH ? buttons[buttons.length - 1] : buttons[index];
  }

  private readonly _done: string;
  private _isDone = false;
}

/**
 * Whether Enter belongs to an element of the form and does not publish.
 */
function isOwnButton(target: Node | null): boolean {
  return (
    target instanceof Element &&
    target.closest('.jp-MlsvcPublish') !== null &&
    target.closest('button, summary, select, textarea') !== null
  );
}
