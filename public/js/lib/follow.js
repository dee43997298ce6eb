// What a page reads piece by piece instead of as one resource: its age, why it is old, and how it is renewed.

import { access, ApiError } from "./api.js";
import { sentence } from "./errors.js";
import { stream } from "./live.js";
import { join, survey } from "./resource.js";
import { signal } from "./signal.js";
import { toast } from "./toast.js";

/** How often it is renewed where no events come, or after a failure, in ms. */
const EVERY_MS = 10_000;

/** @type {import("./resource.js").State<null>} */
const NOTHING = { state: "loading", data: null, at: 0, error: null, busy: false };

export class Follow {
  /** @param {() => Promise<void>} again Reads what is new; through `run`. */
  constructor(again) {
    this.reload = again;
    /**
     * `loading` until it was read once, also while an error keeps it from that.
     * @type {import("./signal.js").Signal<import("./resource.js").State<null>>}
     */
    this.state = signal(NOTHING);
    this.peek = () => this.state.peek();
    this.get = () => this.state.get();
    /** @type {(() => void)[]} */
    this.ends = [];
    /** Whether something came while the first piece was read, which may not know of it. */
    this.missed = false;
    /** How often something else was asked for: how an earlier reading went is nobody's concern then. */
    this.round = 0;
  }

  /** While its page is shown. */
  begin() {
    const timer = setInterval(() => {
      const { state, error, busy } = this.peek();
      const due = !busy && (error !== null || (state !== "loading" && stream.peek() !== "live"));
      if (due && !document.hidden && access.peek() === "in") {
        this.reload();
      }
    }, EVERY_MS);
    this.ends = [join(this), () => clearInterval(timer)];
  }

  end() {
    this.ends.forEach((end) => end());
    this.ends = [];
  }

  /** What it had is asked for anew, or something else is. */
  reset() {
    this.round += 1;
    this.set(NOTHING);
  }

  /**
   * Reads something, and keeps how that went; a failure of the first time is the caller's.
   * @param {() => Promise<void>} read
   */
  async run(read) {
    const { round } = this;
    const first = this.peek().state === "loading";
    this.set({ busy: true });
    try {
      await read();
      if (round === this.round) {
        this.set({ state: "ok", at: Date.now(), error: null, busy: false });
      }
    } catch (error) {
      if (round !== this.round && error instanceof ApiError) {
        return;
      }
      this.set({ busy: false });
      if (error instanceof ApiError && error.kind !== "unauthorised" && error.kind !== "aborted") {
        this.set({ state: first ? "loading" : "stale", error });
      }
      if (first || !(error instanceof ApiError)) {
        throw error;
      }
    }
  }

  /**
   * Reads the first piece, or an older one, which makes nothing fresher and whose failure is only told.
   * @param {() => Promise<void>} read
   * @param {boolean} older
   * @returns {Promise<unknown>} Why the first one could not be read; `null` otherwise.
   */
  async piece(read, older) {
    try {
      await (older ? read() : this.run(read));
      if (this.missed) {
        this.missed = false;
        this.reload();
      }
      return null;
    } catch (error) {
      if (!older) {
        return error;
      }
      toast({ tone: "bad", text: sentence(error) });
      return null;
    }
  }

  /** @param {Partial<import("./resource.js").State<null>>} change */
  set(change) {
    this.state.set({ ...this.peek(), ...change });
    survey();
  }
}
