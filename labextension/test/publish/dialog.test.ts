// @vitest-environment jsdom
import { nullTranslator } from '@jupyterlab/translation';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { PublishDialog } from '../../src/publish/dialog';
import { KernelError } from '../../src/publish/kernel';
import { IPublisher, PublishModel } from '../../src/publish/model';
import { IPublished, IPublishRequest } from '../../src/publish/suggestion';
import { suggestion } from './suggestion';

const trans = nullTranslator.load('jupyter_mlsvc');
const PUBLISHED: IPublished = {
  name: 'iris',
  version: 'V1.0',
  url: 'http://localhost:12800/api/iris/V1.0',
  call: '%consume iris V1.0 flower=[7, 3.2]',
  notes: []
};

describe('PublishDialog', () => {
  let suggest: IPublisher['suggest'];
  let publish: IPublisher['publish'];
  let places: unknown[];
  let requests: IPublishRequest[];
  let dialog: PublishDialog;
  let outcome: Promise<IPublished | null>;

  const open = (): void => {
    const model = new PublishModel(
      {
        suggest: (code, place, options) => {
          places.push(place);
          return suggest(code, place, options);
        },
        publish: (request, options) => {
          requests.push(request);
          return publish(request, options);
        }
      },
      'species = names[clf.predict(flower)]'
    );
    dialog = new PublishDialog(model, trans);
    outcome = dialog.ask();
  };

  beforeEach(() => {
    places = [];
    requests = [];
    suggest = () => Promise.resolve(suggestion());
    publish = () => Promise.resolve(PUBLISHED);
    Element.prototype.scrollIntoView = () => undefined;
  });

  afterEach(() => {
    dialog.dispose();
    outcome.catch(() => undefined);
  });

  const labelled = (label: string): HTMLInputElement => {
    const found = [...dialog.node.querySelectorAll<HTMLElement>('[aria-label], label')].find(
      node => (node.getAttribute('aria-label') ?? node.textContent) === label
    );
    const target =
      found instanceof HTMLLabelElement ? document.getElementById(found.htmlFor) : found;
    expect(target, label).toBeTruthy();
    return target as HTMLInputElement;
  };
  const button = (text: string): HTMLButtonElement => {
    const found = [...dialog.node.querySelectorAll('button')].find(
      node => (node.getAttribute('aria-label') ?? node.textContent) === text
    );
    expect(found, text).toBeTruthy();
    return found as HTMLButtonElement;
  };
  const type = (field: HTMLInputElement | HTMLSelectElement, value: string): void => {
    const prototype = Object.getPrototypeOf(field) as object;
    Object.getOwnPropertyDescriptor(prototype, 'value')?.set?.call(field, value);
    const kind = field instanceof HTMLSelectElement ? 'change' : 'input';
    field.dispatchEvent(new Event(kind, { bubbles: true }));
  };
  const shown = (): Promise<void> =>
    vi.waitFor(() => {
      expect(labelled('Name').value).toBe('iris');
    });
  const alert = (): string => dialog.node.querySelector('[role=alert]')?.textContent ?? '';

  it('shows what was found out, and publishes what it was corrected to', async () => {
    open();
    await shown();
    expect(labelled('Name of input 1').value).toBe('flower');
    type(labelled('Version'), 'V2.0');
    type(labelled('Type of input 1'), 'matrix');
    button('Remove output species').click();
    await vi.waitFor(() => {
      expect(labelled('Type of input 1').value).toBe('matrix');
    });
    button('Publish').click();

    await expect(outcome).resolves.toEqual(PUBLISHED);
    expect(requests).toMatchObject([
      {
        version: 'V2.0',
        inputs: [{ name: 'flower', type: 'matrix', example: [7, 3.2] }],
        outputs: [],
        session: 'iris',
        send: ['clf']
      }
    ]);
  });

  it('stays with what was typed when the server refuses, and can try again', async () => {
    publish = () => Promise.reject(new KernelError('iris V1.0 is there already.'));
    open();
    await shown();
    type(labelled('Description'), 'Tells species');
    button('Publish').click();
    await vi.waitFor(() => {
      expect(alert()).toContain('iris V1.0 is there already.');
    });
    expect(labelled('Description').value).toBe('Tells species');

    publish = () => Promise.resolve(PUBLISHED);
    button('Publish').click();
    await expect(outcome).resolves.toEqual(PUBLISHED);
  });

  it('cancels what goes on before it closes', async () => {
    publish = (_, { signal } = {}) =>
      new Promise((_, reject) => {
        signal?.addEventListener('abort', () => {
          reject(signal.reason as Error);
        });
      });
    open();
    await shown();
    button('Publish').click();
    button('Cancel').click();
    await vi.waitFor(() => {
      expect(button('Publish').disabled).toBe(false);
    });
    expect(labelled('Name').value).toBe('iris');
    expect(alert()).toBe('');

    button('Cancel').click();
    await expect(outcome).resolves.toBeNull();
  });

  it('says what to install in the kernel that lacks the package', async () => {
    suggest = () =>
      Promise.reject(new KernelError("No module named 'jupyter_mlsvc'", 'ModuleNotFoundError'));
    open();

    await vi.waitFor(() => {
      expect(alert()).toContain('%pip install --upgrade jupyter-mlsvc');
    });
    expect(button('Publish').disabled).toBe(true);
  });

  it('can be corrected but not published without a server', async () => {
    suggest = () =>
      Promise.resolve(suggestion({ connected: false, error: 'Log in with %mlsvc login first.' }));
    open();
    await shown();

    expect(alert()).toContain('Log in with %mlsvc login first.');
    expect(button('Publish').disabled).toBe(true);
  });

  it('does not publish rows with problems, and says what they are', async () => {
    open();
    await shown();
    button('Add an input').click();
    await vi.waitFor(() => {
      expect(document.activeElement).toBe(labelled('Name of input 2'));
    });

    expect(button('Publish').disabled).toBe(true);
    expect(dialog.node.textContent).toContain('The variable has no name.');
    type(labelled('Name of input 2'), 'petal');
    await vi.waitFor(() => {
      expect(button('Publish').disabled).toBe(false);
    });
  });

  it('looks again where another session is chosen, and keeps rows that were edited', async () => {
    open();
    await shown();
    type(labelled('Name of input 1'), 'leaf');
    type(labelled('Objects that the code finds come from'), 'session:other');
    await vi.waitFor(() => {
      expect(places).toEqual([{}, { session: 'other' }]);
    });

    await vi.waitFor(() => {
      expect(button('Publish').disabled).toBe(false);
    });
    expect(labelled('Name of input 1').value).toBe('leaf');
  });

  it('makes an input of a name that was found elsewhere', async () => {
    open();
    await shown();
    button('Make names an input').click();

    await vi.waitFor(() => {
      expect(labelled('Name of input 2').value).toBe('names');
    });
    expect(labelled('Type of input 2').value).toBe('vector');
  });

  it('is not closed by a click beside it', async () => {
    open();
    await shown();
    dialog.node.dispatchEvent(new MouseEvent('click', { bubbles: true }));

    expect(labelled('Name').value).toBe('iris');
    expect(dialog.isDisposed).toBe(false);
  });
});
