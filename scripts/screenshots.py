"""Pictures of the console for the documents, in docs/images: the demo (scripts/demo.py) in Debian's Chromium. Waits for what
a picture shall show, never for a time. `make screenshots` builds and runs it; names as arguments take only those.
"""

import argparse
import datetime
import io
import re
import shutil
import sys
import urllib.parse

from demo import BIN, ROOT, Demo, Failed
from playwright.sync_api import expect, sync_playwright

try:
    from PIL import Image
except ImportError:
    Image = None

IMAGES = ROOT / "docs/images"
WIDTH, HEIGHT, SCALE = 1440, 900, 2
# Of one picture, in bytes; and of how many colours it may be.
MOST, COLOURS = 250_000, (256, 160, 96, 64)
# Until the demo has what is waited for.
SOON = 240_000
EVERY_STATE = ("Ready", "Limited", "Needs verification", "Banned", "Needs sign-in", "Disabled")


def afternoon():
    """A zone in which it is about three in the afternoon, as it is in the demo's past."""
    east = (15 - datetime.datetime.now(datetime.timezone.utc).hour + 11) % 24 - 11
    # The database has their signs the other way round.
    return f"Etc/GMT{-east:+d}" if east else "Etc/GMT"


class Camera:
    """One browser window, logged in."""

    def __init__(self, browser, demo, theme):
        self.demo = demo
        self.context = browser.new_context(
            viewport={"width": WIDTH, "height": HEIGHT},
            device_scale_factor=SCALE,
            color_scheme=theme,
            locale="en-GB",
            timezone_id=afternoon(),
            reduced_motion="reduce",
        )
        self.page = self.context.new_page()
        self.page.goto(demo.url)
        self.page.get_by_label("Password", exact=True).fill(demo.password)
        self.page.get_by_role("button", name="Log in").click()
        self.page.get_by_role("navigation").first.wait_for()

    def go(self, path, **query):
        tail = "?" + urllib.parse.urlencode(query) if query else ""
        self.page.goto(f"{self.demo.url}/#/{path}{tail}")
        view = self.page.locator(f"page-{path.partition('/')[0]}")
        view.locator("h1").wait_for(state="attached")
        expect(self.page.locator("main .skeleton")).to_have_count(0)
        expect(self.page.get_by_role("banner").get_by_text("Live").last).to_be_visible(timeout=SOON)
        return view

    def take(self, name):
        # No pointer over anything, no cursor in a field.
        self.page.mouse.move(WIDTH - 1, HEIGHT - 1)
        self.page.evaluate("scrollTo(0, 0)")
        self.page.evaluate("document.fonts.ready")
        target = IMAGES / f"console-{name}.png"
        target.write_bytes(packed(self.page.screenshot(caret="hide", animations="disabled")))
        print(f"{target.relative_to(ROOT)}  {target.stat().st_size:,} bytes", flush=True)


def packed(png):
    """The same picture in as few bytes as it may have."""
    if Image is None:
        tries = [png]
    else:
        picture = Image.open(io.BytesIO(png)).convert("RGB")
        tries = (few(picture, colours) for colours in COLOURS)
    for data in tries:
        if len(data) <= MOST:
            return data
    raise Failed(f"a picture has {len(data):,} bytes" + ("" if Image else "; with Pillow it would have fewer"))


def few(picture, most):
    """With the colours that it has most of, so that what is flat stays exactly as it is; the others become the nearest."""
    counted = [colour for _, colour in sorted(picture.getcolors(picture.width * picture.height), reverse=True)]
    kept = counted[:most]
    index = {bytes(colour): place for place, colour in enumerate(kept)}
    for red, green, blue in counted[most:]:
        away = [(red - r) ** 2 + (green - g) ** 2 + (blue - b) ** 2 for r, g, b in kept]
        index[bytes((red, green, blue))] = away.index(min(away))
    raw = picture.tobytes()
    reduced = Image.frombytes("P", picture.size, bytes(index[raw[at : at + 3]] for at in range(0, len(raw), 3)))
    reduced.putpalette([part for colour in kept for part in colour])
    out = io.BytesIO()
    reduced.save(out, "PNG", optimize=True)
    return out.getvalue()


def several(rows, at_least):
    """Waits until there are so many."""
    expect(rows.nth(at_least - 1)).to_be_visible(timeout=SOON)


def overview(camera):
    view = camera.go("overview")
    for email in ("dee", "eli", "fay"):
        expect(view.get_by_role("region", name="Needs attention")).to_contain_text(email, timeout=SOON)
    expect(view.get_by_role("region", name="Requests").locator("canvas")).to_be_visible()
    several(view.get_by_role("region", name="In flight").get_by_role("listitem"), 5)


def live(camera):
    view = camera.go("live")
    several(view.locator("tbody tr"), 9)


def requests(camera):
    # One that was tried more than once, and its story.
    view = camera.go("requests")
    several(view.locator("tbody tr"), 14)
    again = view.locator("tbody tr").filter(
        has=camera.page.locator("td[data-label='Attempts']", has_text=re.compile(r"^\s*[2-9]\s*$"))
    )
    # Not one that was over at once.
    again = again.filter(has_text="Served").filter(has_text=re.compile(r"\d\.\ds\s+[1-9][\d.]*s|\d\.\ds\s+\d+\.\ds"))
    several(again, 1)
    again.first.get_by_role("button").first.click()
    story = camera.page.get_by_role("dialog", name="Story of a request")
    several(story.get_by_role("region", name="Its log lines").get_by_role("listitem"), 2)


def capacity(camera):
    view = camera.go("capacity", hours=1)
    several(view.locator("tbody tr"), 6)
    # Limits that are over, and some that hold.
    expect(view.locator(".lanes rect.past").nth(3)).to_be_attached(timeout=SOON)
    expect(view.get_by_text("is back on").first).to_be_attached(timeout=SOON)


def accounts(camera):
    view = camera.go("accounts")
    expect(view.locator("tbody tr")).to_have_count(12)
    for state in EVERY_STATE:
        expect(view.locator("tbody")).to_contain_text(state, timeout=SOON)


def fleet(camera):
    view = camera.go("fleet")
    several(view.locator("tbody tr"), 2)


def usage(camera):
    view = camera.go("usage", range="month", compare="0")
    expect(view.locator("canvas")).to_be_visible()
    several(view.locator("tbody tr"), 4)


def settings(camera):
    # What a preset would change, before it does.
    view = camera.go("settings/presets")
    view.get_by_role("button", name="Apply preset Many Accounts").click()
    several(camera.page.get_by_role("dialog").locator("tbody tr"), 5)


PICTURES = {
    "overview": ("light", overview),
    "overview-dark": ("dark", overview),
    "live": ("light", live),
    "accounts": ("light", accounts),
    "accounts-dark": ("dark", accounts),
    "usage": ("light", usage),
    # What needs some minutes of the demo.
    "capacity": ("light", capacity),
    "fleet": ("light", fleet),
    "requests": ("light", requests),
    # It leaves a question open.
    "settings": ("light", settings),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", default=BIN, help="where the built programs are")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(PICTURES)}; all without one")
    options = parser.parse_args()
    if unknown := set(options.names) - set(PICTURES):
        parser.error(f"no such picture: {', '.join(sorted(unknown))}")
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if not program:
        raise Failed("chromium is not installed: run `make install-deps` first")
    IMAGES.mkdir(exist_ok=True)
    with Demo(bin=options.bin, say=print, public=ROOT / "public") as demo, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        cameras = {}
        for name in options.names or PICTURES:
            theme, show = PICTURES[name]
            camera = cameras.setdefault(theme, None) or Camera(browser, demo, theme)
            cameras[theme] = camera
            show(camera)
            camera.take(name)
        browser.close()


if __name__ == "__main__":
    try:
        main()
    except Failed as problem:
        sys.exit(str(problem))
