import { IWidgetModel } from '../../src/widget/model';

interface ISent {
  id?: string;
  cancel?: string;
  method?: string;
  path?: string[];
  query?: Record<string, string>;
}

type Callback = (...args: never[]) => void;

/**
 * A widget's model whose kernel is the test.
 */
export class FakeModel implements IWidgetModel {
  constructor(readonly state: Record<string, unknown> = {}) {}

  readonly sent: { content: ISent; body: string }[] = [];
  saved: unknown[] = [];

  get(name: string): unknown {
    return this.state[name];
  }

  set(name: string, value: unknown): void {
    this.state[name] = value;
    this.emit(`change:${name}`);
  }

  save_changes(): void {
    this.saved.push(structuredClone(this.state['inputs']));
  }

  on(event: string, callback: Callback): void {
    this._callbacks.push([event, callback]);
  }

  off(event: string, callback: Callback): void {
    this._callbacks = this._callbacks.filter(([e, c]) => e !== event || c !== callback);
  }

  send(content: unknown, _callbacks?: unknown, buffers: ArrayBuffer[] = []): void {
    const body = buffers[0] ? new TextDecoder().decode(buffers[0]) : '';
    this.sent.push({ content: content as ISent, body });
  }

  emit(event: string, ...args: unknown[]): void {
    for (const [name, callback] of [...this._callbacks]) {
      if (name === event) {
        (callback as (...args: unknown[]) => void)(...args);
      }
    }
  }

  /**
   * Answer the request that was sent last.
   */
  answer(value: unknown): void {
    const bytes = new TextEncoder().encode(JSON.stringify(value));
    this.emit('msg:custom', { id: this.lastId }, [new DataView(bytes.buffer)]);
  }

  /**
   * Give a part of the answer to a request.
   */
  part(id: string, value: unknown): void {
    const bytes = new TextEncoder().encode(JSON.stringify(value));
    this.emit('msg:custom', { id, line: true }, [new DataView(bytes.buffer)]);
  }

  get lastId(): string {
    return this.sent.at(-1)?.content.id ?? '';
  }

  get listeners(): number {
    return this._callbacks.length;
  }

  private _callbacks: [string, Callback][] = [];
}
