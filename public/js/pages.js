// The pages, in the order of the navigation. Each is a module of its own, loaded when it is opened.
//
// A page's module defines its element and exports `tag`, its name. Its messages are i18n/<language>/<name>.json, those of
// its title `app.nav.<name>`.

/**
 * @typedef {object} Page
 * @property {string} name Its place in the address, and the namespace of its messages.
 * @property {import("./ui/icons.js").Icon} icon
 * @property {"observe" | "pool" | "operate"} group
 * @property {boolean} [bar] Whether it has a place in the bar of small screens.
 * @property {string[]} [words] Further namespaces of messages that it needs.
 * @property {string[]} [styles] What it loads by `loadStyle`: here too, so that it is there as soon as the module is.
 * @property {() => Promise<{ tag: string }>} load
 */

/** @type {Page[]} */
export const PAGES = [
  {
    name: "overview",
    icon: "overview",
    group: "observe",
    bar: true,
    words: ["accounts"],
    styles: ["pages/overview"],
    load: () => import("./pages/overview.js"),
  },
  {
    name: "live",
    icon: "live",
    group: "observe",
    bar: true,
    styles: ["pages/live"],
    load: () => import("./pages/live.js"),
  },
  {
    name: "requests",
    icon: "requests",
    group: "observe",
    styles: ["pages/requests", "pages/logs"],
    load: () => import("./pages/requests.js"),
  },
  {
    name: "usage",
    icon: "usage",
    group: "observe",
    styles: ["pages/usage"],
    load: () => import("./pages/usage.js"),
  },
  {
    name: "capacity",
    icon: "capacity",
    group: "pool",
    bar: true,
    words: ["accounts"],
    styles: ["pages/pool", "pages/capacity"],
    load: () => import("./pages/capacity.js"),
  },
  {
    name: "accounts",
    icon: "accounts",
    group: "pool",
    bar: true,
    styles: ["pages/accounts", "pages/pool"],
    load: () => import("./pages/accounts.js"),
  },
  {
    name: "keys",
    icon: "keys",
    group: "pool",
    styles: ["pages/keys"],
    load: () => import("./pages/keys.js"),
  },
  { name: "fleet", icon: "fleet", group: "pool", load: () => import("./pages/fleet.js") },
  {
    name: "logs",
    icon: "logs",
    group: "operate",
    styles: ["pages/logs"],
    load: () => import("./pages/logs.js"),
  },
  {
    name: "connect",
    icon: "connect",
    group: "operate",
    styles: ["pages/connect"],
    load: () => import("./pages/connect.js"),
  },
  {
    name: "settings",
    icon: "settings",
    group: "operate",
    styles: ["pages/settings"],
    load: () => import("./pages/settings.js"),
  },
  {
    name: "audit",
    icon: "audit",
    group: "operate",
    styles: ["pages/audit"],
    load: () => import("./pages/audit.js"),
  },
];

/** The one that is opened where the address names none. */
export const FIRST = "overview";

/** The page of an address, or undefined. @param {string} name Empty for the first one. */
export const pageOf = (name) => PAGES.find((page) => page.name === (name || FIRST));
