#!/usr/bin/env bash
# Makes public/vendor/: each library of the console as one self-contained module, its licence, and MANIFEST.json.
#
# The versions are those pinned in web/package-lock.json. With --check nothing is written: the files must be those that
# the pinned versions make. Needs `npm ci --prefix web`.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/.cache/venv/bin:$PATH"
mode=${1:-write}
made=$(mktemp -d)
trap 'rm -rf "$made"' EXIT

esbuild() { web/node_modules/.bin/esbuild "$@" --log-level=warning; }
for library in lit uplot; do
    esbuild "web/vendor/$library.js" --bundle --minify --format=esm --target=es2022 --legal-comments=inline \
        --charset=utf8 --outfile="$made/$library.js"
done
esbuild web/node_modules/uplot/dist/uPlot.min.css --minify --outfile="$made/uplot.css"
cp web/node_modules/lit/LICENSE "$made/lit.LICENSE.txt"
cp web/node_modules/uplot/LICENSE "$made/uplot.LICENSE.txt"
node - "$made" >"$made/MANIFEST.json" <<'JS'
const { createHash } = require("node:crypto");
const { readFileSync } = require("node:fs");
const folder = process.argv[2];
const files = [["lit.js", "lit"], ["uplot.js", "uplot"], ["uplot.css", "uplot"]];
const manifest = files.map(([file, name]) => {
  const { version, license } = JSON.parse(readFileSync(`web/node_modules/${name}/package.json`, "utf8"));
  const sha256 = createHash("sha256").update(readFileSync(`${folder}/${file}`)).digest("hex");
  return { file, name, version, license, licenseText: `${name}.LICENSE.txt`, sha256 };
});
console.log(JSON.stringify(manifest, null, 2));
JS
if [ "$mode" = --check ]; then
    for file in "$made"/*; do
        cmp "$file" "public/vendor/$(basename "$file")" || { echo "public/vendor: run scripts/vendor.sh and commit the result"; exit 1; }
    done
else
    cp "$made"/* public/vendor/
fi
