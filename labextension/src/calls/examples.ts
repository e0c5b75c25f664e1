import { ICellDefinition, IParameterDefinition, IServiceVersion } from './api';

/**
 * What an input of a type may look like whose values nobody describes.
 */
const OF_TYPES: Readonly<Record<string, unknown>> = {
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
 * Return inputs that a service can be called with: its publisher's example, or made-up ones.
 */
export function exampleInputs(service: IServiceVersion): Record<string, unknown> {
  const whole = service.examples?.[0]?.inputs;
  if (whole) {
    return { ...whole };
  }
  const inputs = service.inputParameterDefinitions ?? [];
  return Object.fromEntries(inputs.map(input => [input.name, exampleOf(input)]));
}

/**
 * Return the example that an input has, or a made-up value.
 */
export function exampleOf(input: IParameterDefinition): unknown {
  return input.example === undefined ? madeUp(input) : input.example;
}

/**
 * Make up a value as an input is described; it stands for nobody's data.
 */
export function madeUp(input: IParameterDefinition): unknown {
  const { type, columns, items, shape } = input;
  if (type === 'data.frame' && columns?.length) {
    return Object.fromEntries(
      columns.map(column => [column.name, [madeUpCell(column), madeUpCell(column)]])
    );
  }
  if (type === 'vector' && (items || shape)) {
    return Array.from({ length: shape?.[0] ?? 3 }, () => madeUpCell(items ?? {}));
  }
  if (type === 'matrix' && (items || shape)) {
    const row = Array.from({ length: shape?.[1] ?? 3 }, () => madeUpCell(items ?? {}));
    return Array.from({ length: shape?.[0] ?? 2 }, () => row);
  }
  return OF_TYPES[type] ?? 'text';
}

function madeUpCell({
  type = '',
  categories,
  minimum,
  maximum
}: ICellDefinition): string | number | boolean | null {
  if (categories?.length) {
    return categories[0] as string;
  }
  if (type === 'category') {
    return null; // the values are the publisher's own
  }
  if (/^(datetime64|timestamp)/.test(type)) {
    return type.includes(',') ? '2024-01-31T12:00:00Z' : '2024-01-31';
  }
  if (/^(timedelta64|duration)/.test(type)) {
    return 'PT1H';
  }
  if (type.startsWith('period')) {
    return '2024-01';
  }
  if (/^(str|object|large_string)/.test(type)) {
    return 'text';
  }
  if (type.startsWith('bool')) {
    return true;
  }
  if (typeof minimum === 'number' && typeof maximum === 'number') {
    const middle = (minimum + maximum) / 2;
    const whole = Math.round(middle);
    return whole >= minimum && whole <= maximum ? whole : middle;
  }
  return typeof minimum === 'number' ? Math.max(minimum, 1) : Math.min(maximum ?? 1, 1);
}
