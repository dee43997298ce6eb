// What of Lit the console uses; `scripts/vendor.sh` makes public/vendor/lit.js of it.
export { LitElement, html, svg, nothing, render } from "lit";
export { repeat } from "lit/directives/repeat.js";
export { classMap } from "lit/directives/class-map.js";
export { ifDefined } from "lit/directives/if-defined.js";
export { live } from "lit/directives/live.js";
export { keyed } from "lit/directives/keyed.js";
export { guard } from "lit/directives/guard.js";
export { ref, createRef } from "lit/directives/ref.js";
