import { nullTranslator } from '@jupyterlab/translation';
import { describe, expect, it, vi } from 'vitest';

import { PanelModel } from '../../src/widget/panel';
import { KernelRequests } from '../../src/widget/requests';
import { FakeModel } from './model';

const trans = nullTranslator.load('jupyter_mlsvc');
const [V1, V2] = ['V1', 'V2'].map(version => ({ name: 'Iris', version }));
const STATE = {
  trouble: '',
  isLoaded: true,
  services: [V1, V2],
  sessions: [{ id: 's1', name: 'work', state: 'idle' }],
  statistics: [{ ...V1, calls: 3 }]
};

async function opened(): Promise<{ model: FakeModel; panel: PanelModel }> {
  const model = new FakeModel();
  const panel = new PanelModel(new KernelRequests(model), trans);
  model.answer(STATE);
  await vi.waitFor(() => {
    expect(panel.state).not.toBeNull();
  });
  return { model, panel };
}

function push(model: FakeModel, state: object): void {
  const bytes = new TextEncoder().encode(JSON.stringify(state));
  model.emit('msg:custom', { changed: true }, [new DataView(bytes.buffer)]);
}

describe('PanelModel', () => {
  it('asks the kernel for what it knows, and takes what it says later', async () => {
    const { model, panel } = await opened();
    expect(model.sent[0]?.content).toMatchObject({ method: 'GET', path: ['state'] });
    expect(panel.statistics.get('Iris/V1')?.calls).toBe(3);
    const changed = vi.fn();
    panel.changed.connect(changed);
    push(model, { trouble: 'Away.', isLoaded: true, services: [V1] });
    expect(panel.services).toEqual([V1]);
    expect(panel.sessions).toEqual(STATE.sessions);
    expect(panel.state?.trouble).toBe('Away.');
    expect(changed).toHaveBeenCalledTimes(1);
  });

  it('takes from its lists at once what was deleted and closed', async () => {
    const { model, panel } = await opened();
    const deleted = panel.delete({ name: 'Iris', version: 'V2' });
    expect(model.sent.at(-1)?.content).toMatchObject({
      method: 'DELETE',
      path: ['services', 'Iris', 'V2']
    });
    model.answer('Deleted.');
    await deleted;
    expect(panel.services).toEqual([V1]);
    const [session] = panel.sessions;
    const closed = session && panel.close(session);
    model.answer(null);
    await closed;
    expect(panel.sessions).toEqual([]);
  });

  it('keeps a form while the inputs of its version stay as they are', async () => {
    const { model, panel } = await opened();
    const service = panel.services[0];
    const form = service && panel.form(service);
    push(model, { services: [{ ...V1, description: 'New' }, V2] });
    expect(panel.services[0] && panel.form(panel.services[0])).toBe(form);
    push(model, {
      services: [{ ...V1, inputParameterDefinitions: [{ name: 'x', type: 'vector' }] }]
    });
    expect(panel.services[0] && panel.form(panel.services[0])).not.toBe(form);
    panel.dispose();
    expect(form?.isDisposed).toBe(true);
  });
});
