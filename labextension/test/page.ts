import { ReactWidget } from '@jupyterlab/ui-components';
import { Widget } from '@lumino/widgets';
import * as React from 'react';
import { expect, vi } from 'vitest';

/**
 * Something drawn in the page, and what a person does in it.
 */
export class Page {
  private readonly _widget: ReactWidget;

  constructor(render: () => React.ReactElement) {
    this._widget = ReactWidget.create(React.createElement(render));
    Widget.attach(this._widget, document.body);
  }

  get node(): HTMLElement {
    return this._widget.node;
  }

  get text(): string {
    return this.node.textContent;
  }

  /**
   * Elements with a role, and a name if one is given.
   */
  all(role: string, name?: string): HTMLElement[] {
    const selector = role === 'button' ? 'button' : `[role=${role}]`;
    return [...this.node.querySelectorAll<HTMLElement>(selector)].filter(
      element =>
        name === undefined || (element.getAttribute('aria-label') ?? element.textContent) === name
    );
  }

  async see(text: string): Promise<void> {
    await vi.waitFor(() => {
      expect(this.text).toContain(text);
    });
  }

  async press(name: string): Promise<void> {
    await vi.waitFor(() => {
      expect(this.all('button', name), name).toHaveLength(1);
    });
    this.all('button', name)[0]?.click();
  }

  async key(key: string, options: KeyboardEventInit = {}): Promise<void> {
    (document.activeElement ?? document.body).dispatchEvent(
      new KeyboardEvent('keydown', { key, bubbles: true, cancelable: true, ...options })
    );
    // What it changed is drawn before the next.
    await new Promise(resolve => setTimeout(resolve));
  }

  close(): void {
    this._widget.dispose();
    document.querySelectorAll('.jp-Dialog').forEach(dialog => {
      dialog.remove();
    });
  }
}

/**
 * Press a button of the dialog that is open; gives its text.
 */
export async function answerDialog(button: string): Promise<string> {
  await vi.waitFor(() => {
    expect(document.querySelector('.jp-Dialog')).not.toBeNull();
  });
  const dialog = document.querySelector<HTMLElement>('.jp-Dialog');
  const text = dialog?.textContent ?? '';
  const found = [...(dialog?.querySelectorAll('button') ?? [])].find(
    ({ textContent }) => textContent === button
  );
  expect(found, button).toBeTruthy();
  found?.click();
  await vi.waitFor(() => {
    expect(document.querySelector('.jp-Dialog')).toBeNull();
  });
  return text;
}
