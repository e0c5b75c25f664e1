import { IParameterDefinition, IServiceResult, IServiceVersion } from './api';
import { MlsvcError } from './request';

/**
 * A line of an answer that comes item by item: an item, or what comes after the last one.
 */
type ILine = { output: string; value: unknown } | IServiceResult | { message: string };

/**
 * Takes what has come of an answer so far.
 */
export type OnPart = (result: IServiceResult) => void;

/**
 * Milliseconds between two looks at what has come: a form draws all of it each time.
 */
const PAUSE = 50;

/**
 * Whether an answer of a version comes item by item.
 */
export function streams(service: IServiceVersion): boolean {
  return (service.outputParameterDefinitions ?? []).some(output => output.streams);
}

/**
 * Put the lines of an answer together.
 *
 * @param lines - As they come.
 * @param outputs - What the service declares.
 * @param onPart - Called a few times a second with what there is.
 */
export async function resultOf(
  lines: AsyncIterable<unknown>,
  outputs: readonly IParameterDefinition[],
  onPart: OnPart
): Promise<IServiceResult> {
  const items = new Map<string, unknown[]>();
  const values = (): Record<string, unknown> =>
    Object.fromEntries(
      [...items].map(([name, found]) => [name, wholeOf(found, typeOf(outputs, name))])
    );
  let timer: ReturnType<typeof setTimeout> | undefined;
  const tell = (): void => {
    timer = undefined;
    onPart({ ...NOTHING, outputParameters: values() });
  };
  try {
    for await (const line of lines as AsyncIterable<ILine>) {
      if ('output' in line) {
        const found = items.get(line.output) ?? [];
        found.push(line.value);
        items.set(line.output, found);
        timer ??= setTimeout(tell, PAUSE);
      } else if ('message' in line) {
        throw new MlsvcError(line.message, 500, 'StreamException');
      } else {
        return { ...line, outputParameters: { ...values(), ...line.outputParameters } };
      }
    }
  } finally {
    if (timer !== undefined) {
      // Who ends it sees the last items, too.
      clearTimeout(timer);
      tell();
    }
  }
  throw new MlsvcError('The answer ended before its last part.', 502);
}

const NOTHING: IServiceResult = {
  success: true,
  errorMessage: '',
  outputParameters: {},
  outputFiles: {},
  consoleOutput: '',
  changedFiles: []
};

function typeOf(outputs: readonly IParameterDefinition[], name: string): string {
  return outputs.find(output => output.name === name)?.type ?? '';
}

/**
 * The value that a caller who takes no stream gets.
 */
function wholeOf(items: readonly unknown[], type: string): unknown {
  if (type === 'character') {
    return items.join('');
  }
  if (type === 'data.frame') {
    const whole: Record<string, unknown[]> = {};
    for (const piece of items as Record<string, unknown[]>[]) {
      for (const [name, column] of Object.entries(piece)) {
        whole[name] = [...(whole[name] ?? []), ...column];
      }
    }
    return whole;
  }
  return items;
}
