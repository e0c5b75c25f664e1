import { nullTranslator } from '@jupyterlab/translation';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { SharedForm } from '../../src/widget/form';
import { KernelRequests } from '../../src/widget/requests';
import { FakeModel } from './model';

const trans = nullTranslator.load('jupyter_mlsvc');
const SERVICE = {
  name: 'Iris',
  version: 'V1.0',
  inputParameterDefinitions: [
    { name: 'row', type: 'vector' },
    { name: 'flag', type: 'logical' }
  ]
};
const RESULT = { success: true, outputParameters: { y: 1 } };

function shared(inputs: object = { flag: false }): { model: FakeModel; shared: SharedForm } {
  const model = new FakeModel({ _service: SERVICE, inputs });
  return { model, shared: new SharedForm(model, new KernelRequests(model), trans) };
}

describe('SharedForm', () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  it('shows what the kernel has in the fields, and what it puts there later', () => {
    const { model, shared: made } = shared({ row: [1, 2], flag: true });
    expect([made.form.text('row'), made.form.text('flag')]).toEqual(['1, 2', 'true']);
    made.form.type('row', '1, 2, 3');
    model.set('inputs', { row: [1, 2], flag: false });
    expect([made.form.text('row'), made.form.text('flag')]).toEqual(['1, 2, 3', 'false']);
    model.set('inputs', { flag: false });
    expect(made.form.text('row')).toBe('');
  });

  it('tells the kernel what was typed, once somebody pauses, as far as it can be read', () => {
    const { model, shared: made } = shared();
    made.form.type('row', '7');
    made.form.type('row', '7, 8');
    expect(model.saved).toEqual([]);
    vi.runAllTimers();
    expect(model.saved).toEqual([{ row: [7, 8], flag: false }]);
    made.form.type('row', '[7, ');
    vi.runAllTimers();
    expect(model.saved.at(-1)).toEqual({ flag: false });
    expect(made.form.text('row')).toBe('[7, ');
  });

  it('calls with what was typed', async () => {
    const { model, shared: made } = shared();
    made.form.type('row', '7');
    const submitted = made.form.submit();
    expect(model.saved).toEqual([{ row: [7], flag: false }]);
    expect(model.sent.at(-1)).toMatchObject({
      content: { method: 'POST', path: ['api', 'Iris', 'V1.0'] },
      body: '{"row":[7],"flag":false}'
    });
    model.answer(RESULT);
    await submitted;
    expect(made.form.run).toMatchObject({ state: 'done', result: RESULT });
  });

  it.each([
    [{ result: RESULT }, { state: 'done', milliseconds: 5, result: RESULT }],
    [
      { problem: { status: 400, message: 'No.', inputs: { row: 'is missing.' } } },
      { state: 'failed', milliseconds: 5, trouble: { message: 'No.' } }
    ]
  ])('shows the call of a program: %j', async (last, run) => {
    const { model, shared: made } = shared();
    model.answer(null);
    model.emit('msg:custom', { called: '' }, []);
    expect(model.sent.at(-1)?.content).toMatchObject({ method: 'GET', path: ['last'] });
    model.answer({ milliseconds: 5, ...last });
    await vi.waitFor(() => {
      expect(made.form.run).toMatchObject(run);
    });
    expect(made.form.problem('row')).toBe('problem' in last ? 'is missing.' : null);
  });

  it('tells the kernel what is left to tell when its view goes', () => {
    const { model, shared: made } = shared();
    made.form.type('row', '7');
    made.dispose();
    expect(model.saved).toEqual([{ row: [7], flag: false }]);
    vi.runAllTimers();
    expect(model.saved.length).toBe(1);
  });
});
