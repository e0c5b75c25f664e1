import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { runInNewContext } from 'node:vm';
import { describe, expect, it } from 'vitest';

import { IServiceVersion } from '../../src/calls/api';
import { exampleInputs } from '../../src/calls/examples';
import { callOf, LANGUAGES, pythonValue, spaced } from '../../src/calls/snippets';

const URL = 'http://127.0.0.1:12800';
const IRIS: IServiceVersion = {
  name: 'Iris',
  version: 'V1.0',
  inputParameterDefinitions: [{ name: 'flower_data', type: 'vector' }]
};
const LOCAL = 'http://localhost:12800';
const CHURN: IServiceVersion = {
  name: 'churn',
  version: 'V1.0',
  inputParameterDefinitions: [{ name: 'customer', type: 'data.frame' }]
};
const INPUTS = { flower_data: [7, 3.2, 4.7, 1.4] };

describe('callOf', () => {
  it('writes a line for a shell', () => {
    expect(callOf('curl', IRIS, INPUTS, URL)).toBe(
      [
        `curl -sS 'http://127.0.0.1:12800/api/Iris/V1.0' \\`,
        `  -H "Authorization: Bearer $MLSVC_TOKEN" \\`,
        `  -H 'Content-Type: application/json' \\`,
        `  -d '{"flower_data": [7, 3.2, 4.7, 1.4]}'`
      ].join('\n')
    );
  });

  it.each(LANGUAGES.map(({ id }) => id).filter(id => id !== 'magic'))(
    'has a key in place of the variable in %s',
    language => {
      const call = callOf(language, IRIS, INPUTS, URL, 'mlsvckey_x');

      expect(call).toContain('mlsvckey_x');
      expect(call).not.toMatch(/MLSVC_TOKEN|import os|prompt/);
    }
  );

  it('survives the quotes of a shell', () => {
    const inputs = { text: `it's "$HOME" \`ls\` \\ \n é` };
    const line = callOf('curl', IRIS, inputs, URL).replace(/^curl/, 'printf "%s\\n"');

    const words = execFileSync('sh', ['-c', line], { env: { MLSVC_TOKEN: 'secret' } });

    const given = words.toString().split('\n');
    expect(given).toContain('Authorization: Bearer secret');
    expect(JSON.parse(given.at(-2) ?? '')).toEqual(inputs);
  });

  it('writes Python with requests', () => {
    const call = callOf('python', IRIS, INPUTS, URL);

    expect(call).toContain('import requests');
    expect(call).toContain('"http://127.0.0.1:12800/api/Iris/V1.0"');
    expect(call).toContain('json={"flower_data": [7, 3.2, 4.7, 1.4]}');
  });

  it('writes Python with the client', () => {
    const call = callOf('client', IRIS, INPUTS, URL);

    expect(call).toContain(
      'with Client("http://127.0.0.1:12800", token=os.environ["MLSVC_TOKEN"]) as client:'
    );
    expect(call).toContain('client.service("Iris", "V1.0")(flower_data=[7, 3.2, 4.7, 1.4])');
  });

  it('writes inputs whose names are R and no Python', () => {
    expect(callOf('client', IRIS, { 'new.cars': [1], n: 2 }, URL)).toContain(
      '("Iris", "V1.0")(**{"new.cars": [1], "n": 2})'
    );
    expect(callOf('client', IRIS, { lambda: 1 }, URL)).toContain('(**{"lambda": 1})');
    expect(callOf('magic', IRIS, { 'new.cars': [1] }, URL)).toBe('%consume Iris V1.0 new.cars=[1]');
  });

  it('writes the magic, with quotes where a name has blanks', () => {
    expect(callOf('magic', IRIS, INPUTS, URL)).toBe(
      '%consume Iris V1.0 flower_data=[7, 3.2, 4.7, 1.4]'
    );
    expect(callOf('magic', { ...IRIS, name: 'My Iris' }, { a: true, b: null }, URL)).toBe(
      '%consume "My Iris" V1.0 a=True b=None'
    );
  });

  it.each(['javascript', 'node'] as const)('writes %s that runs', async language => {
    const call = callOf(language, IRIS, INPUTS, URL);
    const asked: unknown[] = [];
    const world = {
      fetch: (url: string, init: unknown) => {
        asked.push(url, init);
        return Promise.resolve({ json: () => ({ success: true, outputParameters: 'here' }) });
      },
      // What the other of the two has is not there.
      ...(language === 'node'
        ? { process: { env: { MLSVC_TOKEN: 'secret' } } }
        : { prompt: () => 'secret' }),
      console: { log: (text: unknown) => asked.push(text) }
    };

    await (runInNewContext(`(async () => {${call}})()`, world) as Promise<void>);

    expect(asked).toEqual([
      'http://127.0.0.1:12800/api/Iris/V1.0',
      {
        method: 'POST',
        headers: { Authorization: 'Bearer secret', 'Content-Type': 'application/json' },
        body: JSON.stringify(INPUTS)
      },
      'here'
    ]);
  });

  it('writes texts of other languages that nothing ends too early', () => {
    const inputs = { text: 'a "b" #(lf)-' };

    expect(callOf('r', IRIS, inputs, URL)).toContain(
      String.raw`r"--({"text": "a \"b\" #(lf)-"})--"`
    );
    expect(callOf('powerquery', IRIS, inputs, URL)).toContain(
      String.raw`Inputs = "{""text"": ""a \""b\"" #(#)(lf)-""}",`
    );
    expect(callOf('csharp', IRIS, inputs, URL)).toContain(
      String.raw`var inputs = @"{""text"": ""a \""b\"" #(lf)-""}";`
    );
  });

  it.each([
    ['csharp', 'csharp'],
    ['r', 'r'],
    ['powerquery', 'excel']
  ] as const)('writes %s as the guide shows it', (language, page) => {
    const guide = readFileSync(
      join(__dirname, `../../../server_ext/docs/how-to/call-from-${page}.md`),
      'utf8'
    );

    expect(guide).toContain(
      callOf(language, CHURN, { customer: { tenure: [12], plan: ['basic'] } }, LOCAL)
    );
  });

  it('escapes names in the address', () => {
    const call = callOf('curl', { name: 'My Iris', version: 'V 1' }, {}, URL);
    expect(call).toContain('/api/My%20Iris/V%201');
  });

  it('never has a token in it', () => {
    for (const { id } of LANGUAGES) {
      expect(callOf(id, IRIS, INPUTS, URL)).not.toMatch(/secret|token=(?!os\.environ)\w/);
    }
  });
});

describe('values', () => {
  it('are literals of Python', () => {
    expect(pythonValue({ a: [true, null, 1.5, 'x"y\n'], b: {} })).toBe(
      '{"a": [True, None, 1.5, "x\\"y\\n"], "b": {}}'
    );
  });

  it('are JSON with blanks', () => {
    const value = { a: [1, { b: 'x' }], c: null };
    expect(spaced(value)).toBe('{"a": [1, {"b": "x"}], "c": null}');
    expect(JSON.parse(spaced(value))).toEqual(value);
  });

  it('are made up where nobody gave any', () => {
    expect(exampleInputs(IRIS)).toEqual({ flower_data: [1, 2, 3] });
    expect(exampleInputs({ name: 'a', version: '1' })).toEqual({});
  });
});
