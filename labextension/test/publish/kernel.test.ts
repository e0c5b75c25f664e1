import { KernelMessage } from '@jupyterlab/services';
import { execFileSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';

import {
  expression,
  IKernel,
  KernelError,
  PublishingKernel,
  pythonString
} from '../../src/publish/kernel';
import { IPublishRequest } from '../../src/publish/suggestion';

/**
 * A kernel that answers when it is told to, and keeps what it was asked.
 */
class Kernel {
  asked: KernelMessage.IExecuteRequestMsg['content'][] = [];
  interrupts = 0;
  private _onIOPub: (message: unknown) => void = () => undefined;
  private _reply: (content: unknown) => void = () => undefined;

  readonly connection = {
    requestExecute: (content: KernelMessage.IExecuteRequestMsg['content']) => {
      this.asked.push(content);
      const done = new Promise(resolve => {
        this._reply = reply => {
          resolve({ content: reply });
        };
      });
      return {
        done,
        set onIOPub(callback: (message: unknown) => void) {
          setOnIOPub(callback);
        }
      };
    },
    interrupt: () => Promise.resolve(void (this.interrupts += 1))
  } as unknown as IKernel;

  begin(): void {
    this._onIOPub({ header: { msg_type: 'status' }, content: { execution_state: 'busy' } });
  }

  print(text: string): void {
    this._onIOPub({ header: { msg_type: 'stream' }, content: { name: 'stdout', text } });
  }

  answer(value: unknown): void {
    this._reply({
      status: 'ok',
      user_expressions: { answer: { status: 'ok', data: { 'application/json': value } } }
    });
  }

  raise(ename: string, evalue: string): void {
    this._reply({
      status: 'ok',
      user_expressions: { answer: { status: 'error', ename, evalue, traceback: [] } }
    });
  }

  constructor() {
    setOnIOPub = callback => {
      this._onIOPub = callback;
    };
  }
}

let setOnIOPub: (callback: (message: unknown) => void) => void;

const REQUEST: IPublishRequest = {
  kind: 'code',
  function: null,
  model: null,
  response: [],
  name: 'Iris',
  version: 'V1.0',
  code: 'x = 1',
  runtimeType: 'Python',
  initCode: '',
  setupCode: '',
  isolation: null,
  effects: false,
  network: true,
  readOnly: false,
  keepBodies: false,
  concurrency: null,
  deadlineSeconds: null,
  inputs: [],
  outputs: [],
  description: '',
  alias: '',
  files: [],
  session: null,
  snapshot: null,
  asInSession: [],
  force: false,
  replace: false
};

describe('pythonString', () => {
  it.each([
    ['quotes', `it's "quoted" and '''tripled''' """so"""`],
    ['what ends a string or a line', '\\") + 1\n\r\u2028\u2029\u0085\0'],
    ['backslashes', String.raw`C:\new\table {x} %s`],
    ['all of Unicode', 'Größe 花 🌸 \ud83c \x7f']
  ])('is read by Python as the text it was made of: %s', (_, text) => {
    const program = 'import ast, json, sys; print(json.dumps(ast.literal_eval(sys.stdin.read())))';
    const read = execFileSync('python3', ['-c', program], { input: pythonString(text) });

    expect(JSON.parse(read.toString())).toBe(text);
  });
});

describe('expression', () => {
  it('is one expression of Python, whatever the code', () => {
    const code = 'x = "\\n"\nif True:\n    print(\'")\')  # 花';
    const program = 'import ast, sys; ast.parse(sys.stdin.read(), mode="eval")';

    execFileSync('python3', ['-c', program], { input: expression('suggest', { code }) });
  });
});

describe('PublishingKernel', () => {
  it('leaves no trace in the history and asks nothing of the user', async () => {
    const kernel = new Kernel();
    const suggestion = new PublishingKernel(kernel.connection).suggest(['x = 1'], {});
    kernel.answer({ name: 'x' });

    await expect(suggestion).resolves.toMatchObject({ name: 'x', kind: 'code', problems: [] });
    expect(kernel.asked[0]).toMatchObject({
      code: '',
      silent: true,
      store_history: false,
      allow_stdin: false
    });
  });

  it('tells a missing package from other errors', async () => {
    const kernel = new Kernel();
    const suggestion = new PublishingKernel(kernel.connection).suggest(['x = 1'], {});
    kernel.raise('ModuleNotFoundError', "No module named 'jupyter_mlsvc'");

    const error = await suggestion.catch((reason: unknown) => reason);
    expect(error).toMatchObject({ isMissingPackage: true });
    expect(new KernelError('sklearn is missing', 'ImportError').isMissingPackage).toBe(false);
  });

  it("rejects with the server's message when nothing was published", async () => {
    const kernel = new Kernel();
    const published = new PublishingKernel(kernel.connection).publish(REQUEST);
    kernel.answer({ error: { message: 'Iris V1.0 is there already.', force: true, next: 'V1.1' } });

    await expect(published).rejects.toMatchObject({
      message: 'Iris V1.0 is there already.',
      remedy: { force: true, next: 'V1.1' }
    });
  });

  it('asks about several cells as such', async () => {
    const kernel = new Kernel();
    const suggestion = new PublishingKernel(kernel.connection).suggest(['a = 1', 'b = a'], {});
    kernel.answer({ name: 'x' });
    await suggestion;

    const { answer } = kernel.asked[0]?.user_expressions as Record<string, string>;
    expect(answer).toContain('sources');
    expect(answer).toContain('b = a');
  });

  it('passes on what is printed, line by line', async () => {
    const kernel = new Kernel();
    const lines: string[] = [];
    const published = new PublishingKernel(kernel.connection).publish(REQUEST, {
      onLine: line => lines.push(line)
    });
    kernel.begin();
    kernel.print('Sending clf\n\rSending names\n');
    kernel.answer({ name: 'Iris' });
    await published;

    expect(lines).toEqual(['Sending clf', 'Sending names']);
  });

  it('interrupts the kernel when it is cancelled while the kernel works on it', async () => {
    const kernel = new Kernel();
    const abort = new AbortController();
    const published = new PublishingKernel(kernel.connection).publish(REQUEST, {
      signal: abort.signal
    });
    kernel.begin();
    abort.abort();
    expect(kernel.interrupts).toBe(1);
    kernel.raise('KeyboardInterrupt', '');

    await expect(published).rejects.toMatchObject({ name: 'AbortError' });
  });

  it('does not interrupt what the user runs, but its own turn when that comes', async () => {
    const kernel = new Kernel();
    const abort = new AbortController();
    const published = new PublishingKernel(kernel.connection).publish(REQUEST, {
      signal: abort.signal
    });
    abort.abort();

    await expect(published).rejects.toMatchObject({ name: 'AbortError' });
    expect(kernel.interrupts).toBe(0);
    kernel.begin();
    expect(kernel.interrupts).toBe(1);
  });
});
