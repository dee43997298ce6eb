// <x-more>: the end of what is there of a long table. When it comes into sight, more is asked for.

/** Fires `more` while it is in sight, or nearly. */
class More extends HTMLElement {
  constructor() {
    super();
    this.sight = new IntersectionObserver(
      (entries) => {
        if (entries.some((entry) => entry.isIntersecting)) {
          this.dispatchEvent(new Event("more"));
        }
      },
      { rootMargin: "800px" },
    );
  }

  connectedCallback() {
    this.sight.observe(this);
  }

  disconnectedCallback() {
    this.sight.disconnect();
  }
}

customElements.define("x-more", More);
