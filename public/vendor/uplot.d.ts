// Types of the vendored file, for `npm run check` in web/.
export { default } from "../../web/vendor/uplot.js";
