import { describe, expect, it } from 'vitest';

import { MlsvcError, NoAnswer } from '../../src/calls/request';
import { KernelRequests } from '../../src/widget/requests';
import { FakeModel } from './model';

describe('KernelRequests', () => {
  it('has the kernel make a request, and gives what it answers', async () => {
    const model = new FakeModel();
    const requests = new KernelRequests(model);
    const answer = requests.json('POST', ['api', 'A b'], {
      body: { x: 'é' },
      query: { n: 1, none: undefined }
    });
    const { content, body } = model.sent[0] ?? { content: {}, body: '' };
    expect(content).toMatchObject({ method: 'POST', path: ['api', 'A b'], query: { n: '1' } });
    expect(body).toBe('{"x":"é"}');
    model.answer({ y: 1 });
    expect(await answer).toEqual({ y: 1 });
  });

  it('leaves alone what others have asked', async () => {
    const model = new FakeModel();
    const [one, other] = [new KernelRequests(model), new KernelRequests(model)];
    const first = one.json('GET', ['a']);
    const second = other.json('GET', ['b']);
    model.answer(2);
    expect(await second).toBe(2);
    model.sent.pop();
    model.answer(1);
    expect(await first).toBe(1);
  });

  it('tells a refusal from a server that is away', async () => {
    const model = new FakeModel();
    const requests = new KernelRequests(model);
    const refused = requests.json('GET', ['a']);
    const problem = { status: 400, message: 'No.', inputs: { x: 'is missing.' } };
    model.emit('msg:custom', { id: model.lastId, problem }, []);
    await expect(refused).rejects.toMatchObject(problem);
    await expect(refused).rejects.toBeInstanceOf(MlsvcError);
    const away = requests.json('GET', ['a']);
    model.emit('msg:custom', { id: model.lastId, problem: { status: 0, message: 'Away.' } }, []);
    await expect(away).rejects.toBeInstanceOf(NoAnswer);
  });

  it('tells the kernel what is given up', async () => {
    const model = new FakeModel();
    const aborter = new AbortController();
    const answer = new KernelRequests(model).json('GET', ['a'], { signal: aborter.signal });
    const id = model.lastId;
    aborter.abort();
    await expect(answer).rejects.toMatchObject({ name: 'AbortError' });
    expect(model.sent.at(-1)?.content).toEqual({ cancel: id });
  });

  it('gives the parts of an answer as they come, and stops it where nobody reads on', async () => {
    const model = new FakeModel();
    const lines = new KernelRequests(model).lines<number>('POST', ['a'], { body: 1 });
    const first = lines.next();
    const id = model.lastId;
    expect(model.sent[0]?.content).toMatchObject({ method: 'POST', path: ['a'], lines: true });
    model.part(id, 1);
    model.part(id, 2);
    expect([(await first).value, (await lines.next()).value]).toEqual([1, 2]);
    await lines.return();
    expect(model.sent.at(-1)?.content).toEqual({ cancel: id });
    const refused = new KernelRequests(model).lines('POST', ['a']);
    const next = refused.next();
    model.emit('msg:custom', { id: model.lastId, problem: { status: 400, message: 'No.' } }, []);
    await expect(next).rejects.toThrow('No.');
  });

  it('asks nobody when the kernel was restarted', async () => {
    const model = new FakeModel();
    const requests = new KernelRequests(model);
    const waiting = requests.json('GET', ['a']);
    model.emit('comm_live_update');
    await expect(waiting).rejects.toBeInstanceOf(NoAnswer);
    await expect(requests.json('GET', ['a'])).rejects.toThrow('Run the cell again');
    expect(requests.isGone).toBe(true);
    requests.dispose();
    expect(model.listeners).toBe(0);
  });
});
