// Types of the vendored file, for `npm run check` in web/.
export * from "../../web/vendor/lit.js";
export type { TemplateResult } from "../../web/node_modules/lit/index.js";
