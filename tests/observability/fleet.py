"""Replicas on one Redis, with Google simulated, under load, and a Prometheus that watches them: all as children, on
sockets and free ports."""

import contextlib
import http.client
import itertools
import json
import math
import pathlib
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request

import yaml
from prometheus import program, tool

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "e2e"))

from programs import BIN, DIRECT, Process, Simulator, clean_environment  # noqa: E402

KEY = "test-key"
# Until anything has happened, on a busy machine.
SOON = 240


def until(what, holds, seconds=SOON):
    """What `holds` returns when it is true at last."""
    end = time.monotonic() + seconds
    while True:
        if found := holds():
            return found
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.2)


class Child:
    """A program that says nothing on standard output; ended by its own handle."""

    def __init__(self, command, log):
        self.log = log
        with log.open("ab") as output:
            self.child = subprocess.Popen(
                [str(part) for part in command], env=clean_environment(), stdout=output, stderr=output, cwd=log.parent
            )

    def stop(self, how=signal.SIGTERM):
        if self.child.poll() is None:
            self.child.send_signal(how)
        try:
            self.child.wait(20)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()


class Redis:
    """A server that keeps what it acknowledged."""

    def __init__(self, folder):
        self.folder = folder
        self.socket = folder / "redis.sock"
        self.url = f"redis+unix://{self.socket}?db=0"
        self.start()

    def start(self):
        self.socket.unlink(missing_ok=True)
        settings = ["--port", "0", "--unixsocket", self.socket, "--dir", self.folder, "--save", ""]
        settings += ["--appendonly", "yes", "--appendfsync", "always", "--maxmemory-policy", "noeviction"]
        self.server = Child([program("redis-server"), *settings], self.folder / "redis.log")
        until("Redis listens", self.socket.exists)

    def kill(self):
        self.server.stop(signal.SIGKILL)


class Upstream(Simulator):
    """Google's stand-in for so many accounts that have these models; `quota` is what is said of each."""

    def __init__(self, folder, models, accounts=3, **quota):
        scenario = folder / "scenario.json"
        scenario.write_text(json.dumps({"models": [{"id": one, "display_name": one} | quota for one in models]}))
        self.accounts = folder / "accounts.json"
        args = [BIN / "cloudcode-sim", "--scenario", scenario, "--accounts", accounts]
        Process.__init__(
            self, [*args, "--write-accounts", self.accounts], clean_environment(), folder / "simulator.log"
        )
        self.url = self.ready()["baseUrl"]


class Replica(Process):
    """A gateway; `metrics` is the address of its metrics, for one that takes the place of another; `variables` are more
    of its environment."""

    def __init__(self, folder, upstream, settings, redis=None, metrics="127.0.0.1:0", **variables):
        folder.mkdir(exist_ok=True)
        config = folder / "config.json"
        config.write_text(json.dumps(settings))
        shared = {"REDIS_URL": redis.url, "ENCRYPTION_KEYS": "A" * 43 + "="} if redis else {}
        usual = {
            "HOME": str(folder),
            "CONFIG_FILE": str(config),
            "DATA_DIR": str(folder / "data"),
            "HOST": "127.0.0.1",
            "PORT": "0",
            "METRICS_ADDR": metrics,
            "CLOUDCODE_ENDPOINTS": upstream.url,
            "OAUTH_TOKEN_URL": upstream.url + "/token",
            "OAUTH_CLIENT_ID": "test-client",
            "OAUTH_CLIENT_SECRET": "test-secret",
            "LOG_FORMAT": "json",
            "API_KEY": KEY,
        }
        self.environment = clean_environment(**usual | shared | variables)
        super().__init__([BIN / "antigravity-proxy"], self.environment, folder / "gateway.log")
        addresses = self.ready()
        self.url = addresses["url"]
        self.metrics = urllib.parse.urlsplit(addresses["metricsUrl"]).netloc

    def command(self, *args):
        command = [str(BIN / "antigravity-proxy"), *map(str, args)]
        done = subprocess.run(command, env=self.environment, capture_output=True, timeout=300)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode()

    def post(self, path, body, key=KEY, timeout=60):
        """The status of an answer that was read to its end; 0 when the connection broke."""
        connection = http.client.HTTPConnection(urllib.parse.urlsplit(self.url).netloc, timeout=timeout)
        headers = {"content-type": "application/json", "x-api-key": key, "anthropic-version": "2023-06-01"}
        try:
            connection.request("POST", path, json.dumps(body), headers)
            answer = connection.getresponse()
            answer.read()
            return answer.status
        except (OSError, http.client.HTTPException):
            return 0
        finally:
            connection.close()

    def models(self):
        """The ids that it offers."""
        request = urllib.request.Request(self.url + "/v1/models?limit=1000", headers={"x-api-key": KEY})
        with DIRECT.open(request, timeout=30) as answer:
            return {model["id"] for model in json.load(answer)["data"]}

    def exposed(self):
        """Its metrics, as they are scraped."""
        with DIRECT.open(f"http://{self.metrics}/metrics", timeout=30) as answer:
            return answer.read().decode()

    def ask(self, model, words="hello", stream=True, **more):
        return self.post("/v1/messages", message(model, words, stream), **more)


def message(model, words, stream):
    messages = [{"role": "user", "content": [{"type": "text", "text": words}]}]
    return {"model": model, "max_tokens": 4096, "stream": stream, "messages": messages}


class Traffic:
    """So many clients that ask for one model after the other, of one replica after the other, once a second each."""

    def __init__(self, replicas, models, clients):
        self.replicas, self.models = replicas, models
        self.over = threading.Event()
        self.turn = itertools.count()
        self.clients = [threading.Thread(target=self.client, daemon=True) for _ in range(clients)]
        for client in self.clients:
            client.start()

    def client(self):
        while not self.over.wait(1):
            turn = next(self.turn)
            replica = self.replicas[turn % len(self.replicas)]
            replica.ask(self.models[turn // len(self.replicas) % len(self.models)], stream=turn % 7 != 0)

    def stop(self):
        self.over.set()
        for client in self.clients:
            client.join(90)
            assert not client.is_alive()


class Prometheus(Child):
    """Scrapes targets, each (address, labels), and follows rules, every second."""

    def __init__(self, folder, job, targets, rules=None):
        folder.mkdir()
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s", "scrape_timeout": "1s"},
            "rule_files": [str(rules)] if rules else [],
            "scrape_configs": [
                {
                    "job_name": job,
                    "static_configs": [{"targets": [address], "labels": labels} for address, labels in targets],
                }
            ],
        }
        (folder / "prometheus.yaml").write_text(yaml.safe_dump(config))
        command = [tool("prometheus"), "--config.file=prometheus.yaml", f"--storage.tsdb.path={folder / 'data'}"]
        super().__init__([*command, "--web.listen-address=127.0.0.1:0"], folder / "prometheus.log")
        self.began = time.time()
        self.url = "http://" + until("Prometheus listens", self.address, 60)
        until("Prometheus is ready", self.is_ready, 60)

    def address(self):
        assert self.child.poll() is None, self.log.read_text()
        found = re.search(r'Listening on"? address=(127\.0\.0\.1:\d+)', self.log.read_text())
        return found and found[1]

    def is_ready(self):
        with contextlib.suppress(OSError), DIRECT.open(self.url + "/-/ready", timeout=10) as answer:
            return answer.status == 200
        return False

    def get(self, path, **parameters):
        with DIRECT.open(f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}", timeout=60) as answer:
            return json.load(answer)["data"]

    def value(self, query):
        """The figure that a query has now, `None` without one."""
        found = self.get("query", query=query)["result"]
        return float(found[0]["value"][1]) if found else None

    def figures(self, query):
        """How many figures the query has had; what is no number is none."""
        found = self.get("query_range", query=query, start=self.began, end=time.time(), step=2)["result"]
        return sum(math.isfinite(float(figure)) for series in found for _, figure in series["values"])

    def firing(self):
        """Alerts that fire, with how many times."""
        names = [alert["labels"]["alertname"] for alert in self.get("alerts")["alerts"] if alert["state"] == "firing"]
        return {name: names.count(name) for name in names}

    def have_fired(self):
        """All that fire or did since the beginning."""
        query = 'count by (alertname) (count_over_time(ALERTS{alertstate="firing"}[1h]))'
        past = {series["metric"]["alertname"] for series in self.get("query", query=query)["result"]}
        return past | set(self.firing())
