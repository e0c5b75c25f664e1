import { IParameterDefinition } from './api';
import { delimiterOf, formatRows, parseRows } from './csv';
import { ITranslation } from './translation';
import { readTable } from './values';

/**
 * Columns that get a field each; of more a text is easier to make.
 */
const MAX_FIELDS = 60;

/**
 * An empty cell of a table with one column.
 */
const MISSING = 'null';

/**
 * Return the lines of a table to edit cell by cell; null where only its text can be edited.
 */
export function gridOf(
  input: IParameterDefinition,
  text: string,
  trans: ITranslation
): string[][] | null {
  const columns = input.columns ?? [];
  if (input.type !== 'data.frame' || columns.length === 0 || columns.length > MAX_FIELDS) {
    return null;
  }
  const table = readTable(text, trans, columns);
  if (table === null || (table[0]?.length ?? 0) > MAX_FIELDS) {
    return null;
  }
  const [names = [], ...rows] = table;
  // Written so that a lone empty cell is a line.
  const cells =
    names.length === 1 ? rows.map(row => row.map(cell => (cell === MISSING ? '' : cell))) : rows;
  return [names, ...(cells.length > 0 ? cells : [names.map(() => '')])];
}

/**
 * Put copied cells into a table from a cell on. Those with the names of columns in their first line
 * take the place of all.
 */
export function pasted(
  table: readonly (readonly string[])[],
  text: string,
  row: number,
  column: number
): string[][] {
  const cells = parseRows(text.replace(/\s+$/, ''), delimiterOf(text));
  const names = table[0] ?? [];
  if (cells.length > 1 && cells[0]?.every(name => names.includes(name.trim()))) {
    const given = cells[0].map(name => name.trim());
    const rows = cells.slice(1).map(line =>
      names.map(name => {
        const at = given.indexOf(name);
        return at < 0 ? '' : (line[at] ?? '');
      })
    );
    return [[...names], ...rows];
  }
  const filled = table.map(line => [...line]);
  cells.forEach((line, i) => {
    const target = (filled[row + i] ??= names.map(() => ''));
    line.forEach((cell, j) => {
      if (column + j < names.length) {
        target[column + j] = cell;
      }
    });
  });
  return filled;
}

/**
 * Write a table as text; a lone row without anything is none.
 */
export function formatTable(table: readonly (readonly string[])[]): string {
  const [names = [], ...rows] = table;
  const isEmpty = rows.length <= 1 && (rows[0] ?? []).every(cell => cell === '');
  // A line with nothing in its only cell would be left out when it is read.
  const lines = names.length === 1 ? rows.map(row => row.map(cell => cell || MISSING)) : rows;
  return isEmpty ? '' : formatRows([names, ...lines]);
}
