// A double click is one: what comes second was not meant for what lies under the pointer by then.

/** A listener that lets nobody below it hear of the second click. */
export const SECOND = {
  capture: true,
  /** @param {MouseEvent} event */
  handleEvent(event) {
    if (event.detail > 1) {
      event.preventDefault();
      event.stopPropagation();
    }
  },
};

/**
 * For a button in whose place there is another one after a click.
 * @param {(event: MouseEvent) => void} run
 * @returns {(event: MouseEvent) => void}
 */
export const once = (run) => (event) => {
  if (event.detail < 2) {
    run(event);
  }
};
