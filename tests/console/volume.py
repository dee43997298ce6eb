"""How fast the console answers who uses it, and whether it grows: 500 accounts of 50 models, 200 requests in flight and
10,000 log lines, a real gateway, Google simulated. By hand, or by `make soak`: a busy machine makes it slower, so it is no
test of CI. It fails where it is slower than wanted or grows more.

    volume.py                    # the time of some 60 interactions in each view, as a table
    volume.py --views logs live  # of these only
    volume.py --soak 30          # the heap, after 5 minutes and after 30
    volume.py --profile accounts # where the time goes while a view is used

A time is that of Event Timing: from the hardware's event to the next paint, the longest of an interaction's events. What
takes less than 16 ms counts as 16.
"""

import argparse
import asyncio
import collections
import contextlib
import itertools
import json
import os
import pathlib
import re
import shutil
import signal
import sys
import tempfile
import threading
import time
import urllib.parse

TESTS = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "observability"), str(TESTS / "e2e"), str(TESTS / "chart")]

from own import PAGES, PASSWORD, Own, call  # noqa: E402
from playwright.sync_api import Error, expect, sync_playwright  # noqa: E402

ACCOUNTS, MODELS, LIVE, LINES = 500, 50, 200, 10_000
# What is wanted, in ms, and how much larger the heap may be at the end than after five minutes.
P75, P98, GROWTH = 100, 250, 1.1
# Between two interactions, as a quick hand has it.
PAUSE_MS = 60
FAMILIES = ["claude-opus", "claude-sonnet", "gemini-pro", "gemini-flash", "gemini-ultra"]
NAMES = [f"{FAMILIES[n % 5]}-{n // 5 + 1}" for n in range(MODELS)]
# So many of the models answer slowly, for a minute or so; the others at once.
SLOW = 10

# Keeps the longest time of each interaction, and what was done.
WATCH = """
    window.seen = { times: new Map() };
    new PerformanceObserver((list) => {
        for (const entry of list.getEntries()) {
            if (entry.interactionId) {
                const known = window.seen.times.get(entry.interactionId);
                if (!known || known.ms < entry.duration) {
                    const input = Math.round(entry.processingStart - entry.startTime);
                    const work = Math.round(entry.processingEnd - entry.processingStart);
                    const step = (window.steps ?? []).findLast((one) => one.at <= entry.startTime)?.name ?? "";
                    window.seen.times.set(entry.interactionId, { ms: entry.duration, name: entry.name, step, input, work });
                }
            }
        }
    }).observe({ type: "event", durationThreshold: 16, buffered: true });
    window.steps = [];
"""
# How long each took, those that were seen, and how many there were; from now on anew.
TAKE = """
    () => {
        const count = performance.interactionCount - (window.counted ?? 0);
        window.counted = performance.interactionCount;
        const all = [...window.seen.times.values()];
        window.seen.times.clear();
        window.steps = [];
        return [all, count];
    }
"""


def scenario():
    """Accounts in all states, each with quotas of its own."""
    states = ["active"] * 22 + ["banned", "validation_required", "revoked"]

    def offers(account):
        for n, name in enumerate(NAMES):
            left = (account * 7 + n * 13) % 101 / 100
            reset = 1_000_000 + (account * 37 + n * 101) % 17_000 * 1_000
            yield {"id": name, "display_name": name, "remaining_fraction": left, "reset_in_ms": reset}

    return {
        "accounts": [
            {
                "email": f"{'person' if n % 3 else 'somebody.with.a.longer.name'}{n:03}@team{n % 7}.example.com",
                "refresh_token": f"1//sim-{n}",
                "project": f"sim-project-{n}",
                "tier": ["free-tier", "standard-tier", "g1-ultra-tier"][n % 3],
                "state": states[n % len(states)],
                "models": list(offers(n)),
            }
            for n in range(ACCOUNTS)
        ],
        "record": False,
        "rules": [
            {
                "when": {"path": "generateContent", "model": name},
                "then": {
                    "fixed": {"chunks": 20 + 3 * n, "chars": 60, "delivery": {"mode": "paced", "interval_ms": 2_000}}
                },
            }
            for n, name in enumerate(NAMES[:SLOW])
        ],
    }


class World:
    """The gateway at that size, and the clients that keep it busy."""

    def __init__(self, stack, folder):
        file = folder / "volume.json"
        file.write_text(json.dumps(scenario()))
        self.own = Own(stack, folder, file, LOG_LEVEL="info,antigravity_proxy=debug")
        self.url = self.own.url
        self.keys = [self.call("POST", "/api/keys", {"name": f"colleague {n:02}"})["secret"] for n in range(40)]
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        stack.callback(self.stop)
        self.turn = itertools.count()
        self.tasks = []

    def call(self, method, path, body=None):
        """The console's API, past the browser."""
        return call(self.own, method, path, body)

    def fill(self):
        """Quotas of all accounts, log lines, audit records and usage."""
        self.call("GET", "/account-limits?refresh=true")
        # The oldest ones are forgotten in blocks, so that there are seldom exactly so many.
        while self.lines() < LINES * 0.97:
            asyncio.run_coroutine_threadsafe(self.burst(800), self.loop).result(300)
        emails = [one["email"] for one in self.call("GET", "/account-limits")["accounts"]]
        for email in emails[:60]:
            for enabled in (False, email.endswith("6.example.com") is False):
                self.call("POST", f"/api/accounts/{urllib.parse.quote(email)}/toggle", {"enabled": enabled})

    def lines(self):
        """How many log lines are kept."""
        page = self.call("GET", "/api/logs?limit=1000")
        count = len(page["logs"])
        while page.get("older") and count < LINES:
            page = self.call("GET", f"/api/logs?limit=1000&before={urllib.parse.quote(page['older'])}")
            count += len(page["logs"])
        return count

    def begin(self):
        """Requests that are answered slowly, one after the other, until the end."""
        for n in range(LIVE):
            self.tasks.append(asyncio.run_coroutine_threadsafe(self.client(n), self.loop))
        until = time.monotonic() + 120
        while (there := len(self.call("GET", "/api/requests/live")["requests"])) < LIVE * 0.95:
            assert time.monotonic() < until, f"only {there} requests are in flight"
            time.sleep(0.5)

    async def client(self, n):
        await asyncio.sleep(n / LIVE * 5)
        while True:
            await self.ask(NAMES[(n + next(self.turn)) % SLOW])

    async def burst(self, count):
        async def some():
            for _ in range(count // 20):
                await self.ask(NAMES[SLOW + next(self.turn) % (MODELS - SLOW)])

        await asyncio.gather(*[some() for _ in range(20)])

    async def ask(self, model):
        """A request of one of the keys, read to its end."""
        where = urllib.parse.urlsplit(self.url)
        body = json.dumps(
            {"model": model, "max_tokens": 256, "stream": True, "messages": [{"role": "user", "content": "hello"}]}
        )
        head = [
            "POST /v1/messages HTTP/1.1",
            f"host: {where.netloc}",
            "connection: close",
            "content-type: application/json",
            "anthropic-version: 2023-06-01",
            f"x-api-key: {self.keys[next(self.turn) % len(self.keys)]}",
            f"content-length: {len(body)}",
        ]
        try:
            reader, writer = await asyncio.open_connection(where.hostname, where.port)
            writer.write(("\r\n".join(head) + "\r\n\r\n" + body).encode())
            while await reader.read(65_536):
                pass
            writer.close()
        except OSError:
            await asyncio.sleep(1)

    def stop(self):
        async def over():
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for one in others:
                one.cancel()
            await asyncio.gather(*others, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(over(), self.loop).result(30)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)


class Hand:
    """Who uses the console."""

    def __init__(self, browser, world, width=1440, height=900):
        self.world = world
        self.context = browser.new_context(viewport={"width": width, "height": height}, locale="en-GB")
        self.context.add_init_script(WATCH)
        self.page = self.context.new_page()
        self.page.set_default_timeout(20_000)
        self.page.goto(world.url)
        self.page.get_by_label("Password", exact=True).fill(PASSWORD)
        self.page.get_by_role("button", name="Log in").click()
        self.page.get_by_role("navigation").first.wait_for()
        self.debugger = self.context.new_cdp_session(self.page)

    def go(self, view, tail=""):
        self.page.evaluate("to => { location.hash = to }", f"#/{view}{tail}")
        self.page.locator(f"page-{view} h1").wait_for(state="attached")
        expect(self.page.locator("main .skeleton")).to_have_count(0, timeout=20_000)
        self.settle(500)

    def settle(self, ms=PAUSE_MS):
        self.page.evaluate("() => new Promise((end) => requestAnimationFrame(() => requestAnimationFrame(end)))")
        self.page.wait_for_timeout(ms)

    def step(self, name):
        self.page.evaluate("name => steps.push({ name, at: performance.now() })", name)

    def click(self, place, name=None):
        self.step(name or str(place).partition("selector=")[2][:90])
        place.click()
        self.settle()

    def press(self, *keys):
        for key in keys:
            self.step(f"key {key}")
            self.page.keyboard.press(key)
            self.settle()

    def write(self, place, text):
        """Types, and takes it away again."""
        place.focus()
        self.press(*text)
        self.press(*["Backspace"] * len(text))

    def wheel(self, *distances):
        self.page.mouse.move(800, 600)
        for distance in distances:
            self.page.mouse.wheel(0, distance)
            self.settle()

    def button(self, name, within=None, exact=True):
        return (within or self.page).get_by_role("button", name=name, exact=exact)

    def each(self, names, within=None):
        for name in names:
            self.click(self.button(name, within), f"button {name}")

    def choose(self, menu, *items):
        """Opens a menu and takes something from it, for each."""
        for item in items:
            self.click(self.button(menu), f"menu {menu}")
            self.click(self.page.locator(".menu-panel button", has_text=item), f"{menu}: {item}")

    def pick(self, place, name, *keys):
        """Goes through a list of choices by the keyboard."""
        place.focus()
        for key in keys:
            self.step(f"{name} {key}")
            self.page.keyboard.press(key)
            self.settle()

    def look(self):
        """What every view owes: another theme, another density, hidden addresses, a narrow navigation."""
        self.choose("Display", "Dark", "Compact", "Privacy mode", "Privacy mode", "Light", "Comfortable")
        self.each(["Refresh", "Collapse navigation", "Expand navigation"])

    def taken(self):
        """The times in ms since the last call, and what was slow; interactions that were too quick to be told count."""
        self.settle(300)
        seen, count = self.page.evaluate(TAKE)
        return [one["ms"] for one in seen] + [16] * max(0, count - len(seen)), seen

    def heap(self):
        """What is in use, in MB, once the garbage is gone."""
        for _ in range(3):
            self.debugger.send("HeapProfiler.collectGarbage")
        return self.debugger.send("Runtime.getHeapUsage")["usedSize"] / 1e6

    def close(self):
        self.context.close()


def rows(hand, count, name=None):
    """Opens the first so many rows, each closed again by the keyboard."""
    links = hand.page.locator("main .row-link")
    for n in range(count):
        hand.click(links.nth(n), name or f"row {n}")
        hand.press("Escape")


def sort(hand, *columns):
    for column in columns:
        for _ in range(2):
            hand.click(hand.page.locator("main thead").get_by_role("button", name=column, exact=True), f"sort {column}")


def segment(hand, group, *names):
    within = hand.page.get_by_role("group", name=group, exact=True)
    for name in names:
        hand.click(within.get_by_role("button", name=re.compile(f"^{re.escape(name)}")), f"{group}: {name}")


def search(hand, text):
    hand.write(hand.page.get_by_role("searchbox"), text)


def overview(hand):
    for _ in range(2):
        segment(hand, "Range", "6 h", "7 d", "30 d", "24 h")
        segment(hand, "Tell apart by", "Family", "Outcome", "Model")
    for _ in range(3):
        hand.each(["As a table", "As a table"])
    hand.press(*["Tab"] * 24)
    hand.wheel(600, -600)


def live(hand):
    search(hand, "colleague 1")
    segment(hand, "Phase", "Answering", "No answer yet", "All")
    sort(hand, "Model", "Account", "Age", "Key and request", "First event")
    hand.wheel(900, 900, 900)
    for _ in range(4):
        hand.click(hand.page.locator("main tbody tr").nth(3).get_by_role("button"), "cancel …")
        hand.press("Escape")
    hand.each(["As a table", "As a table"])


def requests(hand):
    search(hand, "flash-10")
    segment(hand, "Outcome", "Failed", "All")
    rows(hand, 10)
    hand.wheel(2_000, 2_000, 2_000, 2_000)
    rows(hand, 4)


def usage(hand):
    for _ in range(2):
        segment(hand, "Range", "7 days", "30 days", "24 hours")
        segment(hand, "Grouped by", "Key", "Outcome", "Total", "Model")
    segment(hand, "Figure", "Failed", "All tokens", "Mean time", "Requests")
    for _ in range(3):
        hand.each(["As a table", "As a table"])
    for _ in range(2):
        hand.click(hand.page.get_by_label("Compare", exact=False), "compare")
    hand.press(*["Tab"] * 16)


def capacity(hand):
    search(hand, "flash")
    segment(hand, "Filter by family", "Claude", "Gemini", "All")
    sort(hand, "Model", "State", "Left on average")
    for n in range(4):
        hand.click(hand.page.locator("main .model-link").nth(3 * n), f"model {n}")
        hand.press("Tab", "Tab")
        hand.click(hand.page.locator("main .model-link").nth(3 * n), f"model {n} closed")
    hand.wheel(900, -900)
    hand.press(*["Tab"] * 8)


def accounts(hand):
    search(hand, "person12")
    segment(hand, "Filter by state", "Ready", "Needs attention", "All")
    sort(hand, "Account", "State", "Claude left", "Last used")
    rows(hand, 6)
    boxes = hand.page.locator("main tbody input[type=checkbox]")
    for n in range(4):
        hand.click(boxes.nth(n), "pick")
    hand.click(hand.page.locator("main thead input[type=checkbox]"), "pick all")
    hand.click(hand.page.locator("main thead input[type=checkbox]"), "pick none")
    hand.wheel(2_000, 2_000, -4_000)
    for _ in range(2):
        hand.click(hand.page.locator("main tbody x-menu button").first, "row's menu")
        hand.press("Escape")
    for _ in range(2):
        hand.click(hand.page.locator("main tbody").get_by_role("switch").nth(2), "switch")


def keys(hand):
    search(hand, "colleague 3")
    segment(hand, "State", "Expired", "All", "Active")
    sort(hand, "Name", "Last used", "Created")
    for n in range(5):
        hand.click(hand.page.locator("main tbody x-menu button").nth(n), "row's menu")
        hand.press("Escape")
    for _ in range(2):
        hand.each(["Create key"])
        hand.press(*"name")
        hand.press("Escape")
    hand.wheel(900, -900)


def fleet(hand):
    for _ in range(3):
        sort(hand, "Replica", "State", "In flight", "Up for")
    hand.press(*["Tab"] * 20)


def logs(hand):
    search(hand, "served")
    for _ in range(2):
        segment(hand, "Levels", "DEBUG", "DEBUG", "WARN", "WARN")
    lines = hand.page.locator("main .log-line")
    for n in range(6):
        hand.click(lines.nth(15 + n), "line")
        hand.press("Escape")
    older = hand.button("Earlier lines")
    while older.count() > 0:
        hand.click(older, "earlier lines")
        hand.settle(200)
    hand.wheel(-3_000, 2_000, -9_000, 5_000)
    for n in range(4):
        hand.click(lines.nth(16 + n), "line of 10,000")
        hand.press("Escape")
    hand.each(["Go to the newest", "Pause"])
    hand.click(hand.page.get_by_role("button", name=re.compile("^Resume")), "resume")


def connect(hand):
    choices = hand.page.locator(".choice")
    for _ in range(2):
        for n in range(6):
            hand.click(choices.nth(n), f"client {n}")
    hand.pick(hand.page.locator("main select").first, "model", "ArrowDown", "ArrowDown", "Home")
    hand.write(hand.page.locator("main textarea").first, "hello there")
    for _ in range(2):
        hand.each(["Make a key"])
        hand.press(*"name", "Escape")
    hand.press(*["Tab"] * 12)


def settings(hand):
    search(hand, "retry")
    places = hand.page.get_by_role("navigation", name="Parts of the settings")
    for name in ("Routing", "Models", "Presets", "Selection", "Security", "Appearance", "General"):
        hand.click(places.get_by_role("link", name=name, exact=True), f"part {name}")
    field = hand.page.locator("main input.num").first
    for _ in range(3):
        field.focus()
        hand.press(*"123")
        hand.each(["Discard"])
    hand.wheel(2_000, -2_000)
    hand.press(*["Tab"] * 12)


def audit(hand):
    for _ in range(2):
        hand.pick(hand.page.locator("main select").first, "action", "ArrowDown", "ArrowDown", "Home")
        hand.pick(hand.page.locator("main select").last, "actor", "ArrowDown", "Home")
    for _ in range(2):
        hand.click(hand.button("Earlier records"), "earlier records")
        hand.settle(200)
    hand.wheel(2_000, 2_000, -4_000)
    for _ in range(4):
        hand.click(hand.page.locator("main .row-link").first, "only of this")
        hand.each(["Remove filters"])
    hand.press(*["Tab"] * 30)


VIEWS = {name: globals()[name] for name in PAGES}


def quantile(times, part):
    """The least time that so many of them do not exceed."""
    ordered = sorted(times)
    return ordered[max(0, -(-int(part * 100) * len(ordered) // 100) - 1)]


def measure(hand, views, worst):
    """The table; the views that take longer than wanted."""
    print(f"load before {load()}", flush=True)
    print(f"{'view':<10} {'n':>4} {'p50':>5} {'p75':>5} {'p98':>5} {'most':>5}  slowest", flush=True)
    found = {}
    for view in views:
        hand.go(view)
        hand.taken()
        VIEWS[view](hand)
        hand.look()
        times, seen = hand.taken()
        figures = [quantile(times, part) for part in (0.5, 0.75, 0.98, 1)]
        found[view] = {"n": len(times), "p50": figures[0], "p75": figures[1], "p98": figures[2], "most": figures[3]}
        slow = sorted(seen, key=lambda one: -one["ms"])[:worst]
        told = ", ".join(f"{one['step']} {one['ms']:.0f} ({one['input']}+{one['work']})" for one in slow)
        mark = "" if figures[1] <= P75 and figures[2] <= P98 else "  <-- slower than wanted"
        print(f"{view:<10} {len(times):>4} " + " ".join(f"{ms:>5.0f}" for ms in figures) + f"  {told}{mark}", flush=True)
    print(f"load after {load()}", flush=True)
    return found


def say(text):
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def load():
    return " ".join(f"{one:.2f}" for one in os.getloadavg()) + f" on {os.cpu_count()} cores"


def soak(hand, minutes):
    """Walks through the views; the heap after five minutes and at the end."""
    began = time.monotonic()
    points = {}
    for view in itertools.cycle(PAGES):
        passed = (time.monotonic() - began) / 60
        mark = minutes if passed >= minutes else 5 if passed >= 5 else 0
        if mark not in points:
            # Always of the same view, so that figures compare.
            hand.go("overview")
            hand.page.wait_for_timeout(3_000)
            points[mark] = hand.heap()
            nodes = hand.debugger.send("Memory.getDOMCounters")
            print(f"{passed:5.1f} min: {points[mark]:.1f} MB, {nodes}, load {load()}", flush=True)
        if mark == minutes:
            break
        hand.go(view)
        try:
            VIEWS[view](hand)
        except Error as error:
            # A request that was to be opened has ended meanwhile; the walk goes on.
            say(f"{view}: {str(error).splitlines()[0]}")
            hand.page.keyboard.press("Escape")
        hand.taken()
    growth = points[minutes] / points[5]
    print(f"after {minutes} minutes {growth:.3f} times the heap of after 5; wanted: {GROWTH} at most")
    return growth <= GROWTH


def metrics(hand):
    wanted = ["TaskDuration", "ScriptDuration", "LayoutDuration", "RecalcStyleDuration", "LayoutCount", "RecalcStyleCount"]
    told = {one["name"]: one["value"] for one in hand.debugger.send("Performance.getMetrics")["metrics"]}
    return {name: told[name] for name in wanted}


def profile(hand, view):
    """Where the time goes: functions by the time that was spent in themselves."""
    hand.go(view)
    hand.debugger.send("Profiler.enable")
    hand.debugger.send("Profiler.setSamplingInterval", {"interval": 250})
    hand.debugger.send("Profiler.start")
    hand.debugger.send("Performance.enable")
    before = metrics(hand)
    VIEWS[view](hand)
    hand.look()
    after = metrics(hand)
    taken = hand.debugger.send("Profiler.stop")["profile"]
    print(view, ", ".join(f"{name} {after[name] - before[name]:.2f}" for name in after))
    names = {node["id"]: node["callFrame"] for node in taken["nodes"]}
    parents = {child: node["id"] for node in taken["nodes"] for child in node.get("children", [])}
    own, whole = collections.Counter(), collections.Counter()
    for node, us in zip(taken["samples"], taken["timeDeltas"], strict=False):
        frame = names[node]
        own[f"{frame['functionName'] or '(anonymous)'} {frame['url'].rpartition('/')[2]}:{frame['lineNumber'] + 1}"] += us
        above = set()
        while node in names:
            frame = names[node]
            above.add(f"{frame['functionName'] or '(anonymous)'} {frame['url'].rpartition('/')[2]}:{frame['lineNumber'] + 1}")
            node = parents.get(node)
        for one in above:
            whole[one] += us
    for title, counts in (("by themselves", own), ("with what they call", whole)):
        print(title)
        for name, us in counts.most_common(35):
            print(f"  {us / 1000:9.1f} ms  {name}")


def ended(*_):
    sys.exit(1)


def main():
    signal.signal(signal.SIGTERM, ended)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--views", nargs="+", choices=PAGES, default=PAGES)
    parser.add_argument("--worst", type=int, default=3, help="how many of the slowest are named")
    parser.add_argument("--soak", type=int, metavar="MINUTES")
    parser.add_argument("--profile", choices=PAGES)
    parser.add_argument("--json", type=pathlib.Path, help="where the figures are written, too")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
        world = World(stack, folder)
        say("the gateway is there")
        world.fill()
        say("it has its log lines")
        world.begin()
        say("requests are in flight")
        play = stack.enter_context(sync_playwright())
        program = shutil.which("chromium") or shutil.which("chromium-browser")
        browser = play.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu", "--disable-quic"])
        stack.callback(browser.close)
        hand = Hand(browser, world)
        stack.callback(hand.close)
        live_now = len(world.call("GET", "/api/requests/live")["requests"])
        print(f"{ACCOUNTS} accounts of {MODELS} models, {live_now} requests in flight, {world.lines()} log lines or more")
        if options.profile:
            profile(hand, options.profile)
            return 0
        if options.soak:
            return 0 if soak(hand, options.soak) else 1
        found = measure(hand, options.views, options.worst)
        if options.json:
            options.json.write_text(json.dumps(found, indent=1))
        return 0 if all(one["p75"] <= P75 and one["p98"] <= P98 for one in found.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
