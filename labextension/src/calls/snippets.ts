import { IServiceVersion } from './api';
import { LINES } from './request';
import { streams } from './stream';

export type Language =
  'curl' | 'python' | 'client' | 'magic' | 'javascript' | 'node' | 'csharp' | 'r' | 'powerquery';

/**
 * A way to write a call; its name is that of a program, and not translated.
 */
export interface ILanguage {
  id: Language;
  name: string;
  mimeType: string;

  /**
   * A name that fenced code in Markdown may have.
   */
  code: string;
}

export const LANGUAGES: readonly ILanguage[] = [
  { id: 'curl', name: 'curl', mimeType: 'text/x-sh', code: 'bash' },
  { id: 'python', name: 'Python', mimeType: 'text/x-python', code: 'python' },
  { id: 'client', name: 'jupyter_mlsvc', mimeType: 'text/x-python', code: 'python' },
  { id: 'magic', name: '%consume', mimeType: 'text/x-ipython', code: 'python' },
  {
    id: 'javascript',
    name: 'JavaScript (browser)',
    mimeType: 'text/javascript',
    code: 'javascript'
  },
  { id: 'node', name: 'JavaScript (Node)', mimeType: 'text/javascript', code: 'javascript' },
  { id: 'csharp', name: 'C#', mimeType: 'text/x-csharp', code: 'csharp' },
  { id: 'r', name: 'R', mimeType: 'text/x-rsrc', code: 'r' },
  { id: 'powerquery', name: 'Excel (Power Query)', mimeType: 'text/plain', code: '' }
];

/**
 * Write a call of a service that can be run as it stands.
 *
 * The token is read from the variable that kernels and terminals of Jupyter have, or asked for; it is
 * no part of the text, so that nobody hands it on unawares.
 *
 * @param url - Address of the API that programs call.
 * @param key - A service key that is to be part of the text, in place of the token.
 */
export function callOf(
  language: Language,
  service: IServiceVersion,
  inputs: Readonly<Record<string, unknown>>,
  url: string,
  key?: string
): string {
  const isStream = streams(service);
  const address = `${url}/api/${encodeURIComponent(service.name)}/${encodeURIComponent(service.version)}`;
  switch (language) {
    case 'curl':
      return curl(address, inputs, isStream, key);
    case 'python':
      return python(address, inputs, isStream, key);
    case 'client':
      return client(service, inputs, url, key);
    case 'magic':
      return magic(service, inputs);
    case 'javascript':
      return javascript(
        key ? JSON.stringify(key) : `prompt(${JSON.stringify(`Token for ${service.name}`)})`,
        address,
        inputs,
        isStream
      );
    case 'node':
      return javascript(
        key ? JSON.stringify(key) : 'process.env.MLSVC_TOKEN',
        address,
        inputs,
        isStream
      );
    case 'csharp':
      return csharp(address, inputs, key);
    case 'r':
      return r(address, inputs, key);
    case 'powerquery':
      return powerQuery(address, inputs, key);
  }
}

function curl(address: string, inputs: object, isStream: boolean, key?: string): string {
  return [
    `curl -sS${isStream ? 'N' : ''} ${shellQuote(address)} \\`,
    ...(isStream ? [`  -H 'Accept: text/event-stream' \\`] : []),
    `  -H "Authorization: Bearer ${key ?? '$MLSVC_TOKEN'}" \\`,
    `  -H 'Content-Type: application/json' \\`,
    `  -d ${shellQuote(spaced(inputs))}`
  ].join('\n');
}

function python(address: string, inputs: object, isStream: boolean, key?: string): string {
  const token = key ? pythonText(`Bearer ${key}`) : '"Bearer " + os.environ["MLSVC_TOKEN"]';
  if (isStream) {
    return [
      'import json',
      ...(key ? [] : ['import os']),
      '',
      'import requests',
      '',
      'with requests.post(',
      `    ${pythonText(address)},`,
      `    headers={"Authorization": ${token}, "Accept": ${pythonText(LINES)}},`,
      `    json=${pythonValue(inputs)},`,
      '    stream=True,',
      '    timeout=60,',
      ') as response:',
      '    response.raise_for_status()',
      '    for line in response.iter_lines(chunk_size=None):',
      '        part = json.loads(line)',
      '        print(part["value"] if "output" in part else part)'
    ].join('\n');
  }
  return [
    ...(key ? [] : ['import os', '']),
    'import requests',
    '',
    'response = requests.post(',
    `    ${pythonText(address)},`,
    `    headers={"Authorization": ${token}},`,
    `    json=${pythonValue(inputs)},`,
    '    timeout=60,',
    ')',
    'result = response.json()',
    'if result.get("success"):',
    '    print(result["outputParameters"])',
    'else:',
    '    print(result.get("errorMessage") or result["message"])'
  ].join('\n');
}

function client(service: IServiceVersion, inputs: object, url: string, key?: string): string {
  const named = Object.entries(inputs).map(([name, value]) => `${name}=${pythonValue(value)}`);
  // Inputs of services in R may have names that are none of Python's.
  const call = Object.keys(inputs).every(isPythonName)
    ? named.join(', ')
    : `**${pythonValue(inputs)}`;
  const token = key ? pythonText(key) : 'os.environ["MLSVC_TOKEN"]';
  return [
    ...(key ? [] : ['import os', '']),
    'from jupyter_mlsvc import Client',
    '',
    `with Client(${pythonText(url)}, token=${token}) as client:`,
    ...(streams(service)
      ? [
          `    service = client.service(${pythonText(service.name)}, ${pythonText(service.version)})`,
          `    for item in service.stream(${call}):`,
          '        print(item)'
        ]
      : [
          `    result = client.service(${pythonText(service.name)}, ${pythonText(service.version)})(${call})`,
          '    print(result.outputs)'
        ])
  ].join('\n');
}

function magic(service: IServiceVersion, inputs: object): string {
  const words = [service.name, service.version].map(word =>
    /[\s"']/.test(word) ? `"${word}"` : word
  );
  const values = Object.entries(inputs).map(([name, value]) => `${name}=${pythonValue(value)}`);
  const option = streams(service) ? ['--stream'] : [];
  return ['%consume', ...option, ...words, ...values].join(' ');
}

/**
 * @param token - The expression that gives the token.
 */
function javascript(token: string, address: string, inputs: object, isStream: boolean): string {
  return [
    `const token = ${token};`,
    '',
    `const response = await fetch(${JSON.stringify(address)}, {`,
    `  method: 'POST',`,
    '  headers: {',
    '    Authorization: `Bearer ${token}`,',
    ...(isStream ? [`    Accept: '${LINES}',`] : []),
    `    'Content-Type': 'application/json'`,
    '  },',
    `  body: JSON.stringify(${spaced(inputs)})`,
    '});',
    ...(isStream
      ? [
          'const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();',
          `let text = '';`,
          'for (;;) {',
          '  const { value, done } = await reader.read();',
          '  if (done) break;',
          `  const lines = (text + value).split('\\n');`,
          '  text = lines.pop();',
          '  for (const line of lines) {',
          '    const part = JSON.parse(line);',
          '    console.log(part.output ? part.value : part);',
          '  }',
          '}'
        ]
      : [
          'const result = await response.json();',
          'console.log(result.success ? result.outputParameters : result.errorMessage ?? result.message);'
        ])
  ].join('\n');
}

/**
 * For .NET and for .NET Framework, whose library reads no JSON.
 */
function csharp(address: string, inputs: object, key?: string): string {
  const token = key ? JSON.stringify(key) : 'Environment.GetEnvironmentVariable("MLSVC_TOKEN")';
  return [
    'using System;',
    'using System.Net.Http;',
    'using System.Net.Http.Headers;',
    'using System.Text;',
    'using System.Threading.Tasks;',
    '',
    'static class Program',
    '{',
    '    static readonly HttpClient Client = new HttpClient();',
    '',
    '    static void Main() => Call().GetAwaiter().GetResult();',
    '',
    '    static async Task Call()',
    '    {',
    '        Client.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue(',
    `            "Bearer", ${token});`,
    `        var inputs = @"${spaced(inputs).replaceAll('"', '""')}";`,
    '        var response = await Client.PostAsync(',
    `            ${JSON.stringify(address)},`,
    '            new StringContent(inputs, Encoding.UTF8, "application/json"));',
    '        Console.WriteLine(await response.Content.ReadAsStringAsync());',
    '        response.EnsureSuccessStatusCode();',
    '    }',
    '}'
  ].join('\n');
}

function r(address: string, inputs: object, key?: string): string {
  const token = key ? JSON.stringify(key) : 'Sys.getenv("MLSVC_TOKEN")';
  const text = spaced(inputs);
  const ends = text.match(/\)-*"/g) ?? [];
  // One dash more than any end in the text has.
  const dashes = '-'.repeat(Math.max(0, ...ends.map(end => end.length - 1)));
  return [
    'library(httr2)',
    '',
    `response <- request(${JSON.stringify(address)}) |>`,
    `  req_auth_bearer_token(${token}) |>`,
    `  req_body_raw(r"${dashes}(${text})${dashes}", type = "application/json") |>`,
    '  req_error(body = \\(response) resp_body_json(response)$message) |>',
    '  req_perform()',
    'result <- resp_body_json(response, simplifyVector = TRUE)',
    'print(if (result$success) result$outputParameters else result$errorMessage)'
  ].join('\n');
}

function powerQuery(address: string, inputs: object, key?: string): string {
  return [
    ...(key ? [] : ['// MLSVC_TOKEN is a parameter of the workbook (Manage Parameters).']),
    'let',
    `    Inputs = ${powerQueryText(spaced(inputs))},`,
    `    Answer = Web.Contents(${powerQueryText(address)}, [`,
    '        Headers = [',
    key
      ? `            #"Authorization" = ${powerQueryText(`Bearer ${key}`)},`
      : '            #"Authorization" = "Bearer " & MLSVC_TOKEN,',
    '            #"Content-Type" = "application/json"',
    '        ],',
    '        Content = Text.ToBinary(Inputs)',
    '    ]),',
    '    Result = Json.Document(Answer)',
    'in',
    '    if Result[success] then Result[outputParameters] else error Result[errorMessage]'
  ].join('\n');
}

/**
 * A text of Power Query, in which `#(` begins an escape.
 */
function powerQueryText(text: string): string {
  return `"${text.replaceAll('#(', '#(#)(').replaceAll('"', '""')}"`;
}

/**
 * Write JSON in a line, with blanks as people do.
 */
export function spaced(value: unknown): string {
  if (Array.isArray(value)) {
    return `[${value.map(spaced).join(', ')}]`;
  }
  if (typeof value === 'object' && value !== null) {
    const members = Object.entries(value).map(([k, v]) => `${JSON.stringify(k)}: ${spaced(v)}`);
    return `{${members.join(', ')}}`;
  }
  return JSON.stringify(value);
}

/**
 * Write a value as a Python literal.
 */
export function pythonValue(value: unknown): string {
  if (Array.isArray(value)) {
    return `[${value.map(pythonValue).join(', ')}]`;
  }
  if (typeof value === 'object' && value !== null) {
    const members = Object.entries(value).map(([k, v]) => `${pythonText(k)}: ${pythonValue(v)}`);
    return `{${members.join(', ')}}`;
  }
  if (typeof value === 'boolean') {
    return value ? 'True' : 'False';
  }
  return value === null || value === undefined
    ? 'None'
    : typeof value === 'string'
      ? pythonText(value)
      : JSON.stringify(value);
}

const WORDS_OF_PYTHON = new Set(
  (
    'False None True and as assert async await break class continue def del elif else except ' +
    'finally for from global if import in is lambda nonlocal not or pass raise return try while ' +
    'with yield'
  ).split(' ')
);

function isPythonName(name: string): boolean {
  return /^[\p{L}_][\p{L}\p{N}_]*$/u.test(name) && !WORDS_OF_PYTHON.has(name);
}

/**
 * A JSON string is a Python one too, but for the escapes of halves of a character.
 */
function pythonText(text: string): string {
  return JSON.stringify(text);
}

function shellQuote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
