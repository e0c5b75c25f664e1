/**
 * Tables as text: CSV with quotes (RFC 4180), TSV as sheets copy it.
 */

const DELIMITERS = ['\t', ';', ','];

/**
 * Find what separates the cells of a table: whichever of tab, semicolon and comma comes first in
 * its first line that has one.
 */
export function delimiterOf(text: string): string {
  const unquoted = text.replace(/"(?:[^"]|"")*"/g, '');
  for (const line of unquoted.split('\n')) {
    const found = DELIMITERS.find(delimiter => line.includes(delimiter));
    if (found !== undefined) {
      return found;
    }
  }
  return ',';
}

/**
 * Take a table apart; lines without anything are left out.
 */
export function parseRows(text: string, delimiter: string): string[][] {
  const rows: string[][] = [];
  let row: string[] = [];
  let cell = '';
  let isQuoted = false;
  const endRow = (): void => {
    row.push(cell);
    cell = '';
    if (row.length > 1 || (row[0] ?? '').trim() !== '') {
      rows.push(row);
    }
    row = [];
  };
  for (let at = 0; at < text.length; at++) {
    const letter = text.charAt(at);
    if (isQuoted) {
      if (letter !== '"') {
        cell += letter;
      } else if (text.charAt(at + 1) === '"') {
        cell += '"';
        at += 1;
      } else {
        isQuoted = false;
      }
    } else if (letter === '"' && cell.trim() === '') {
      cell = '';
      isQuoted = true;
    } else if (letter === delimiter) {
      row.push(cell);
      cell = '';
    } else if (letter === '\n') {
      endRow();
    } else if (letter !== '\r') {
      cell += letter;
    }
  }
  endRow();
  return rows;
}

/**
 * Write a table as CSV.
 */
export function formatRows(rows: readonly (readonly unknown[])[]): string {
  return rows.map(row => row.map(formatCell).join(',')).join('\n') + '\n';
}

function formatCell(value: unknown): string {
  if (value === null || value === undefined) {
    return '';
  }
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  return /[",;\t\r\n]|^\s|\s$/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
