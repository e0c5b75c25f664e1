// @vitest-environment jsdom
import { nullTranslator } from '@jupyterlab/translation';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { PublishDialog } from '../../src/publish/dialog';
import { KernelError } from '../../src/publish/kernel';
import { IPublisher, PublishModel } from '../../src/publish/model';
import { INameCheck, IPublished, IPublishRequest } from '../../src/publish/suggestion';
import { suggestion } from './suggestion';

const trans = nullTranslator.load('jupyter_mlsvc');
const PUBLISHED: IPublished = {
  name: 'iris',
  version: 'V1.0',
  url: 'http://localhost:12800/api/iris/V1.0',
  call: '%consume iris V1.0 flower=[7, 3.2]',
  notes: []
};

const FREE: INameCheck = { ok: true, message: '', next: 'V1.0' };

describe('PublishDialog', () => {
  let suggest: IPublisher['suggest'];
  let publish: IPublisher['publish'];
  let checkName: IPublisher['checkName'];
  let places: unknown[];
  let requests: IPublishRequest[];
  let dialog: PublishDialog;
  let outcome: Promise<IPublished | null>;

  const open = (): void => {
    const model = new PublishModel(
      {
        suggest: (sources, place, options) => {
          places.push(place);
          return suggest(sources, place, options);
        },
        checkName: (name, version) => checkName(name, version),
        publish: (request, options) => {
          requests.push(request);
          return publish(request, options);
        }
      },
      ['species = names[clf.predict(flower)]']
    );
    dialog = new PublishDialog(model, trans);
    outcome = dialog.ask();
  };

  beforeEach(() => {
    places = [];
    requests = [];
    suggest = () => Promise.resolve(suggestion());
    publish = () => Promise.resolve(PUBLISHED);
    checkName = () => Promise.resolve(FREE);
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
  const seen = (text: string): Promise<void> =>
    vi.waitFor(() => {
      expect(dialog.node.textContent).toContain(text);
    });
  const done = async (): Promise<IPublished | null> => {
    await vi.waitFor(() => {
      expect(button('Done')).toBeTruthy();
    });
    button('Done').click();
    return outcome;
  };
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

    await expect(done()).resolves.toEqual(PUBLISHED);
    expect(requests).toMatchObject([
      {
        version: 'V2.0',
        inputs: [{ name: 'flower', type: 'matrix', example: [7, 3.2] }],
        outputs: [],
        session: 'iris',
        asInSession: []
      }
    ]);
  });

  it('publishes with the isolation that was chosen, beginning with that of the cell', async () => {
    suggest = () => Promise.resolve(suggestion({ isolation: 'call' }));
    open();
    await shown();
    expect(labelled('Isolation of calls').value).toBe('call');
    type(labelled('Isolation of calls'), 'none');
    await seen('For caches, counters and connections.');
    button('Publish').click();

    await done();
    expect(requests[0]?.isolation).toBe('none');
  });

  it('publishes whether calls have effects, beginning with what the cell says', async () => {
    open();
    await shown();
    const tick = () => document.querySelector<HTMLInputElement>('[data-field="effects"]');
    expect(tick()?.checked).toBe(false);
    await seen('A call whose process is lost is run once more.');
    tick()?.click();
    await seen('A call whose process is lost is not run again');
    button('Publish').click();
    await done();
    expect(requests[0]?.effects).toBe(true);

    suggest = () => Promise.resolve(suggestion({ effects: true, runtimeType: 'R' }));
    open();
    await shown();
    expect(tick()?.checked).toBe(true);
    button('Publish').click();
    await done();
    expect(requests[1]?.effects).toBe(true);
  });

  it('publishes how many calls a worker runs at a time, and how long each may take', async () => {
    suggest = () => Promise.resolve(suggestion({ concurrency: 20, deadlineSeconds: 2.5 }));
    open();
    await shown();
    const field = labelled('Calls that a worker runs at a time (optional)');
    type(field, 'many');
    await seen('This is a whole number from 1 to 1000.');
    expect(button('Publish').disabled).toBe(true);
    type(field, '30');
    button('Publish').click();
    await done();
    expect([requests[0]?.concurrency, requests[0]?.deadlineSeconds]).toEqual([30, 2.5]);
  });

  it('publishes how the code is confined, also that of a model', async () => {
    open();
    await shown();
    const tick = (name: string) =>
      document.querySelector<HTMLInputElement>(`[data-field="${name}"]`);
    expect([tick('no-network')?.checked, tick('read-only')?.checked]).toEqual([false, false]);
    tick('no-network')?.click();
    tick('keep-bodies')?.click();
    await seen('It reaches no other machine, and no port of this one.');
    button('Publish').click();
    await done();
    expect([requests[0]?.network, requests[0]?.readOnly]).toEqual([false, false]);
    expect(requests[0]?.keepBodies).toBe(true);

    suggest = () => Promise.resolve(suggestion({ kind: 'model', model: 'clf', readOnly: true }));
    open();
    await shown();
    expect(tick('read-only')?.checked).toBe(true);
    button('Publish').click();
    await done();
    expect([requests[1]?.network, requests[1]?.readOnly]).toEqual([true, true]);
  });

  it('leaves isolation to the server where nobody chose it, and has none in R', async () => {
    open();
    await shown();
    expect(labelled('Isolation of calls').value).toBe('');
    button('Publish').click();
    await done();
    expect(requests[0]?.isolation).toBeNull();

    suggest = () => Promise.resolve(suggestion({ runtimeType: 'R' }));
    open();
    await shown();
    expect(dialog.node.textContent).not.toContain('Isolation of calls');
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
    await expect(done()).resolves.toEqual(PUBLISHED);
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

  it('begins at the name, whatever is above it', async () => {
    suggest = () => Promise.resolve(suggestion({ kind: 'model', model: 'clf' }));
    open();
    await shown();

    await vi.waitFor(() => {
      expect(document.activeElement).toBe(labelled('Name'));
    });
  });

  it('says what differs from the session, and lets it stay there', async () => {
    suggest = () =>
      Promise.resolve(
        suggestion({
          sendable: [{ name: 'clf', type: 'sklearn.svm.SVC', size: 4200, reason: 'differs' }]
        })
      );
    open();
    await shown();
    await seen('clf differs from the session’s; this notebook’s is sent');
    labelled('Keep the session’s clf').click();
    await seen('clf stays as the session has it');
    button('Publish').click();
    await done();

    expect(requests[0]?.asInSession).toEqual(['clf']);
  });

  it('says nothing of sessions to who has none', async () => {
    suggest = () =>
      Promise.resolve(
        suggestion({
          session: { name: 'iris', runtimeType: 'Python', exists: false },
          sessions: [],
          snapshots: [],
          otherNames: { session: [], notebook: ['clf'], missing: [] }
        })
      );
    open();
    await shown();
    await seen('Sent along from this notebook:');

    expect(dialog.node.textContent).not.toMatch(/session|snapshot/i);
  });

  it('offers the next version while one types', async () => {
    checkName = (name, version) =>
      Promise.resolve(
        version === 'V1.0'
          ? { ok: false, message: `${name} V1.0 exists already.`, next: 'V1.1' }
          : FREE
      );
    open();
    await shown();
    type(labelled('Name'), 'loans');
    await seen('loans V1.0 exists already.');
    expect(button('Publish').disabled).toBe(true);
    button('Use V1.1').click();

    await vi.waitFor(() => {
      expect(labelled('Version').value).toBe('V1.1');
      expect(button('Publish').disabled).toBe(false);
    });
    expect(dialog.node.textContent).not.toContain('exists already');
  });

  it('replaces a version that never answered, when asked to', async () => {
    checkName = () =>
      Promise.resolve({ ok: false, message: 'It is there.', next: 'V1.1', neverAnswered: true });
    suggest = () => Promise.resolve(suggestion({ versions: ['V1.0'] }));
    open();
    await shown();
    await seen('Replace it');
    expect(button('Publish').disabled).toBe(true);
    dialog.node
      .querySelector<HTMLInputElement>('.jp-MlsvcPublish-naming input[type=checkbox]')
      ?.click();
    await vi.waitFor(() => {
      expect(button('Publish').disabled).toBe(false);
    });
    button('Publish').click();
    await done();

    expect(requests[0]).toMatchObject({ version: 'V1.0', replace: true });
  });

  it('publishes what will fail only when somebody insists', async () => {
    publish = request =>
      request.force
        ? Promise.resolve(PUBLISHED)
        : Promise.reject(new KernelError('NameError: pipe', '', { force: true, next: null }));
    open();
    await shown();
    button('Publish').click();
    await vi.waitFor(() => {
      expect(alert()).toContain('NameError: pipe');
    });
    button('Publish anyway').click();
    await done();

    expect(requests.map(({ force }) => force)).toEqual([false, true]);
  });

  it('shows what a call of the service answered and printed', async () => {
    publish = () =>
      Promise.resolve({
        ...PUBLISHED,
        notes: ['Sent clf, 4.2 kB: it differed.', 'Tried with flower: species = "setosa".'],
        checkText: 'Tried with flower: species = "setosa".',
        check: {
          called: true,
          success: true,
          errorMessage: '',
          outputParameters: { species: 'setosa' },
          consoleOutput: 'looked at a flower',
          notes: ['It reads the environment variable HOME.']
        }
      });
    open();
    await shown();
    button('Publish').click();
    await seen('iris V1.0 is published.');

    for (const text of [
      'Tried with flower: species = "setosa".',
      'looked at a flower',
      'Sent clf, 4.2 kB: it differed.',
      'It reads the environment variable HOME.'
    ]) {
      expect(dialog.node.textContent.split(text)).toHaveLength(2);
    }
    expect(dialog.node.querySelectorAll('.jp-Dialog-footer button')).toHaveLength(1);
    await done();
  });

  it('offers a fitted model as it is, or the code of its cell', async () => {
    suggest = () => Promise.resolve(suggestion({ kind: 'model', model: 'clf', response: [] }));
    open();
    await shown();
    await seen('The fitted model clf');
    expect(dialog.node.textContent).not.toContain('Add an input');
    const [, code] = dialog.node.querySelectorAll<HTMLInputElement>('input[type=radio]');
    code?.click();
    await seen('Add an input');
    button('Publish').click();
    await done();

    expect(requests[0]).toMatchObject({ kind: 'code', model: null });
  });

  it('offers the function that the cell defines', async () => {
    suggest = () =>
      Promise.resolve(
        suggestion({ kind: 'function', function: 'score', code: 'answer = score(flower=flower)' })
      );
    open();
    await shown();
    await seen('calls the function score');
    button('Publish').click();
    await done();

    expect(requests[0]).toMatchObject({ kind: 'function', function: 'score' });
  });

  it('publishes nothing that has neither inputs nor outputs', async () => {
    suggest = () => Promise.resolve(suggestion({ inputs: [], outputs: [] }));
    open();
    await shown();
    await seen('A service needs an input or an output');

    expect(button('Publish').disabled).toBe(true);
  });

  it('says to run the cells above where names are not there', async () => {
    suggest = () =>
      Promise.resolve(
        suggestion({
          inputs: [
            { name: 'pipe', type: 'vector', example: null, source: 'unknown', known: false }
          ],
          otherNames: { session: [], notebook: [], missing: ['names'] }
        })
      );
    open();
    await shown();

    await seen('“pipe” has no value yet. Run the cells above first');
    await seen('Not there yet. Run the cells above first');
  });

  it('is not closed by a click beside it', async () => {
    open();
    await shown();
    dialog.node.dispatchEvent(new MouseEvent('click', { bubbles: true }));

    expect(labelled('Name').value).toBe('iris');
    expect(dialog.isDisposed).toBe(false);
  });
});
