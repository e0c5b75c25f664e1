import { afterEach, describe, expect, it, vi } from 'vitest';

import { MlsvcError } from '../../src/calls/request';
import { ExecutionEvent } from '../../src/sessions/api';
import { ConsoleLog, overwritten } from '../../src/sessions/console';

describe('overwritten', () => {
  it.each([
    ['10%\r20%\r30%', '30%'],
    ['long line\rshort', 'shortline'],
    ['10%\r', '10%\r'],
    ['10%\r\ndone', '10%\ndone'],
    ['a\nb\rc\nd', 'a\nc\nd'],
    ['plain\ntext', 'plain\ntext']
  ])('shows %j as %j', (text, shown) => {
    expect(overwritten(text)).toBe(shown);
  });
});

describe('ConsoleLog', () => {
  let log: ConsoleLog;
  let asked: [string, number][];

  /**
   * A log whose server answers a list of events, or fails, a question after the other.
   */
  const logOf = (...answers: (ExecutionEvent[] | Error)[]): ConsoleLog => {
    asked = [];
    log = new ConsoleLog(async function* (executionId, since) {
      asked.push([executionId, since]);
      await Promise.resolve();
      const answer = answers.shift() ?? [];
      if (answer instanceof Error) {
        throw answer;
      }
      yield* answer;
    });
    return log;
  };
  const over = (): Promise<void> =>
    vi.waitFor(
      () => {
        expect(log.isRunning).toBe(false);
      },
      { timeout: 5000 }
    );

  afterEach(() => {
    log.dispose();
  });

  it('gathers text by stream, and shows values, errors and what was left out', async () => {
    logOf([
      { seq: 0, type: 'stream', name: 'stdout', text: 'one ' },
      { seq: 1, type: 'stream', name: 'stdout', text: 'two\n' },
      { seq: 2, type: 'stream', name: 'stderr', text: 'careful\n' },
      { seq: 3, type: 'execute_result', data: { 'text/plain': '42' } },
      { seq: 4, type: 'truncated', message: 'Output is left out.' },
      { seq: 5, type: 'error', ename: 'ValueError', evalue: 'no', traceback: ['frames'] },
      { seq: 6, type: 'result', success: false }
    ]).show('e1');
    await over();

    expect(log.outputs).toMatchObject([
      { output_type: 'stream', name: 'stdout', text: 'one two\n' },
      { output_type: 'stream', name: 'stderr', text: 'careful\n' },
      { output_type: 'execute_result', data: { 'text/plain': '42' } },
      { output_type: 'stream', name: 'stderr', text: 'Output is left out.\n' },
      { output_type: 'error', ename: 'ValueError', traceback: ['frames'] }
    ]);
    expect(asked).toEqual([['e1', 0]]);
  });

  it('goes on after a broken connection where it was, and shows nothing twice', async () => {
    logOf(
      [{ seq: 0, type: 'stream', name: 'stdout', text: 'a' }],
      new Error('The connection broke.'),
      [
        { seq: 0, type: 'stream', name: 'stdout', text: 'a' },
        { seq: 1, type: 'stream', name: 'stdout', text: 'b' },
        { seq: 2, type: 'result', success: true }
      ]
    ).show('e1');
    await over();

    expect(log.outputs).toMatchObject([{ text: 'ab' }]);
    expect(asked).toEqual([
      ['e1', 0],
      ['e1', 1],
      ['e1', 1]
    ]);
  });

  it('clears when the code says so, at once or with what comes next', async () => {
    logOf([
      { seq: 0, type: 'stream', name: 'stdout', text: 'old' },
      { seq: 1, type: 'clear_output', wait: true },
      { seq: 2, type: 'stream', name: 'stdout', text: 'new' },
      { seq: 3, type: 'result', success: true }
    ]).show('e1');
    await over();

    expect(log.outputs).toMatchObject([{ text: 'new' }]);
  });

  it('changes a display that was shown before', async () => {
    const transient = { display_id: 'd' };
    logOf([
      { seq: 0, type: 'display_data', data: { 'text/plain': '1 of 2' }, transient },
      { seq: 1, type: 'update_display_data', data: { 'text/plain': '2 of 2' }, transient },
      { seq: 2, type: 'result', success: true }
    ]).show('e1');
    await over();

    expect(log.outputs).toMatchObject([{ data: { 'text/plain': '2 of 2' } }]);
  });

  it('ends with the message of the server when the execution is gone', async () => {
    logOf(new MlsvcError('There is no execution e1.', 404, 'NotFoundException')).show('e1');
    await over();

    expect(log.trouble).toBe('There is no execution e1.');
    expect(asked).toHaveLength(1);
  });

  it('keeps the end of a very long text', async () => {
    const text = 'x'.repeat(99) + '\n';
    logOf([
      { seq: 0, type: 'stream', name: 'stdout', text: text.repeat(3000) },
      { seq: 1, type: 'stream', name: 'stdout', text: 'the end' },
      { seq: 2, type: 'result', success: true }
    ]).show('e1');
    await over();

    const shown = log.outputs[0]?.text as string;
    expect(shown.length).toBeLessThan(201_000);
    expect(shown.startsWith('…\nx')).toBe(true);
    expect(shown.endsWith('the end')).toBe(true);
  });

  it('asks no more once nobody looks, and goes on when somebody does', async () => {
    logOf(
      [{ seq: 0, type: 'stream', name: 'stdout', text: 'a' }],
      [{ seq: 1, type: 'result', success: true }]
    ).show('e1');
    await vi.waitFor(() => {
      expect(log.outputs).toHaveLength(1);
    });
    log.stop();
    await new Promise(resolve => setTimeout(resolve, 700));
    expect(asked).toHaveLength(1);

    log.resume();
    await over();
    expect(asked[1]).toEqual(['e1', 1]);
  });
});
