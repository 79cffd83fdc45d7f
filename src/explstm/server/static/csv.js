/**
 * A CSV file of the server's as columns. Contract: reads what this server writes (RFC 4180, with a
 * quote before text that a spreadsheet would run), nothing else.
 */

const CELL = /("(?:[^"]|"")*"|[^,\r\n]*)(,|\r?\n|$)/y;

/** @param {string} text The file. @returns {Record<string, (string|number|null)[]>} Its columns. */
export function readColumns(text) {
  const [heads, ...rows] = readRows(text.replace(/^\uFEFF/, ""));
  const entries = heads.map((name, column) => [
    name,
    rows.map((row) => (name === "unique_id" || name === "ds" ? plain(row[column]) : toNumber(row[column]))),
  ]);
  return Object.fromEntries(entries);
}

function readRows(text) {
  const rows = [[]];
  CELL.lastIndex = 0;
  while (CELL.lastIndex < text.length) {
    const [, cell, end] = CELL.exec(text);
    rows.at(-1).push(cell.startsWith('"') ? cell.slice(1, -1).replaceAll('""', '"') : cell);
    if (end !== "," && CELL.lastIndex < text.length) rows.push([]);
  }
  return rows;
}

/** Text as it was before the quote that keeps spreadsheets from running it. */
const plain = (cell) => cell.replace(/^'(?=[=+\-@\t\r])/, "");

const toNumber = (cell) => (cell === "" ? null : Number(cell));
