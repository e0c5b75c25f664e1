import { describe, expect, it } from 'vitest';

import { IServiceResult } from '../../src/calls/api';
import { MlsvcError } from '../../src/calls/request';
import { callOf } from '../../src/calls/snippets';
import { resultOf, streams } from '../../src/calls/stream';

const END: IServiceResult = {
  success: true,
  errorMessage: '',
  outputParameters: { n: 2 },
  outputFiles: {},
  consoleOutput: 'said',
  changedFiles: []
};

async function* linesOf(...lines: unknown[]): AsyncGenerator {
  for (const line of lines) {
    await Promise.resolve();
    yield line;
  }
}

describe('resultOf', () => {
  it.each([
    ['character', ['a', 'b'], 'ab'],
    ['vector', [1, null], [1, null]],
    ['data.frame', [{ a: [1] }, { a: [2, 3] }], { a: [1, 2, 3] }]
  ])('puts the items of a %s together', async (type, items, whole) => {
    const lines = linesOf(...items.map(value => ({ output: 'y', value })), END);

    const result = await resultOf(lines, [{ name: 'y', type }], () => undefined);

    expect(result).toEqual({ ...END, outputParameters: { y: whole, n: 2 } });
  });

  it('tells what has come before the code was stopped', async () => {
    const parts: unknown[] = [];
    const lines = linesOf({ output: 'y', value: 1 }, { message: 'It took too long.' });

    const result = resultOf(lines, [], ({ outputParameters }) => parts.push(outputParameters));

    await expect(result).rejects.toThrow(MlsvcError);
    expect(parts).toEqual([{ y: [1] }]);
  });

  it('is no result where the answer breaks off', async () => {
    const lines = linesOf({ output: 'y', value: 1 });

    await expect(resultOf(lines, [], () => undefined)).rejects.toThrow('before its last part');
  });
});

describe('snippets of a version that streams', () => {
  const service = {
    name: 'Chat',
    version: 'V1.0',
    outputParameterDefinitions: [{ name: 'words', type: 'character', streams: true }]
  };

  it.each([
    ['curl', 'curl -sSN'],
    ['python', 'iter_lines'],
    ['client', 'for item in service.stream(prompt="Hi")'],
    ['magic', '%consume --stream Chat'],
    ['javascript', 'application/x-ndjson'],
    ['node', 'getReader']
  ] as const)('take items in %s', (language, words) => {
    expect(streams(service)).toBe(true);
    expect(callOf(language, service, { prompt: 'Hi' }, 'http://localhost:12800')).toContain(words);
  });
});
