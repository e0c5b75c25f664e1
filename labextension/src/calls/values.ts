import { messageOf } from './error';
import { ICellDefinition, IColumnDefinition } from './api';
import { delimiterOf, formatRows, parseRows } from './csv';
import { ITranslation } from './translation';

/**
 * Text of a form that is no value of its field's type; the message is for the one who typed it.
 */
export class InputProblem extends Error {}

export type Scalar = string | number | boolean | null;

/**
 * A value as JSON has it, with what was understood in a few words.
 */
export interface IParsed {
  value: unknown;

  /**
   * Such as `4 numbers`; empty where the text says it all.
   */
  summary: string;
}

/**
 * Words that stand for a missing value in vectors and tables.
 */
const MISSING = new Set(['', 'na', 'nan', 'null', 'none', 'n/a']);

const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;

/**
 * Read what was typed for an input of a type.
 *
 * A vector is a list with commas, or one element a line; a matrix rows of a pasted table, CSV or
 * TSV; a data.frame the same with the columns' names first. All three may be JSON as well. Types
 * that are none of the contract's seven take JSON, or else text.
 *
 * @throws InputProblem if the text is no such value.
 */
export function parseInput(
  type: string,
  text: string,
  trans: ITranslation,
  columns: readonly IColumnDefinition[] = []
): IParsed {
  switch (type) {
    case 'logical':
      return { value: parseLogical(text, trans), summary: '' };
    case 'numeric':
    case 'integer':
      return { value: parseNumber(text, type === 'integer', trans), summary: '' };
    case 'character':
      return { value: text, summary: '' };
    case 'vector':
      return parseVector(text, trans);
    case 'matrix':
      return parseMatrix(text, trans);
    case 'data.frame':
      return parseFrame(text, trans, columns);
    default:
      return { value: parseAny(text), summary: '' };
  }
}

function parseLogical(text: string, trans: ITranslation): boolean {
  const word = text.trim().toLowerCase();
  if (word !== 'true' && word !== 'false') {
    throw new InputProblem(trans.__('Choose true or false.'));
  }
  return word === 'true';
}

function parseNumber(text: string, isWhole: boolean, trans: ITranslation): number {
  const word = text.trim();
  if (!NUMBER.test(word)) {
    throw new InputProblem(
      word === '' ? trans.__('Enter a number.') : trans.__('“%1” is not a number.', word)
    );
  }
  const value = Number(word);
  if (isWhole && !Number.isInteger(value)) {
    throw new InputProblem(trans.__('%1 is not a whole number.', word));
  }
  if (!isExact(word)) {
    throw new InputProblem(trans.__('%1 is too large to be sent exactly.', word));
  }
  return value;
}

function parseVector(text: string, trans: ITranslation): IParsed {
  const value = parseJson(text, '[', trans) ?? splitVector(text);
  if (!Array.isArray(value) || !value.every(isScalar)) {
    throw new InputProblem(trans.__('A vector has numbers, texts, true, false or null in it.'));
  }
  const count = value.length;
  const isNumbers = count > 0 && value.every(item => typeof item === 'number' || item === null);
  return {
    value,
    summary: isNumbers
      ? trans._n('%1 number', '%1 numbers', count)
      : trans._n('%1 value', '%1 values', count)
  };
}

function splitVector(text: string): Scalar[] {
  const trimmed = text.trim();
  if (trimmed === '') {
    return [];
  }
  const words = trimmed.split(/\s+/);
  if (words.length > 1 && words.every(word => NUMBER.test(word))) {
    return toScalars(words);
  }
  // Any mix of lines and commas, such as a column or a row of a sheet.
  const cells = parseRows(trimmed, delimiterOf(trimmed)).flat();
  const last = cells.at(-1);
  return toScalars(cells.length > 1 && last === '' ? cells.slice(0, -1) : cells);
}

function parseMatrix(text: string, trans: ITranslation): IParsed {
  const value = parseJson(text, '[', trans) ?? tableOf(text).map(row => row.map(toScalar));
  if (!Array.isArray(value) || !value.every(row => Array.isArray(row) && row.every(isScalar))) {
    throw new InputProblem(trans.__('A matrix has rows of numbers or texts.'));
  }
  const rows: Scalar[][] = value;
  checkWidths(rows, trans);
  return { value: rows, summary: trans.__('%1 × %2', rows.length, rows[0]?.length ?? 0) };
}

/**
 * Whether the cells of a column are texts, also where they look like numbers.
 */
function isText({ type = '', categories }: ICellDefinition): boolean {
  return type === 'category' || categories?.length
    ? (categories ?? []).every(each => typeof each === 'string')
    : /^(str|datetime64|timestamp|timedelta64|duration|period)/.test(type);
}

/**
 * Whether the cells of a column are numbers.
 */
export function isNumeric({ type = '', categories }: ICellDefinition): boolean {
  return !categories?.length && /^(number|integer|u?int|float|double)/i.test(type);
}

/**
 * Read the cells of a column by what is known of it.
 *
 * @throws InputProblem if one is no number where all are.
 */
function cellsOf(
  name: string,
  cells: readonly string[],
  column: IColumnDefinition | undefined,
  trans: ITranslation
): Scalar[] {
  if (column && isText(column)) {
    return cells.map(cell => cell.trim() || null);
  }
  if (column && isNumeric(column)) {
    const wrong = cells.find(cell => !isMissing(cell) && !NUMBER.test(cell.trim()));
    if (wrong !== undefined) {
      throw new InputProblem(trans.__('%1: “%2” is not a number.', name, wrong.trim()));
    }
  }
  return toScalars(cells);
}

function isMissing(cell: string): boolean {
  return MISSING.has(cell.trim().toLowerCase());
}

/**
 * Read text or JSON as the lines of a table, the names of its columns first; null where it is none.
 *
 * @param columns - Those that are known; they are the names where the text is empty.
 */
export function readTable(
  text: string,
  trans: ITranslation,
  columns: readonly IColumnDefinition[]
): string[][] | null {
  const known = columns.map(column => column.name);
  if (text.trim() === '') {
    return [known];
  }
  try {
    const value = parseJson(text, '{[', trans);
    if (value === undefined) {
      const table = tableOf(text);
      checkWidths(table, trans);
      return table;
    }
    const found = columnsOfJson(value, trans);
    const names = Object.keys(found);
    const height = found[names[0] ?? '']?.length ?? 0;
    const rows = Array.from({ length: height }, (_, i) =>
      names.map(name => textOf(found[name]?.[i] ?? null))
    );
    return [names, ...rows];
  } catch (error) {
    if (error instanceof InputProblem) {
      return null;
    }
    throw error;
  }
}

/**
 * Write a value as somebody would type it.
 */
export function textOfValue(value: unknown, type: string): string {
  if (type === 'character' && typeof value === 'string') {
    return value;
  }
  if (value === null || value === undefined) {
    return '';
  }
  if (type === 'vector' && isRowOfNumbers(value)) {
    return value.join(', ');
  }
  if (type === 'matrix' && Array.isArray(value) && value.every(isRowOfNumbers)) {
    return value.map(row => row.join(', ')).join('\n');
  }
  return (type === 'data.frame' && isRecord(value) && csvOf(value)) || JSON.stringify(value);
}

/**
 * Write columns as CSV; empty where it would be read as other values.
 */
function csvOf(columns: Record<string, unknown>): string {
  const names = Object.keys(columns);
  const cells = Object.values(columns).map(column =>
    Array.isArray(column) && column.every(isScalar) ? column : []
  );
  const count = cells[0]?.length ?? 0;
  const isRead =
    names.every(name => name !== '' && name === name.trim()) &&
    cells.every(
      column =>
        column.length === count &&
        JSON.stringify(toScalars(column.map(textOf))) === JSON.stringify(column)
    );
  if (count === 0 || !isRead || (names.length === 1 && cells[0]?.includes(null))) {
    return '';
  }
  return formatRows([
    names,
    ...Array.from({ length: count }, (_, i) => cells.map(c => c[i]))
  ]).trimEnd();
}

function isRowOfNumbers(value: unknown): value is number[] {
  return Array.isArray(value) && value.length > 0 && value.every(cell => typeof cell === 'number');
}

function textOf(cell: Scalar): string {
  return cell === null ? '' : String(cell);
}

function parseFrame(
  text: string,
  trans: ITranslation,
  known: readonly IColumnDefinition[]
): IParsed {
  const value = parseJson(text, '{[', trans);
  const columns =
    value === undefined ? columnsOf(tableOf(text), trans, known) : columnsOfJson(value, trans);
  const names = Object.keys(columns);
  const count = columns[names[0] ?? '']?.length ?? 0;
  const rows = trans._n('%1 row', '%1 rows', count);
  const wide = trans._n('%1 column', '%1 columns', names.length);
  return { value: columns, summary: trans.__('%1, %2: %3', rows, wide, names.join(', ')) };
}

function columnsOf(
  table: string[][],
  trans: ITranslation,
  known: readonly IColumnDefinition[]
): Record<string, Scalar[]> {
  const [names = [], ...rows] = table;
  if (names.length === 0) {
    throw new InputProblem(
      known.length > 0
        ? trans.__(
            'Fill in a row, or paste a table with the names of its columns in the first line.'
          )
        : trans.__('Paste a table with the names of its columns in the first line.')
    );
  }
  const blank = names.findIndex(name => name.trim() === '');
  if (blank >= 0) {
    throw new InputProblem(trans.__('Column %1 has no name in the first line.', blank + 1));
  }
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined) {
    throw new InputProblem(trans.__('There are two columns “%1”.', twice));
  }
  checkWidths(table, trans);
  return Object.fromEntries(
    names.map((name, i) => {
      const cells = rows.map(row => row[i] ?? '');
      const column = known.find(each => each.name === name);
      return [name, cellsOf(name, cells, column, trans)];
    })
  );
}

/**
 * Take columns as they are, and turn records into columns.
 */
function columnsOfJson(value: unknown, trans: ITranslation): Record<string, Scalar[]> {
  const problem = new InputProblem(
    trans.__('A data frame in JSON is an object of columns, or an array of records.')
  );
  if (Array.isArray(value)) {
    const records: unknown[] = value;
    if (!records.every(isRecord)) {
      throw problem;
    }
    const names = [...new Set(records.flatMap(record => Object.keys(record)))];
    value = Object.fromEntries(names.map(name => [name, records.map(row => row[name] ?? null)]));
  }
  if (!isRecord(value)) {
    throw problem;
  }
  const columns = Object.entries(value);
  if (!columns.every(([, column]) => Array.isArray(column) && column.every(isScalar))) {
    throw problem;
  }
  const lengths = new Set(columns.map(([, column]) => (column as unknown[]).length));
  if (lengths.size > 1) {
    throw new InputProblem(trans.__('The columns are not all of one length.'));
  }
  return value as Record<string, Scalar[]>;
}

function parseAny(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
}

/**
 * Read JSON if the text begins like it; undefined if it doesn't.
 */
function parseJson(text: string, openings: string, trans: ITranslation): unknown {
  const trimmed = text.trim();
  if (trimmed === '' || !openings.includes(trimmed.charAt(0))) {
    return undefined;
  }
  try {
    return JSON.parse(trimmed) as unknown;
  } catch (error) {
    const reason = messageOf(error);
    throw new InputProblem(trans.__('This is no JSON that can be read: %1', reason));
  }
}

function tableOf(text: string): string[][] {
  const trimmed = text.replace(/^\s*\n|\s+$/g, '');
  if (trimmed === '') {
    return [];
  }
  const rows = parseRows(trimmed, delimiterOf(trimmed));
  const words = rows.map(row => (row.length === 1 ? (row[0] ?? '').trim().split(/\s+/) : row));
  const width = words[0]?.length ?? 0;
  // Columns with blanks between them, as print shows a table.
  return width > 1 && words.every(row => row.length === width) ? words : rows;
}

function checkWidths(rows: readonly (readonly unknown[])[], trans: ITranslation): void {
  const width = rows[0]?.length ?? 0;
  const at = rows.findIndex(row => row.length !== width);
  if (at >= 0) {
    throw new InputProblem(
      trans.__('Line %1 has %2 values, the first has %3.', at + 1, rows[at]?.length ?? 0, width)
    );
  }
}

/**
 * Read the cells of a column: all numbers, all true or false, or texts; missing ones are null.
 */
export function toScalars(cells: readonly string[]): Scalar[] {
  const words = cells.map(cell => cell.trim());
  const known = words.filter(word => !MISSING.has(word.toLowerCase()));
  const isPlain = known.every(isNumber) || known.every(isLogical);
  return words.map((word, i) => {
    if (isPlain) {
      return toScalar(word);
    }
    return word === '' ? null : (cells[i] ?? '').trim();
  });
}

function toScalar(cell: string): Scalar {
  const word = cell.trim();
  if (MISSING.has(word.toLowerCase())) {
    return null;
  }
  if (isNumber(word)) {
    return Number(word);
  }
  return isLogical(word) ? word.toLowerCase() === 'true' : word;
}

function isNumber(word: string): boolean {
  return NUMBER.test(word) && isExact(word);
}

function isLogical(word: string): boolean {
  return /^(true|false)$/i.test(word);
}

/**
 * Whether a number is sent as it was typed: a long whole one would lose its last digits.
 */
function isExact(word: string): boolean {
  const value = Number(word);
  return Number.isFinite(value) && (!/^[+-]?\d+$/.test(word) || Number.isSafeInteger(value));
}

function isScalar(value: unknown): value is Scalar {
  return value === null || ['string', 'number', 'boolean'].includes(typeof value);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
