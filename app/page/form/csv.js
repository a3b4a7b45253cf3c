// CSV: a pasted row, with or without its line of names -> values by feature.

import { readCell } from "./cells.js";

/** The row of a text, as {row, summary}; throws an Error that says what is wrong. */
export function readRow(text, features) {
  const names = features.map((feature) => feature.name);
  const plain = text.replace(/^\ufeff/, "");
  const lines = aligned(plain, names) ?? records(plain).filter((cells) => cells.some((cell) => cell.trim() !== ""));
  if (!lines.length) throw new Error("The text does not contain a row.");
  const first = lines[0].map((cell) => cell.trim());
  const named = first.filter((cell) => names.includes(cell)).length;
  const headed = named > 0 && (lines.length > 1 || named === first.length);
  if (headed && lines.length === 1) throw new Error("There are names, but no row below them.");
  const cells = headed ? lines[1] : lines[0];
  // A row may end in a separator where the header does not.
  if (cells.length === (headed ? first : names).length + 1 && cells.at(-1).trim() === "") cells.pop();
  if (headed && cells.length !== first.length)
    throw new Error(`The row has ${cells.length} cells, the line of names ${first.length}.`);
  if (!headed && cells.length !== names.length)
    throw new Error(`A row without names must have ${names.length} cells (${names.join(", ")}); this one has ${cells.length}.`);
  const row = {};
  features.forEach((feature, i) => {
    const place = headed ? first.indexOf(feature.name) : i;
    if (place >= 0) row[feature.name] = readCell(cells[place], feature);
  });
  const left = names.filter((name) => !(name in row));
  const further = lines.length - (headed ? 2 : 1);
  const summary = [
    `${Object.keys(row).length} of ${names.length} values taken.`,
    left.length ? `Left as they were: ${left.join(", ")}.` : "",
    further > 0 ? `Further rows were passed over: ${further}.` : "",
  ];
  return { row, summary: summary.filter(Boolean).join(" ") };
}

/** Records whose cells stand apart by runs of blanks, those in quotes kept whole; null where other marks part them. */
function aligned(text, names) {
  const lines = text.split(/\r?\n/).map((line) => line.trim()).filter(Boolean);
  if (!lines.length || /[,;\t|]/.test(lines[0]) || names.includes(lines[0])) return null;
  const cell = /"((?:[^"]|"")*)"(?![^ \t])|([^ \t]+)/g;
  const rows = lines.map((line) => Array.from(line.matchAll(cell), ([, quoted, plain]) => plain ?? quoted.replaceAll('""', '"')));
  const width = rows[0].length;
  const known = width === names.length || rows[0].some((name) => names.includes(name));
  return width > 1 && known && rows.every((row) => row.length === width) ? rows : null;
}

/** Records of cells, as RFC 4180 has them; tabs or semicolons part them where the first line has more of those. */
function records(text) {
  const [line] = text.split(/\r?\n/, 1);
  const count = (mark) => line.split(mark).length;
  const comma = [",", ";", "\t", "|"].reduce((best, mark) => (count(mark) > count(best) ? mark : best));
  const found = [[""]];
  let quoted = false;
  for (let i = 0; i < text.length; i += 1) {
    const letter = text[i];
    const record = found[found.length - 1];
    if (quoted) {
      if (letter !== '"') record[record.length - 1] += letter;
      else if (text[i + 1] === '"') {
        record[record.length - 1] += letter;
        i += 1;
      } else quoted = false;
    } else if (letter === '"' && record[record.length - 1].trim() === "") {
      // Blanks may stand before a quoted cell; a quote within one is a letter.
      quoted = true;
      record[record.length - 1] = "";
    } else if (letter === comma) record.push("");
    else if (letter === "\n") found.push([""]);
    else if (letter !== "\r") record[record.length - 1] += letter;
  }
  return found;
}
