"""How large the program of the image is, and how much memory it takes when it is idle.

Builds with the Dockerfile's own command, so the first time takes minutes. Prints a line per figure and ends with 1 where
one is over its bound: 30 MB for the program with the certificate authorities, 20 MB resident when idle.

    scripts/sizes.py [PROGRAM]

PROGRAM is measured instead of a build of its own. Needs Linux (/proc), redis-server, and builds cloudcode-sim.
"""

import contextlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

ROOT = pathlib.Path(__file__).resolve().parents[1]
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
# As much as Debian's package ca-certificates brings, which is in the base image.
AUTHORITIES = pathlib.Path("/etc/ssl/certs/ca-certificates.crt")
MB = 1_000_000
MOST_BYTES = 30 * MB
MOST_RESIDENT = 20 * MB
REQUESTS = 100
# Seconds without a request after which a gateway counts as idle.
QUIET = 30
KEY = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
# Loopback, whatever proxy the shell has.
HTTP = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@contextlib.contextmanager
def process(command, **options):
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, **options)
    try:
        yield child
    finally:
        child.terminate()
        child.wait()
        child.stdout.close()


def resident(child):
    """Bytes of memory that the process has in use now."""
    status = pathlib.Path(f"/proc/{child.pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024


def ask(url, number):
    """A request as Claude Code sends it: 120 kB of text before the question; every second one is streamed."""
    body = {
        "model": "claude-sonnet-4-5",
        "max_tokens": 1000,
        "stream": number % 2 == 1,
        "system": "word " * 24_000,
        "messages": [{"role": "user", "content": f"write 100 words for {number}"}],
    }
    request = urllib.request.Request(
        f"{url}/v1/messages", json.dumps(body).encode(), {"content-type": "application/json"}
    )
    with HTTP.open(request, timeout=60) as answer:
        text = answer.read().decode()
        assert ("message_stop" if body["stream"] else "word100") in text, text[-300:]


def memory(program, url, folder, store):
    """Resident bytes after the start, and after the requests; Google is at `url`."""
    folder.mkdir()
    env = {
        "HOME": str(folder), "DATA_DIR": str(folder / "data"), "HOST": "127.0.0.1", "PORT": "0", "LOG_FORMAT": "json",
        "METRICS_ADDR": "127.0.0.1:0", "CLOUDCODE_ENDPOINTS": url, "OAUTH_TOKEN_URL": f"{url}/token",
        "OAUTH_CLIENT_ID": "sample", "OAUTH_CLIENT_SECRET": "sample", "ENCRYPTION_KEYS": KEY, **store,
    }  # fmt: skip
    accounts = [program, "accounts", "import", folder.parent / "accounts.json"]
    subprocess.run(accounts, env=env, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with process([program, "serve"], env=env) as gateway:
        address = json.loads(gateway.stdout.readline())["url"]
        time.sleep(QUIET)
        started = resident(gateway)
        with ThreadPoolExecutor(8) as clients:
            list(clients.map(lambda number: ask(address, number), range(REQUESTS)))
        time.sleep(QUIET)
        return started, resident(gateway)


def main():
    if sys.argv[1:]:
        program = pathlib.Path(sys.argv[1]).resolve()
    else:
        subprocess.run([ROOT / "scripts/image-build.sh", "measured"], cwd=ROOT, check=True)
        program = TARGET / "release/antigravity-proxy"
    build = ["cargo", "build", "--quiet", "--all-features", "--bin", "cloudcode-sim"]
    subprocess.run(build, cwd=ROOT, check=True)

    figures = []
    authorities = AUTHORITIES.stat().st_size if AUTHORITIES.exists() else 0
    size = program.stat().st_size
    figures.append((f"program {size / MB:.1f} MB with certificate authorities {authorities / MB:.1f} MB",
                    size + authorities, MOST_BYTES))  # fmt: skip
    with tempfile.TemporaryDirectory() as place:
        folder = pathlib.Path(place)
        socket = folder / "redis.sock"
        google = [TARGET / "debug/cloudcode-sim", "--accounts", "5", "--write-accounts", folder / "accounts.json"]
        redis = ["redis-server", "--port", "0", "--unixsocket", socket, "--dir", folder, "--appendonly", "yes"]
        with process(google) as simulator, process(redis):
            url = json.loads(simulator.stdout.readline())["baseUrl"]
            while not socket.exists():
                time.sleep(0.05)
            for name, store in [("embedded store", {}), ("Redis", {"REDIS_URL": f"redis+unix://{socket}?db=0"})]:
                started, idle = memory(program, url, folder / name.split()[0], store)
                figures.append((f"{name}: idle after the start", started, MOST_RESIDENT))
                figures.append((f"{name}: idle after {REQUESTS} requests of 120 kB", idle, MOST_RESIDENT))
    over = 0
    for what, found, most in figures:
        verdict = "" if found <= most else "  TOO MUCH"
        over += found > most
        print(f"{found / MB:6.1f} MB of {most / MB:.0f}  {what}{verdict}")
    print(f"sizes: {len(figures) - over} passed, {over} failed")
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())
