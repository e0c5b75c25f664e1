import { IServiceVersion } from './api';

export type Language = 'curl' | 'python' | 'client' | 'magic' | 'javascript';

/**
 * The ways to write a call, with their names; those are names of programs, and not translated.
 */
export const LANGUAGES: readonly { id: Language; name: string; mimeType: string; code: string }[] =
  [
    { id: 'curl', name: 'curl', mimeType: 'text/x-sh', code: 'bash' },
    { id: 'python', name: 'Python', mimeType: 'text/x-python', code: 'python' },
    { id: 'client', name: 'jupyter_mlsvc', mimeType: 'text/x-python', code: 'python' },
    { id: 'magic', name: '%consume', mimeType: 'text/x-ipython', code: 'python' },
    { id: 'javascript', name: 'JavaScript', mimeType: 'text/javascript', code: 'javascript' }
  ];

/**
 * What an input may look like, for calls whose inputs nobody has typed yet.
 */
const EXAMPLES: Readonly<Record<string, unknown>> = {
  logical: true,
  numeric: 1.5,
  integer: 1,
  character: 'text',
  vector: [1, 2, 3],
  matrix: [
    [1, 2],
    [3, 4]
  ],
  'data.frame': { a: [1, 2], b: [3, 4] }
};

/**
 * Make up inputs of the right types.
 */
export function exampleInputs(service: IServiceVersion): Record<string, unknown> {
  const inputs = service.inputParameterDefinitions ?? [];
  return Object.fromEntries(inputs.map(({ name, type }) => [name, EXAMPLES[type] ?? 'text']));
}

/**
 * Write a call of a service that can be run as it stands.
 *
 * The token is read from the variable that kernels and terminals of Jupyter have; it is no part of
 * the text, so that nobody hands it on unawares.
 *
 * @param url - Address of the API that programs call.
 */
export function callOf(
  language: Language,
  service: IServiceVersion,
  inputs: Readonly<Record<string, unknown>>,
  url: string
): string {
  const address = `${url}/api/${encodeURIComponent(service.name)}/${encodeURIComponent(service.version)}`;
  switch (language) {
    case 'curl':
      return curl(address, inputs);
    case 'python':
      return python(address, inputs);
    case 'client':
      return client(service, inputs, url);
    case 'magic':
      return magic(service, inputs);
    case 'javascript':
      return javascript(address, inputs);
  }
}

function curl(address: string, inputs: object): string {
  return [
    `curl -sS ${shellQuote(address)} \\`,
    `  -H "Authorization: Bearer $MLSVC_TOKEN" \\`,
    `  -H 'Content-Type: application/json' \\`,
    `  -d ${shellQuote(spaced(inputs))}`
  ].join('\n');
}

function python(address: string, inputs: object): string {
  return [
    'import os',
    '',
    'import requests',
    '',
    'response = requests.post(',
    `    ${pythonText(address)},`,
    `    headers={"Authorization": "Bearer " + os.environ["MLSVC_TOKEN"]},`,
    `    json=${pythonValue(inputs)},`,
    '    timeout=60,',
    ')',
    'response.raise_for_status()',
    'result = response.json()',
    'print(result["outputParameters"] if result["success"] else result["errorMessage"])'
  ].join('\n');
}

function client(service: IServiceVersion, inputs: object, url: string): string {
  const named = Object.entries(inputs).map(([name, value]) => `${name}=${pythonValue(value)}`);
  // Inputs of services in R may have names that are none of Python's.
  const call = Object.keys(inputs).every(isPythonName)
    ? named.join(', ')
    : `**${pythonValue(inputs)}`;
  return [
    'import os',
    '',
    'from jupyter_mlsvc import Client',
    '',
    `with Client(${pythonText(url)}, token=os.environ["MLSVC_TOKEN"]) as client:`,
    `    result = client.service(${pythonText(service.name)}, ${pythonText(service.version)})(${call})`,
    '    print(result.outputs)'
  ].join('\n');
}

function magic(service: IServiceVersion, inputs: object): string {
  const words = [service.name, service.version].map(word =>
    /[\s"']/.test(word) ? `"${word}"` : word
  );
  const values = Object.entries(inputs).map(([name, value]) => `${name}=${pythonValue(value)}`);
  return ['%consume', ...words, ...values].join(' ');
}

function javascript(address: string, inputs: object): string {
  return [
    '// A token is the access_token that POST /login answers.',
    'const token = process.env.MLSVC_TOKEN;',
    '',
    `const response = await fetch(${JSON.stringify(address)}, {`,
    `  method: 'POST',`,
    '  headers: {',
    '    Authorization: `Bearer ${token}`,',
    `    'Content-Type': 'application/json'`,
    '  },',
    `  body: JSON.stringify(${spaced(inputs)})`,
    '});',
    'const result = await response.json();',
    'console.log(result.success ? result.outputParameters : result.errorMessage ?? result.message);'
  ].join('\n');
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
