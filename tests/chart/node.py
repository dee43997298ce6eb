"""A machine that runs the containers of a release as processes, without a cluster."""

import base64
import contextlib
import json
import subprocess
import time
import urllib.error
import urllib.request

from chart import BINARY, environment, program, run

SOON = 60


@contextlib.contextmanager
def process(command, **options):
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **options)
    try:
        yield child
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


def until(what, holds):
    end = time.monotonic() + SOON
    while not holds():
        assert time.monotonic() < end, f"not within {SOON} s: {what}"
        time.sleep(0.05)


def status(url):
    # Loopback, whatever proxy the shell has.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=SOON) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


class Node:
    """A machine that runs the containers of a release as processes."""

    def __init__(self, release, folder, upstream):
        self.release, self.folder, self.upstream = release, folder, upstream
        self.generated = {key: base64.b64decode(text) for key, text in release.one("Secret")["data"].items()}
        # What the README has its reader create.
        given = {"encryption-keys": b"A" * 43 + b"=\n", "oauth-client-secret": b"sample\n"}
        for file, (secret, key) in release.secret_files.items():
            own = secret == "gw-antigravity-proxy"
            (folder / file).write_bytes(self.generated[key] if own else given[file])
        (folder / "config.json").write_text(release.one("ConfigMap")["data"]["config.json"])

    def environment(self, container, name):
        env = {"HOME": str(self.folder / name), "KUBERNETES_SERVICE_HOST": "10.0.0.1"} | self.upstream
        for key, value in environment(container).items():
            if key.endswith("_FILE"):
                value = str(self.folder / value.rsplit("/", 1)[1])
            env[key] = value
        local = {
            "DATA_DIR": str(self.folder / name / "data"), "HOST": "127.0.0.1", "PORT": "0", "METRICS_ADDR": "127.0.0.1:0",
            "REDIS_URL": f"redis+unix://{self.folder}/redis.sock?db=0", "OAUTH_CLIENT_ID": "sample",
        }  # fmt: skip
        return env | {key: value for key, value in local.items() if key in env}

    def run(self, container, name, args=None):
        """Runs a container to its end, as the kubelet would: the image's entry point with its arguments."""
        (self.folder / name).mkdir(exist_ok=True)
        args = container["args"] if args is None else args
        return run([BINARY, *args], env=self.environment(container, name), cwd=self.folder / name)

    def valkey(self):
        server = self.release.one("StatefulSet", "-valkey")["spec"]["template"]["spec"]["containers"][0]
        assert server["command"] == ["valkey-server"]
        password = self.generated["valkey-password"].decode()
        args = [arg.replace("$(VALKEY_PASSWORD)", password) for arg in server["args"]]
        args[args.index("--dir") + 1] = str(self.folder)
        return process([program("redis-server"), "--port", "0", "--unixsocket", self.folder / "redis.sock", *args])

    @contextlib.contextmanager
    def gateway(self, name):
        """A replica; its addresses as it prints them."""
        (self.folder / name).mkdir(exist_ok=True)
        container = self.release.gateway
        env = self.environment(container, name)
        with (self.folder / f"{name}.log").open("w") as log:
            with process([BINARY, *container["args"]], env=env, cwd=self.folder / name, stderr=log) as child:
                line = child.stdout.readline()
                assert line, (self.folder / f"{name}.log").read_text()
                yield child, json.loads(line)
