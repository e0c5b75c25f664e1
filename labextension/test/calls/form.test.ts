// @vitest-environment jsdom
import { nullTranslator } from '@jupyterlab/translation';
import { afterEach, describe, expect, it } from 'vitest';

import { MlsvcError } from '../../src/calls/request';
import { IServiceResult, IServiceVersion } from '../../src/calls/api';
import { Consume, problemsOf, TryForm } from '../../src/calls/form';
import { fileImageUrl, imageUrl } from '../../src/calls/images';
import { tableOf } from '../../src/calls/outputs';
import { PanelState } from '../../src/state';

const trans = nullTranslator.load('jupyter_mlsvc');
const SERVICE: IServiceVersion = {
  name: 'Mix',
  version: '1',
  inputParameterDefinitions: [
    { name: 'x', type: 'numeric' },
    { name: 'flag', type: 'logical' },
    { name: 'row', type: 'vector' }
  ]
};
const RESULT: IServiceResult = {
  success: true,
  errorMessage: '',
  outputParameters: { y: 1 },
  outputFiles: {},
  consoleOutput: '',
  changedFiles: []
};

describe('TryForm', () => {
  let form: TryForm;
  const create = (
    consume: Consume,
    state = new PanelState(null),
    service: IServiceVersion = SERVICE
  ): TryForm => {
    const created = new TryForm({ service, consume, state, trans });
    form = created;
    return created;
  };

  afterEach(() => {
    form.dispose();
  });

  it('calls with what was typed, as values of the declared types', async () => {
    let sent: unknown;
    create(inputs => {
      sent = inputs;
      return Promise.resolve(RESULT);
    });
    form.type('x', '1.5');
    form.type('flag', 'true');
    form.type('row', '1, 2');

    await expect(form.submit()).resolves.toBe(true);

    expect(sent).toEqual({ x: 1.5, flag: true, row: [1, 2] });
    expect(form.run).toMatchObject({ state: 'done', result: RESULT });
  });

  it('shows what has come of an answer, also once it was stopped', async () => {
    const part = { ...RESULT, outputParameters: { y: [1] } };
    create((_inputs, signal, onPart) => {
      onPart(part);
      return new Promise((_resolve, reject) => {
        signal.addEventListener('abort', () => {
          reject(new DOMException('', 'AbortError'));
        });
      });
    });
    form.type('x', '1');
    form.type('row', '1');

    const submitted = form.submit();
    expect(form.run).toMatchObject({ state: 'running', part });
    form.cancel();
    await submitted;

    expect(form.run).toEqual({ state: 'cancelled', part });
  });

  it('leaves out what is left empty where the service has a value', async () => {
    let sent: unknown;
    const service = {
      ...SERVICE,
      inputParameterDefinitions: [
        { name: 'x', type: 'numeric' },
        { name: 'by', type: 'numeric', default: 2 }
      ]
    };
    const consume: Consume = inputs => {
      sent = inputs;
      return Promise.resolve(RESULT);
    };
    create(consume, new PanelState(null), service);
    form.type('x', '1');

    await form.submit();

    expect(form.values).toEqual({ x: 1 });
    expect(sent).toEqual({ x: 1 });
  });

  it('calls nobody while an input is no value, and says which', async () => {
    create(() => Promise.reject(new Error('not to be called')));
    form.type('x', 'many');

    await expect(form.submit()).resolves.toBe(false);

    expect(form.run.state).toBe('never');
    expect(form.problem('x')).toContain('“many”');
    expect(form.problem('row')).toBeNull();
    form.type('x', '1');
    expect(form.problem('x')).toBeNull();
  });

  it("puts the server's refusal beside the input that it names", async () => {
    create(() =>
      Promise.reject(
        new MlsvcError(
          'Input row[1] must be a number, got a string. Input x must be smaller.',
          400,
          'BadRequestException',
          {
            row: 'Input row[1] must be a number, got a string.',
            x: 'Input x must be smaller.'
          }
        )
      )
    );
    form.type('x', '1');

    await form.submit();

    expect(form.run).toMatchObject({ state: 'failed', trouble: { kind: 'failed' } });
    expect(form.problem('row')).toBe('Input row[1] must be a number, got a string.');
    expect(form.problem('x')).toBe('Input x must be smaller.');
    expect(form.problem('flag')).toBeNull();
  });

  it('gives a running call up', async () => {
    create(
      (_inputs, signal) =>
        new Promise((_resolve, reject) => {
          signal.addEventListener('abort', () => {
            reject(new DOMException('Aborted', 'AbortError'));
          });
        })
    );
    form.type('x', '1');
    const run = form.submit();
    expect(form.run.state).toBe('running');
    await expect(form.submit()).resolves.toBe(false);

    form.cancel();
    await run;

    expect(form.run.state).toBe('cancelled');
  });

  it('remembers the inputs of each version', () => {
    const state = new PanelState(null);
    const consume = (): Promise<IServiceResult> => Promise.resolve(RESULT);
    create(consume, state).type('x', '7');
    const other = new TryForm({ service: { ...SERVICE, version: '2' }, consume, state, trans });
    other.type('x', '8');
    other.dispose();
    form.dispose();

    expect(create(consume, state).text('x')).toBe('7');
  });

  it('does not remember what is too long, and clears', () => {
    const state = new PanelState(null);
    const consume = (): Promise<IServiceResult> => Promise.resolve(RESULT);
    create(consume, state).type('row', '1,'.repeat(20_000));
    form.dispose();

    expect(create(consume, state).text('row')).toBe('');
    form.type('x', '1');
    form.clear();
    expect(form.text('x')).toBe('');
  });
});

describe('problemsOf', () => {
  it('has what the server says of inputs of the form', () => {
    const inputs = SERVICE.inputParameterDefinitions ?? [];
    const said = { x: "Input 'x' (numeric) is missing.", row: 'Input row must be it.' };
    const error = new MlsvcError('Both.', 400, 'BadRequestException', { ...said, other: 'No.' });
    expect(problemsOf(error, inputs)).toEqual(Object.entries(said));
    expect(problemsOf(new MlsvcError('The queue is full.', 400), inputs)).toEqual([]);
  });
});

describe('images', () => {
  const png = `iVBORw0KGgo${'A'.repeat(80)}`;

  it('are known by their first bytes', () => {
    expect(imageUrl(png)).toBe(`data:image/png;base64,${png}`);
    expect(imageUrl(`/9j/${'A'.repeat(80)}`)).toMatch(/^data:image\/jpeg/);
    expect(imageUrl('<svg xmlns="http://www.w3.org/2000/svg"/>')).toMatch(/^data:image\/svg\+xml/);
    expect(imageUrl('data:image/png;base64,AAAA')).toBe('data:image/png;base64,AAAA');
    expect(fileImageUrl('plot.svg', 'PHN2Zy8+')).toBe('data:image/svg+xml;base64,PHN2Zy8+');
  });

  it('are not mistaken for text', () => {
    expect(imageUrl('/9j/ is a path')).toBeNull();
    expect(imageUrl('text with <svg> in it')).toBeNull();
    expect(imageUrl('data:text/html,<script>')).toBeNull();
  });
});

describe('tableOf', () => {
  it('takes matrices and data frames for tables, and nothing else', () => {
    expect(
      tableOf(
        [
          [1, 2],
          [3, 4]
        ],
        'matrix'
      )
    ).toEqual({
      header: null,
      rows: [
        [1, 2],
        [3, 4]
      ]
    });
    expect(tableOf({ a: [1, 2], b: ['x', null] }, 'data.frame')).toEqual({
      header: ['a', 'b'],
      rows: [
        [1, 'x'],
        [2, null]
      ]
    });
    expect(tableOf([1, 2], 'vector')).toBeNull();
    expect(tableOf({ a: 1 }, 'data.frame')).toBeNull();
    expect(tableOf(null, 'matrix')).toBeNull();
  });
});
