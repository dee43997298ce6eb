// Privacy mode: addresses become stable names that tell nothing, everywhere they are shown, copied or exported.

import { prefs } from "./prefs.js";

const ADDRESS = /[\p{L}\p{N}._%+-]+@[\p{L}\p{N}-]+(?:\.[\p{L}\p{N}-]+)*\.\p{L}{2,}/gu;

/** @type {Map<string, string>} */
const names = new Map();

/**
 * The same for the same address, in each tab of this browser and the next one; not to be turned around by looking.
 * @param {string} address
 */
export function pseudonym(address) {
  const key = address.toLowerCase();
  let name = names.get(key);
  if (!name) {
    let hash = 0x811c9dc5;
    for (const byte of new TextEncoder().encode(key)) {
      hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
    }
    name = `account-${hash.toString(36).padStart(7, "0").slice(-5)}`;
    names.set(key, name);
  }
  return name;
}

/** An address as it may be shown. @param {string} address */
export const who = (address) => (prefs.get().privacy ? pseudonym(address) : address);

/** A text with the addresses in it as they may be shown. @param {string} text */
export const masked = (text) => (prefs.get().privacy ? text.replace(ADDRESS, pseudonym) : text);
