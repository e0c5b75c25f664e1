import { Dialog, InputDialog, Notification, showDialog } from '@jupyterlab/apputils';
import { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { harmless, harmlessLines } from '../calls/components/format';
import { isAbort, messageOf } from '../calls/error';

/**
 * Ask before something that cannot be undone.
 */
export async function confirm(options: {
  title: string;

  /**
   * Paragraphs.
   */
  body: readonly string[];
  accept: string;
  trans: TranslationBundle;
}): Promise<boolean> {
  const { title, body, accept, trans } = options;
  const { button } = await showDialog({
    title: harmless(title),
    body: React.createElement(
      'div',
      { className: 'jp-MlsvcList-question' },
      body.map((text, at) => React.createElement('p', { key: at }, harmless(text)))
    ),
    buttons: [
      Dialog.cancelButton({ label: trans.__('Cancel') }),
      Dialog.warnButton({ label: accept })
    ],
    // A hasty Enter changes nothing.
    defaultButton: 0
  });
  return button.accept;
}

/**
 * Ask for one of several things; gives its place, or -1 for none.
 */
export async function choose(options: {
  title: string;
  label?: string;
  items: readonly string[];
  accept: string;
}): Promise<number> {
  const { title, label, items, accept } = options;
  // Names need not be unique, but the answer is a text.
  const texts = items.map(harmless).map((item, at, items) => {
    const times = items.slice(0, at).filter(other => other === item).length;
    return times > 0 ? `${item} (${times + 1})` : item;
  });
  const { button, value } = await InputDialog.getItem({
    title: harmless(title),
    items: texts,
    okLabel: accept,
    ...(label === undefined ? {} : { label })
  });
  return button.accept && value !== null ? texts.indexOf(value) : -1;
}

/**
 * Do something that may take long, and tell how it goes; it can be cancelled meanwhile.
 *
 * @returns What came of it; undefined if it failed or was cancelled, which is told already.
 */
export async function tellWhile<T>(options: {
  work: (signal: AbortSignal) => Promise<T>;
  pending: string;
  success: (result: T) => {
    message: string;
    isWarning?: boolean;
    actions?: Notification.IAction[];
  };
  failure: string;
  trans: TranslationBundle;
}): Promise<T | undefined> {
  const { work, success, trans } = options;
  const pending = harmless(options.pending);
  const failure = harmless(options.failure);
  const abort = new AbortController();
  const id = Notification.emit(pending, 'in-progress', {
    autoClose: false,
    actions: [
      {
        label: trans.__('Cancel'),
        callback: () => {
          abort.abort();
        }
      }
    ]
  });
  try {
    const result = await work(abort.signal);
    const { message, isWarning = false, actions = [] } = success(result);
    Notification.update({
      id,
      message: harmlessLines(message),
      type: isWarning ? 'warning' : 'success',
      autoClose: isWarning ? false : 5000,
      actions
    });
    return result;
  } catch (error) {
    const message = isAbort(error)
      ? trans.__('Cancelled: %1', pending)
      : `${failure} ${messageOf(error)}`;
    Notification.update({
      id,
      message,
      type: isAbort(error) ? 'info' : 'error',
      autoClose: isAbort(error) ? 5000 : false,
      actions: []
    });
    return undefined;
  }
}
