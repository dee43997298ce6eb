"""The gateway as a team has it, without any account: two gateways on a Redis, twelve simulated accounts in all states, and
forty users who work.

`make demo` builds and runs it. PORT (default 8080; 0 takes a free one) is the port of the first gateway. Without a Redis
server on this machine there is one gateway, with its embedded store. Everything lives in a directory that is removed at
the end; nothing leaves this machine.
"""

import argparse
import contextlib
import http.client
import json
import math
import os
import pathlib
import random
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import urllib.request
import uuid

ROOT = pathlib.Path(__file__).resolve().parents[1]
BIN = pathlib.Path(os.environ.get("AGP_BIN_DIR", pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug"))
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))

OPUS, SONNET, HAIKU = "claude-opus-4-6-thinking", "claude-sonnet-4-6", "claude-haiku-4-5"
PRO, FLASH = "gemini-3.1-pro-high", "gemini-3-flash"
PEOPLE = """mia noah priya lukas sofia kenji amara oliver chloe mateo ines yusuf hanna diego linh emre freya ravi nora theo
    zara felix aiko marco elif sam bianca jonas laila wei""".split()
# Name, the models it may use, the model that it does use.
MACHINES = [
    ("build-server", [], SONNET),
    ("ci-linux", ["claude-sonnet-*"], SONNET),
    ("ci-windows", ["claude-sonnet-*"], SONNET),
    ("nightly-review", [], OPUS),
    ("docs-bot", ["gemini-*"], FLASH),
    ("release-notes", ["gemini-*"], FLASH),
    ("ticket-triage", ["gemini-*"], PRO),
    ("code-search", [], FLASH),
    ("staging-smoke", [], FLASH),
    ("data-notebook", [], PRO),
]
GONE = "old-laptop"

TASKS = (
    "the flaky test of the invoice exporter", "why the nightly job takes twice as long", "a migration that adds a tax id",
    "the retry policy of the mail queue", "how the cache is keyed", "the release notes of the last sprint",
    "an index for the search by customer", "the types of the event payload", "a smaller image for the worker",
    "what the linter says about the parser", "the permissions of the report page", "a test for the leap-day bug",
)  # fmt: skip
COMMANDS = ("git status", "cargo test --lib", "npm run lint", "git diff --stat", "rg -n TODO src", "make check", "ls -la")
TOOLS = [
    {
        "name": "Bash",
        "description": "Runs a command in a shell and tells what it printed.",
        "input_schema": {
            "type": "object",
            "required": ["command"],
            "properties": {"command": {"type": "string"}, "description": {"type": "string"}},
        },
    },
    {
        "name": "Read",
        "description": "Reads a file.",
        "input_schema": {
            "type": "object",
            "required": ["file_path"],
            "properties": {"file_path": {"type": "string"}, "limit": {"type": "integer"}},
        },
    },
]
DAYS = 30
# Requests of one person in a busy hour.
HOURLY = 45


class Failed(Exception):
    """Why there is no demo, for people."""


class Process:
    """A child with a session of its own, so that a Ctrl-C is this script's alone to deal with."""

    def __init__(self, name, command, folder, environment):
        self.name = name
        self.log = folder / f"{name}.log"
        with self.log.open("wb") as log:
            self.child = subprocess.Popen(
                [str(part) for part in command],
                env=environment,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )

    def ready(self):
        """The JSON line that it prints when it serves; one that does not get there is ended."""
        impatience = threading.Timer(60, self.child.kill)
        impatience.start()
        try:
            line = self.child.stdout.readline()
        finally:
            impatience.cancel()
        if not line:
            raise Failed(f"{self.name} did not start:\n{self.log.read_text(errors='replace')[-2000:]}")
        return json.loads(line)

    def stop(self):
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)
        try:
            self.child.wait(20)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
        self.child.stdout.close()


def call(url, method, path, body=None, password=None):
    """What an API of this demo answers."""
    headers = {"content-type": "application/json"} | ({"x-webui-password": password} if password else {})
    data = None if body is None else json.dumps(body).encode()
    with DIRECT.open(urllib.request.Request(url + path, data, headers, method=method), timeout=60) as answer:
        text = answer.read()
    return json.loads(text) if text else None


def words(chance, count):
    """Text of about `count` tokens, as long as a project's instructions are."""
    pool = "module test build request account stream model review change error table field cache retry parse token".split()
    return " ".join(chance.choice(pool) for _ in range(count))


class Answered(Exception):
    """An answer with another status than 200."""


class User:
    """Somebody with a key who asks again and again, as Claude Code does."""

    def __init__(self, demo, name, secret, model, machine=False, seed=0):
        self.demo, self.name, self.secret, self.model, self.machine = demo, name, secret, model, machine
        self.chance = random.Random(f"{name} {seed}")
        size = self.chance.choice((900, 2_500, 6_000, 12_000))
        self.system = f"You help {name} with a project. {words(self.chance, size)}"
        self.agent = "ci-runner/3.2" if machine else f"claude-cli/2.1.{self.chance.randrange(20, 44)} (external, cli)"
        self.session = self.messages = None

    def run(self):
        # Not all at once.
        if self.demo.over.wait(self.chance.uniform(0, 8)):
            return
        while True:
            with contextlib.suppress(OSError, http.client.HTTPException, ValueError, Answered):
                self.conversation()
            if self.pause():
                return

    def pause(self):
        """Thinks; whether the demo is over."""
        # Briskly at first, so that every page soon has something.
        mean = 6 if time.monotonic() - self.demo.began < 60 else 50
        return self.demo.over.wait(min(240, self.chance.expovariate(1 / mean)))

    def conversation(self):
        self.session, self.messages = str(uuid.UUID(int=self.chance.getrandbits(128))), []
        for _ in range(self.chance.randint(4, 12)):
            roll = self.chance.random()
            if roll < 0.02:
                self.ask("Summarise it.", model="gpt-5.1", keep=False)
            elif roll < 0.03:
                self.ask("Summarise it.", max_tokens=-1, keep=False)
            elif roll < 0.09 and not self.machine:
                # What Claude Code asks of its small model: a title and the like.
                self.ask(f"Name {self.chance.choice(TASKS)} in five words.", model=HAIKU, keep=False, plain=True)
            elif roll < 0.13:
                self.ask(f"write {self.chance.randint(900, 2_500)} words", give_up=self.chance.uniform(2, 9), keep=False)
            elif roll < 0.45:
                self.work(f"run `{self.chance.choice(COMMANDS)}` and `{self.chance.choice(COMMANDS)}`")
            elif roll < 0.6:
                self.ask(f"think about {self.chance.choice(TASKS)}", think=True)
            elif roll < 0.75:
                self.ask(f"write {self.chance.randint(300, 1_600)} words")
            else:
                self.ask(f"Explain {self.chance.choice(TASKS)}: write {self.chance.randint(40, 260)} words")
            if self.pause():
                return

    def work(self, instruction):
        """A task with tools, to its end."""
        content = self.ask(instruction, tools=True)
        while content and (calls := [block for block in content if block["type"] == "tool_use"]):
            lines = self.chance.randint(3, 60)
            results = [
                {"type": "tool_result", "tool_use_id": one["id"], "content": words(self.chance, lines * 6)} for one in calls
            ]
            if self.demo.over.wait(self.chance.uniform(0.2, 2)):
                return
            content = self.ask(results, tools=True)

    def ask(self, content, model=None, max_tokens=8_192, tools=False, think=False, keep=True, plain=False, give_up=None):
        """One turn; what was answered, as blocks."""
        turn = {"role": "user", "content": content}
        body = {
            "model": model or self.model,
            "max_tokens": max_tokens,
            "stream": not (plain or (self.machine and self.chance.random() < 0.3)),
            "system": [{"type": "text", "text": self.system}],
            "messages": [*(self.messages if keep else []), turn],
        }
        if tools:
            body["tools"] = TOOLS
        if think and "claude" in body["model"] and "opus" in body["model"]:
            body["thinking"] = {"type": "enabled", "budget_tokens": 4_096}
        answer = self.send(body, give_up)
        if answer and "claude" not in body["model"]:
            # Other models take no thoughts back.
            answer = [block for block in answer if block["type"] != "thinking"]
        if keep and answer:
            self.messages += [turn, {"role": "assistant", "content": answer}]
        return answer

    def send(self, body, give_up=None):
        netloc = urllib.parse.urlsplit(self.chance.choice(self.demo.urls)).netloc
        connection = http.client.HTTPConnection(netloc, timeout=300)
        headers = {
            "content-type": "application/json",
            "anthropic-version": "2023-06-01",
            "authorization": f"Bearer {self.secret}",
            "user-agent": self.agent,
            "x-claude-code-session-id": self.session or str(uuid.uuid4()),
        }
        self.demo.open(connection)
        # Whoever gives up hangs up.
        timer = threading.Timer(give_up, self.demo.cut, [connection]) if give_up else None
        try:
            connection.request("POST", "/v1/messages", json.dumps(body), headers)
            if timer:
                timer.start()
            answer = connection.getresponse()
            if answer.status != 200:
                answer.read()
                raise Answered(answer.status)
            return streamed(answer) if body["stream"] else json.loads(answer.read())["content"]
        finally:
            if timer:
                timer.cancel()
            self.demo.done(connection)


def streamed(answer):
    """The blocks of a stream."""
    blocks, parts = [], {}
    for line in answer:
        if not line.startswith(b"data: "):
            continue
        event = json.loads(line[6:])
        if event["type"] == "content_block_start":
            blocks.append(event["content_block"])
            parts[event["index"]] = ""
        elif event["type"] == "content_block_delta":
            delta, block = event["delta"], blocks[event["index"]]
            for kind in ("text", "thinking", "signature"):
                if kind in delta:
                    block[kind] = block.get(kind, "") + delta[kind]
            parts[event["index"]] += delta.get("partial_json", "")
        elif event["type"] == "content_block_stop" and blocks[event["index"]]["type"] == "tool_use":
            blocks[event["index"]]["input"] = json.loads(parts[event["index"]] or "{}")
        elif event["type"] == "error":
            raise Answered(event["error"])
    return blocks


def weight(ago):
    """How much people ask, from 0 to 1, so many hours before now: now is three in the afternoon of a Thursday, whenever that
    is, so that the made-up past leads to the traffic of this demo."""
    hour, day = (15 - ago) % 24, (3 - (ago + 9) // 24) % 7
    busy = math.exp(-(((hour - 10.5) / 2.2) ** 2)) + math.exp(-(((hour - 15.2) / 2.4) ** 2))
    return 0.03 + min(1, busy) * (0.1 if day >= 5 else 1)


def past(users, now):
    """Made-up requests of the past month, each in the shape that `pretend-usage` reads: `users` are name, key id, model and
    whether it is a machine."""
    chance = random.Random("the past")
    hour = 3_600_000
    liking = {name: chance.lognormvariate(-0.15, 0.55) for name, *_ in users}
    requests = []
    for back in range(DAYS * 24 - 1, -1, -1):
        begin = now - now % hour - back * hour
        # A team that came to like it, and an afternoon on which the upstream was not well.
        growth = 1 - 0.8 * back / (DAYS * 24)
        broken = 7 * 24 - 3 < back <= 7 * 24
        for name, key, favourite, machine in users:
            share = 0.3 if machine else weight(back)
            count = int(chance.gammavariate(2, 0.5) * share * growth * liking[name] * HOURLY)
            for _ in range(count):
                at = begin + chance.randrange(hour)
                if at < now:
                    requests.append(made_up(chance, at, key, favourite, broken))
    return requests


def made_up(chance, at, key, favourite, broken):
    model = favourite if chance.random() < 0.8 else chance.choice((SONNET, FLASH, "gemini-2.5-flash"))
    roll = chance.random()
    limits = ((0.012, "client_error"), (0.03, "cancelled"), (0.045, "rate_limited"), (0.05, "unavailable"))
    status = next((name for limit, name in limits if roll < limit), "success")
    if chance.random() < (0.3 if broken else 0.006):
        status = "upstream_error"
    request = {"at": at, "model": model, "key": key, "status": status, "latencyMs": int(chance.lognormvariate(7.9, 0.8))}
    if status in ("success", "cancelled"):
        output = int(chance.lognormvariate(6.1, 0.9))
        # Milliseconds for each token.
        pace = 19 if model == OPUS else 14 if model == SONNET else 11 if model == PRO else 6
        request |= {
            "inputTokens": int(chance.lognormvariate(7.6, 0.9)),
            "outputTokens": output,
            "cacheReadTokens": int(chance.lognormvariate(9.6, 0.8)),
            "latencyMs": 900 + int(output * pace * chance.uniform(0.8, 1.3)),
        }
        if model in (OPUS, PRO, FLASH):
            request["thinkingTokens"] = int(output * chance.uniform(0.1, 0.6))
    return request


class Demo:
    """All of it, from `with` to its end."""

    def __init__(self, port=0, bin=BIN, scenario="demo", say=lambda text: None, public=None):
        self.bin, self.say, self.scenario, self.port, self.public = pathlib.Path(bin), say, scenario, port, public
        self.password = f"demo-{secrets.token_hex(4)}"
        self.over = threading.Event()
        self.urls, self.connections, self.lock = [], set(), threading.Lock()
        self.threads = []

    @property
    def url(self):
        """Where the console is."""
        return self.urls[0]

    def api(self, method, path, body=None):
        return call(self.url, method, path, body, self.password)

    def open(self, connection):
        with self.lock:
            self.connections.add(connection)

    def done(self, connection):
        with self.lock:
            self.connections.discard(connection)
        connection.close()

    def cut(self, connection):
        # Only this ends a read that waits in another thread.
        with contextlib.suppress(OSError, AttributeError):
            connection.sock.shutdown(2)

    def __enter__(self):
        self.stack = contextlib.ExitStack()
        try:
            self.begin()
        except BaseException:
            self.stack.close()
            raise
        return self

    def __exit__(self, *_):
        self.stack.close()

    def child(self, name, command, environment):
        process = Process(name, command, self.folder, environment)
        self.stack.callback(process.stop)
        return process

    def begin(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="agp-demo-"))
        self.stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
        environment = {"PATH": os.environ.get("PATH", ""), "HOME": str(self.folder)}
        accounts = self.folder / "accounts.json"
        google = self.child(
            "simulator", [self.bin / "cloudcode-sim", "--scenario", self.scenario, "--write-accounts", accounts], environment
        )
        self.google = google.ready()["baseUrl"]
        # Nothing of the shell's, a real account or a proxy for example, gets in.
        self.environment = environment | {
            "HOST": "127.0.0.1",
            "PORT": "0",
            "METRICS_ADDR": "",
            "DATA_DIR": str(self.folder / "data"),
            "WEBUI_PASSWORD": self.password,
            "CLOUDCODE_ENDPOINTS": self.google,
            "OAUTH_AUTH_URL": self.google + "/auth",
            "OAUTH_TOKEN_URL": self.google + "/token",
            "OAUTH_USERINFO_URL": self.google + "/userinfo",
            "OAUTH_CLIENT_ID": "demo",
            "OAUTH_CLIENT_SECRET": "demo",
            # Each attempt has a line, so that stories tell more.
            "LOG_LEVEL": "info,antigravity_proxy::dispatch=debug",
        }
        if self.public:
            self.environment["PUBLIC_DIR"] = str(self.public)
        server = shutil.which("redis-server") or shutil.which("valkey-server")
        if server:
            self.redis(server)
        self.say("accounts and keys …")
        first = self.gateway("setting-up", 0)
        self.command("accounts", "import", accounts)
        users = self.fill()
        if not server:
            # Its directory is its own while it runs.
            first.stop()
        self.say(f"the past {DAYS} days, made up …")
        self.remember(users)
        first.stop()
        self.urls.clear()
        self.gateway("gateway-a", self.port)
        if server:
            self.gateway("gateway-b", 0)
        self.stack.callback(self.rest)
        self.began = time.monotonic()
        for name, _, secret, model, machine in users:
            self.start(User(self, name, secret, model, machine).run)
        self.start(self.incidents)
        self.start(self.stranger)

    def redis(self, server):
        socket = self.folder / "redis.sock"
        settings = ["--port", "0", "--unixsocket", socket, "--dir", self.folder, "--save", "", "--appendonly", "no"]
        process = self.child("redis", [server, *settings], {"PATH": os.environ.get("PATH", "")})
        # It talks to the log, which must not fill a pipe.
        threading.Thread(target=process.child.stdout.read, daemon=True).start()
        deadline = time.monotonic() + 30
        while not socket.exists():
            if process.child.poll() is not None or time.monotonic() > deadline:
                raise Failed(f"redis did not start:\n{process.log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.05)
        key = secrets.token_urlsafe(32).replace("-", "A").replace("_", "B") + "="
        self.environment |= {"REDIS_URL": f"redis+unix://{socket}?db=0", "ENCRYPTION_KEYS": key}

    def gateway(self, name, port):
        """Starts one, with a machine name of its own where the system lets it have one."""
        command = [self.bin / "antigravity-proxy"]
        named = ["unshare", "--user", "--map-root-user", "--uts", "sh", "-c", 'hostname "$0" && exec "$@"', name]
        with contextlib.suppress(OSError):
            if subprocess.run([*named, "true"], capture_output=True, check=False).returncode == 0:
                command = named + command
        data = {} if "REDIS_URL" not in self.environment else {"DATA_DIR": str(self.folder / name)}
        process = self.child(name, command, self.environment | data | {"PORT": str(port)})
        self.urls.append(process.ready()["url"])
        return process

    def command(self, *arguments):
        command = [str(self.bin / "antigravity-proxy"), *map(str, arguments)]
        done = subprocess.run(command, env=self.environment, capture_output=True, check=False, start_new_session=True)
        if done.returncode != 0:
            raise Failed(f"{arguments[0]} failed:\n{done.stderr.decode(errors='replace')}")

    def fill(self):
        """Keys and what an operator did; the users, each name, key id, secret, model and whether it is a machine."""
        chance = random.Random("users")
        users = []
        for name in PEOPLE:
            made = self.api("POST", "/api/keys", {"name": name} | ({"expiresInDays": 12} if name == "sam" else {}))
            model = chance.choices((OPUS, SONNET, PRO, FLASH), (4, 5, 2, 1))[0]
            users.append((name, made["key"]["id"], made["secret"], model, False))
        for name, models, model in MACHINES:
            made = self.api("POST", "/api/keys", {"name": name, "models": models})
            users.append((name, made["key"]["id"], made["secret"], model, True))
        made = self.api("POST", "/api/keys", {"name": GONE})
        self.gone = made["secret"]
        self.api("POST", f"/api/keys/{made['key']['id']}/revoke")
        rotated = next(key for name, key, *_ in users if name == "ci-windows")
        self.api("POST", f"/api/keys/{rotated}/rotate", {"graceMs": 86_400_000})
        self.api("POST", "/api/accounts/lea%40example.com/toggle", {"enabled": False})
        self.api("PATCH", "/api/accounts/ben.okafor%40example.com", {"quotaThreshold": 0.05})
        self.command("presets", "apply", "Team")
        self.api("PATCH", "/api/settings", {"settings": {"streamKeepaliveMs": 10_000}})
        self.api("POST", "/api/models/config", {"modelId": OPUS, "config": {"pinned": True}})
        return users

    def remember(self, users):
        requests = past([(name, key, model, machine) for name, key, _, model, machine in users], int(time.time() * 1000))
        file = self.folder / "past.json"
        file.write_text(json.dumps(requests))
        self.command("pretend-usage", file)

    def start(self, run):
        thread = threading.Thread(target=run, daemon=True)
        self.threads.append(thread)
        thread.start()

    def incidents(self):
        """What goes wrong from time to time, beside what the scenario has."""
        chance = random.Random("incidents")
        generate = {"path": "GenerateContent"}
        burst = {"when": generate | {"model": SONNET, "times": 8}, "then": {"fault": "capacity"}}
        limit = {
            "when": generate | {"account": "gus@example.com", "times": 1},
            "then": {"fault": "rate_limited", "reset_ms": 45_000},
        }
        empty = {
            "when": generate | {"account": "hal@example.com", "model": "claude-opus*", "times": 1},
            "then": {"fault": "quota_exhausted", "reset_ms": 240_000},
        }
        cut = {"when": {"path": "streamGenerateContent", "times": 1}, "then": {"cut_after": 4}}
        wait = 15
        while not self.over.wait(wait):
            with contextlib.suppress(OSError):
                call(self.google, "POST", "/sim/faults", chance.choice((burst, burst, limit, empty, cut)))
            wait = chance.uniform(30, 75)

    def stranger(self):
        """A client whose key was revoked and that nobody told."""
        user = User(self, GONE, self.gone, SONNET, True)
        while not self.over.wait(35):
            with contextlib.suppress(OSError, http.client.HTTPException, ValueError, Answered):
                user.ask("hello", keep=False)

    def rest(self):
        """Everybody hangs up."""
        self.over.set()
        while any(thread.is_alive() for thread in self.threads):
            with self.lock:
                open_ones = list(self.connections)
            for connection in open_ones:
                self.cut(connection)
            for thread in self.threads:
                thread.join(0.01)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=int(os.environ.get("PORT", "8080")), help="port of the first gateway")
    parser.add_argument("--bin", default=BIN, help="where the built programs are")
    parser.add_argument("--scenario", default="demo", help="a scenario of the simulator, or a file")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    # Also where a shell has it ignored, as for what it runs in the background.
    signal.signal(signal.SIGINT, signal.default_int_handler)

    def say(text):
        print(text, flush=True)

    try:
        with Demo(options.port, options.bin, options.scenario, say) as demo:
            others = f" (the other gateway: {demo.urls[1]})" if len(demo.urls) > 1 else ""
            say(
                f"\n  console   {demo.url}/{others}\n  password  {demo.password}\n\n"
                f"{len(PEOPLE) + len(MACHINES)} simulated users work on 12 simulated accounts; the usage of the past {DAYS} days is"
                " made up.\nCtrl-C ends it and leaves nothing behind."
            )
            signal.pause()
    except KeyboardInterrupt:
        say("")
    except Failed as problem:
        sys.exit(str(problem))


if __name__ == "__main__":
    main()
