// Our own icons: 16 × 16, one stroke, in the text's colour. Hidden from assistive technology: words are beside them.

import { html, svg } from "../../vendor/lit.js";

const SHAPES = {
  overview: svg`<rect x="2" y="2" width="5" height="6" rx="1.2"/><rect x="9" y="2" width="5" height="4" rx="1.2"/><rect x="2" y="10" width="5" height="4" rx="1.2"/><rect x="9" y="8" width="5" height="6" rx="1.2"/>`,
  live: svg`<path d="M1.5 8h3l2-5 3 10 2-5h3"/>`,
  requests: svg`<path d="M2.5 4h11M2.5 8h11M2.5 12h7"/>`,
  usage: svg`<path d="M3 13.5V8.5M8 13.5v-11M13 13.5V6"/>`,
  capacity: svg`<path d="M2 11a6 6 0 1 1 12 0"/><path d="m8 11 2.6-3.6"/><path d="M2 13.5h12"/>`,
  accounts: svg`<circle cx="6" cy="5.2" r="2.7"/><path d="M1.5 13.5c.4-2.6 2.2-4 4.5-4s4.1 1.4 4.5 4"/><path d="M10.8 2.8a2.6 2.6 0 0 1 0 4.8M12.4 9.9c1.3.6 2 1.9 2.2 3.6"/>`,
  keys: svg`<circle cx="5" cy="11" r="2.8"/><path d="m7 9 6.5-6.5M11 5l2 2M9 7l1.5 1.5"/>`,
  fleet: svg`<rect x="2" y="2.5" width="12" height="4.5" rx="1.2"/><rect x="2" y="9" width="12" height="4.5" rx="1.2"/><path d="M4.8 4.75h.01M4.8 11.25h.01"/>`,
  logs: svg`<path d="M4 2h5.5L13 5.5V14H4z"/><path d="M9 2v4h4M6.5 9h4M6.5 11.5h4"/>`,
  connect: svg`<path d="M6.5 9.5 9.5 6.5"/><path d="M7.5 4.5 9 3a2.8 2.8 0 0 1 4 4l-1.5 1.5M8.5 11.5 7 13a2.8 2.8 0 0 1-4-4l1.5-1.5"/>`,
  settings: svg`<path d="M2 4.5h6M12 4.5h2M2 11.5h2M8 11.5h6"/><circle cx="10" cy="4.5" r="1.9"/><circle cx="6" cy="11.5" r="1.9"/>`,
  audit: svg`<path d="M8 1.8 13 3.6v4c0 3-2 5.4-5 6.6-3-1.2-5-3.6-5-6.6v-4z"/><path d="m5.8 7.9 1.6 1.6 2.9-3.1"/>`,
  refresh: svg`<path d="M13.5 8a5.5 5.5 0 1 1-1.7-4"/><path d="M13.5 1.8v3h-3"/>`,
  menu: svg`<path d="M2 4h12M2 8h12M2 12h12"/>`,
  close: svg`<path d="m4 4 8 8M12 4l-8 8"/>`,
  search: svg`<circle cx="7" cy="7" r="4.5"/><path d="m10.5 10.5 3.5 3.5"/>`,
  sun: svg`<circle cx="8" cy="8" r="2.8"/><path d="M8 1.5v1.3M8 13.2v1.3M1.5 8h1.3M13.2 8h1.3M3.4 3.4l.9.9M11.7 11.7l.9.9M12.6 3.4l-.9.9M4.3 11.7l-.9.9"/>`,
  moon: svg`<path d="M13.5 9.5A5.8 5.8 0 0 1 6.5 2.5a5.8 5.8 0 1 0 7 7z"/>`,
  globe: svg`<circle cx="8" cy="8" r="6"/><path d="M2 8h12M8 2c2 1.8 2.8 3.8 2.8 6s-.8 4.2-2.8 6c-2-1.8-2.8-3.8-2.8-6S6 3.8 8 2z"/>`,
  eye: svg`<path d="M1.5 8S3.8 3.5 8 3.5 14.5 8 14.5 8 12.2 12.5 8 12.5 1.5 8 1.5 8z"/><circle cx="8" cy="8" r="1.9"/>`,
  hidden: svg`<path d="M2 2l12 12M6 4a6 6 0 0 1 2-.4c4.2 0 6.5 4.4 6.5 4.4a11 11 0 0 1-1.9 2.5M4.2 5.3C2.4 6.5 1.5 8 1.5 8S3.8 12.4 8 12.4c1 0 1.9-.2 2.7-.6"/>`,
  out: svg`<path d="M6 2.5H3v11h3M10 5l3 3-3 3M13 8H6.5"/>`,
  down: svg`<path d="m4 6 4 4 4-4"/>`,
  up: svg`<path d="m4 10 4-4 4 4"/>`,
  right: svg`<path d="m6 4 4 4-4 4"/>`,
  left: svg`<path d="m10 4-4 4 4 4"/>`,
  more: svg`<path d="M3.5 8h.01M8 8h.01M12.5 8h.01"/>`,
  plus: svg`<path d="M8 3v10M3 8h10"/>`,
  copy: svg`<rect x="5.5" y="5.5" width="8" height="8" rx="1.5"/><path d="M3.5 10.5h-1v-8h8v1"/>`,
  external: svg`<path d="M9 2.5h4.5V7M13.5 2.5 7.5 8.5M11.5 9.5v4h-9v-9h4"/>`,
  undo: svg`<path d="M5.5 3 2.5 6l3 3"/><path d="M2.5 6h7a4 4 0 0 1 0 8H6"/>`,
  sidebar: svg`<rect x="2" y="2.5" width="12" height="11" rx="1.5"/><path d="M6 2.5v11"/>`,
  // States: each has a shape of its own, so that none is told by colour alone.
  ok: svg`<circle cx="8" cy="8" r="6"/><path d="m5.4 8.2 1.8 1.8 3.4-3.8"/>`,
  cooling: svg`<circle cx="8" cy="8" r="6"/><path d="M8 4.7V8l2.3 1.5"/>`,
  warn: svg`<path d="M8 2.2 14.3 13H1.7z"/><path d="M8 6.5v3M8 11.2h.01"/>`,
  bad: svg`<path d="M5.5 2h5L14 5.5v5L10.5 14h-5L2 10.5v-5z"/><path d="m6 6 4 4M10 6l-4 4"/>`,
  off: svg`<circle cx="8" cy="8" r="6"/><path d="M5.3 8h5.4"/>`,
  unknown: svg`<circle cx="8" cy="8" r="6" stroke-dasharray="2.4 2"/><path d="M6.5 6.5A1.5 1.5 0 1 1 8 8.2v.6M8 10.9h.01"/>`,
  info: svg`<circle cx="8" cy="8" r="6"/><path d="M8 7.5v3.3M8 5.2h.01"/>`,
  bell: svg`<path d="M8 2a4.2 4.2 0 0 0-4.2 4.2c0 3.6-1.3 4.6-1.3 5.3h11c0-.7-1.3-1.7-1.3-5.3A4.2 4.2 0 0 0 8 2z"/><path d="M6.6 13.6a1.6 1.6 0 0 0 2.8 0"/>`,
  star: svg`<path d="m8 2 1.8 3.8 4.2.5-3.1 2.9.8 4.1L8 11.3l-3.7 2 .8-4.1L2 6.3l4.2-.5z"/>`,
  person: svg`<circle cx="8" cy="5.2" r="2.7"/><path d="M3 13.8c.5-2.7 2.5-4.2 5-4.2s4.5 1.5 5 4.2"/>`,
};

/** @typedef {keyof typeof SHAPES} Icon */

/** @param {Icon} name */
export const icon = (name) =>
  html`<svg class="icon" viewBox="0 0 16 16" width="16" height="16" aria-hidden="true" focusable="false">
    ${SHAPES[name]}
  </svg>`;
