"""What Lighthouse says of the console in Debian's Chromium: the log-in, and logged in the overview and the accounts. By
hand, or by `make soak`; each page is looked at three times and the best counts, for a busy machine only makes it worse.

    lighthouse.py                    # as a phone on a slow network, which is Lighthouse's own choice
    lighthouse.py --preset desktop
    lighthouse.py --reports DIR      # with the whole reports, to see what costs
"""

import argparse
import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.request

TESTS = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "observability"), str(TESTS / "e2e"), str(TESTS / "chart")]

from fleet import Child, until  # noqa: E402
from own import PASSWORD, Own  # noqa: E402
from programs import DIRECT, ROOT  # noqa: E402

LEAST = 95
CATEGORIES = ["performance", "accessibility", "best-practices"]
PAGES = {"log-in": ("", False), "overview": ("#/overview", True), "accounts": ("#/accounts", True)}
PROGRAM = pathlib.Path(__file__).with_name("node_modules") / ".bin/lighthouse"
SECONDS = 240


def session(own):
    """The cookie of who is logged in."""
    body = json.dumps({"password": PASSWORD}).encode()
    headers = {"content-type": "application/json"}
    with DIRECT.open(urllib.request.Request(own.url + "/api/session", body, headers), timeout=30) as answer:
        return answer.headers["set-cookie"].partition(";")[0]


@contextlib.contextmanager
def chromium(folder):
    """A browser of our own, which ends with us; its port."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-extensions"]
    flags += ["--remote-debugging-port=0", f"--user-data-dir={folder}", "about:blank"]
    child = Child([program, *flags], folder.with_suffix(".log"))
    try:
        yield until("the browser listens", lambda: port(folder / "DevToolsActivePort"), 30)
    finally:
        child.stop()


def port(file):
    return file.exists() and file.read_text().partition("\n")[0]


def look(url, cookie, preset, file):
    """One report."""
    command = [PROGRAM, url, "--quiet", "--output=json", f"--output-path={file}", f"--only-categories={','.join(CATEGORIES)}"]
    command += [f"--preset={preset}"] if preset != "mobile" else []
    if cookie:
        command.append("--extra-headers=" + json.dumps({"Cookie": cookie}))
    path = f"{ROOT / '.cache/venv/bin'}:{os.environ['PATH']}"
    with tempfile.TemporaryDirectory() as folder, chromium(pathlib.Path(folder) / "profile") as at:
        done = subprocess.run(
            [*map(str, command), f"--port={at}"], env=os.environ | {"PATH": path}, capture_output=True, timeout=SECONDS
        )
    assert done.returncode == 0, done.stderr.decode()[-2_000:]
    return json.loads(file.read_text())


def told(report):
    """What did not get everything, and by how much it counts."""
    for category in CATEGORIES:
        for part in report["categories"][category]["auditRefs"]:
            audit = report["audits"][part["id"]]
            if part["weight"] and audit["score"] is not None and audit["score"] < 0.9:
                yield f"{part['id']} {audit['score']:.2f} {audit.get('displayValue', '')}".strip()


def ended(*_):
    sys.exit(1)


def main():
    signal.signal(signal.SIGTERM, ended)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", choices=["mobile", "desktop"], default="mobile")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--reports", type=pathlib.Path)
    options = parser.parse_args()
    enough = True
    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
        reports = options.reports or folder
        reports.mkdir(parents=True, exist_ok=True)
        own = Own(stack, folder)
        cookie = session(own)
        print(f"{options.preset}, best of {options.runs}, load {' '.join(f'{one:.2f}' for one in os.getloadavg())}")
        print(f"{'page':<10} " + " ".join(f"{one:>14}" for one in CATEGORIES))
        for name, (tail, inside) in PAGES.items():
            runs = [
                look(f"{own.url}/{tail}", cookie if inside else None, options.preset, reports / f"{name}-{n}.json")
                for n in range(options.runs)
            ]
            best = {one: max(round(run["categories"][one]["score"] * 100) for run in runs) for one in CATEGORIES}
            ranked = max(runs, key=lambda run: run["categories"]["performance"]["score"])
            print(f"{name:<10} " + " ".join(f"{best[one]:>14}" for one in CATEGORIES), *told(ranked), sep="  ", flush=True)
            enough &= all(score >= LEAST for score in best.values())
    return 0 if enough else 1


if __name__ == "__main__":
    sys.exit(main())
