// Filtering and sorting of tables, by what the address says.

/**
 * @template T
 * @typedef {Record<string, (row: T) => string | number | null | undefined>} Columns
 */

/**
 * Sorted by `name` or `-name`; what is unknown comes last either way, and equals stay as they were.
 * @template T
 * @param {T[]} rows
 * @param {string} order
 * @param {Columns<T>} columns
 * @param {string} [language]
 */
export function sorted(rows, order, columns, language = "en") {
  const down = order.startsWith("-");
  const name = down ? order.slice(1) : order;
  // The address may name anything, also what every object has.
  const value = Object.hasOwn(columns, name) ? columns[name] : undefined;
  if (!value) {
    return rows;
  }
  const words = new Intl.Collator(language, { numeric: true, sensitivity: "base" });
  return rows
    .map((row, index) => ({ row, index, key: value(row) }))
    .sort((a, b) => {
      const [none, other] = [a.key ?? null, b.key ?? null];
      if (none === null || other === null) {
        return Number(none === null) - Number(other === null) || a.index - b.index;
      }
      const order_ =
        typeof none === "number" && typeof other === "number"
          ? none - other
          : words.compare(String(none), String(other));
      return (down ? -order_ : order_) || a.index - b.index;
    })
    .map(({ row }) => row);
}

/**
 * Whether all words of a search are in one of the texts, in any case.
 * @param {string} search
 * @param {(string | null | undefined)[]} texts
 */
export function matches(search, texts) {
  const words = search.toLowerCase().split(/\s+/).filter(Boolean);
  const all = texts.filter(Boolean).join("\n").toLowerCase();
  return words.every((word) => all.includes(word));
}

/**
 * The order after a click on a column's heading.
 * @param {string} order The present one.
 * @param {string} column
 * @param {boolean} [downFirst]
 */
export function turned(order, column, downFirst = false) {
  const [first, second] = downFirst ? [`-${column}`, column] : [column, `-${column}`];
  return order === first ? second : first;
}
