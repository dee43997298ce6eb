// Gives the reader a file that was made here.

/**
 * @param {string} name
 * @param {string} text
 * @param {string} type
 */
export function download(name, text, type) {
  const address = URL.createObjectURL(new Blob([text], { type }));
  const link = document.createElement("a");
  link.href = address;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}

/**
 * Comma-separated values as in RFC 4180. What a spreadsheet would take for a formula is made a text.
 * @param {(string | number | null | undefined)[][]} rows
 */
export const csv = (rows) =>
  rows
    .map((row) =>
      row
        .map((cell) => {
          const text = String(cell ?? "");
          const safe = typeof cell === "string" && /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
          return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
        })
        .join(","),
    )
    .join("\r\n") + "\r\n";
