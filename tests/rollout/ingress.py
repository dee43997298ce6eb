"""An nginx that does what the ingress controller makes of the chart's Ingress.

The settings come from the rendered annotations; one that has no directive here fails the test, so that the two cannot
drift apart. What annotations leave open has the default of kubernetes/ingress-nginx (docs/user-guide/nginx-configuration,
its ConfigMap). As there, the endpoints are chosen by Lua from a list that changes without a reload, every worker looks at
the list once a second, and connections to endpoints are kept, also to those that have left the list.
"""

import asyncio
import json
import os
import platform
import socket
from pathlib import Path

import httpx2

ROOT = Path(__file__).resolve().parents[2]
UNPACKED = ROOT / ".cache/debian/nginx"
PREFIX = "nginx.ingress.kubernetes.io/"
DIRECTIVES = {
    "proxy-buffering": "proxy_buffering {};",
    "proxy-request-buffering": "proxy_request_buffering {};",
    "proxy-http-version": "proxy_http_version {};",
    "proxy-connect-timeout": "proxy_connect_timeout {}s;",
    "proxy-read-timeout": "proxy_read_timeout {}s;",
    "proxy-send-timeout": "proxy_send_timeout {}s;",
    "proxy-body-size": "client_max_body_size {};",
    "proxy-next-upstream": "proxy_next_upstream {};",
    "proxy-next-upstream-tries": "proxy_next_upstream_tries {};",
}
# Of the controller, where no annotation says otherwise.
DEFAULTS = {
    "proxy-buffering": "off",
    "proxy-request-buffering": "on",
    "proxy-http-version": "1.1",
    "proxy-connect-timeout": "5",
    "proxy-read-timeout": "60",
    "proxy-send-timeout": "60",
    "proxy-body-size": "1m",
    "proxy-next-upstream": "error timeout",
    "proxy-next-upstream-tries": "3",
}

MAIN = """\
%(user)s
daemon off;
worker_processes 2;
worker_shutdown_timeout 240s;
pid %(folder)s/nginx.pid;
error_log %(folder)s/error.log notice;
load_module %(unpacked)s/usr/lib/nginx/modules/ndk_http_module.so;
load_module %(unpacked)s/usr/lib/nginx/modules/ngx_http_lua_module.so;
events { worker_connections 16384; multi_accept on; }
http {
    client_body_temp_path %(folder)s/temp/body;
    proxy_temp_path %(folder)s/temp/proxy;
    fastcgi_temp_path %(folder)s/temp/fastcgi;
    uwsgi_temp_path %(folder)s/temp/uwsgi;
    scgi_temp_path %(folder)s/temp/scgi;
    log_format json escape=json '{"uri":"$request_uri","status":$status,"seconds":$request_time,'
        '"upstreams":"$upstream_addr","statuses":"$upstream_status","connection":"$upstream_http_connection"}';
    access_log %(folder)s/access.log json;
    keepalive_timeout 75s;
    keepalive_requests 1000;
    client_body_buffer_size 8k;
    proxy_buffer_size 4k;
    proxy_buffers 4 4k;
    proxy_redirect off;

    lua_package_path "%(unpacked)s/usr/share/lua/5.1/?.lua;;";
    lua_shared_dict endpoints 1m;
    upstream endpoints {
        server 0.0.0.1;
        balancer_by_lua_block {
            local balancer, shared, known = require "ngx.balancer", ngx.shared.endpoints, require "known"
            if ngx.now() >= known.until_time then
                known.peers, known.until_time = {}, ngx.now() + 1
                for host, port in shared:get("all"):gmatch("(%%S+):(%%d+)") do
                    table.insert(known.peers, { host, tonumber(port) })
                end
            end
            local peer = known.peers[shared:incr("turn", 1, 0) %% #known.peers + 1]
            balancer.set_more_tries(1)
            assert(balancer.set_current_peer(peer[1], peer[2]))
        }
        keepalive 320;
        keepalive_time 1h;
        keepalive_timeout 60s;
        keepalive_requests 10000;
    }
    init_by_lua_block { package.loaded.known = { peers = {}, until_time = 0 } }

    # What the controller tells its own nginx.
    server {
        listen unix:%(folder)s/control.sock;
        access_log off;
        location = /endpoints {
            content_by_lua_block {
                ngx.req.read_body()
                ngx.shared.endpoints:set("all", ngx.req.get_body_data() or "")
                ngx.say("ok")
            }
        }
    }
    server {
        listen 127.0.0.1:%(port)d;
        location / { return 404; }
%(locations)s
    }
}
"""

LOCATION = """\
        location %s {
            proxy_pass http://endpoints;
            proxy_set_header Host $host;
            proxy_set_header Connection "";
            proxy_set_header X-Real-IP $remote_addr;
            proxy_set_header X-Forwarded-For $remote_addr;
            proxy_set_header X-Forwarded-Host $host;
            proxy_set_header X-Forwarded-Proto $scheme;
            %s
        }
"""


def settings(ingress, **other):
    """The directives of an Ingress; `other` replaces annotations."""
    annotations = ingress["metadata"]["annotations"]
    unknown = [name for name in annotations if name.removeprefix(PREFIX) not in DIRECTIVES]
    assert not unknown, f"annotations that the rehearsal does not know: {unknown}"
    found = DEFAULTS | {name.removeprefix(PREFIX): value for name, value in annotations.items()} | other
    return [DIRECTIVES[name].format(value) for name, value in sorted(found.items())]


def locations(ingress):
    """The paths of an Ingress as nginx takes them."""
    (rule,) = ingress["spec"]["rules"]
    for path in rule["http"]["paths"]:
        if path["pathType"] == "Exact":
            yield f"= {path['path']}"
        else:
            assert path["pathType"] == "Prefix" and path["path"] != "/"
            yield f"= {path['path']}"
            yield f"{path['path']}/"


class Nginx:
    """An nginx in front of endpoints that come and go."""

    def __init__(self, ingress, folder, **other):
        self.folder = folder
        self.ingress, self.other = ingress, other

    async def __aenter__(self):
        (self.folder / "temp").mkdir(parents=True)
        # Bound here and handed over, so that no other process can take the port in between.
        with socket.create_server(("127.0.0.1", 0), backlog=511) as listener:
            # Nginx leaves an inherited socket as it is, and must not block in it.
            listener.setblocking(False)
            port = listener.getsockname()[1]
            self.url = f"http://127.0.0.1:{port}"
            configuration = self.folder / "nginx.conf"
            configuration.write_text(MAIN % {
                "user": "user root;" if os.geteuid() == 0 else "",
                "folder": self.folder,
                "unpacked": UNPACKED,
                "port": port,
                "locations": "".join(
                    LOCATION % (path, "\n            ".join(settings(self.ingress, **self.other)))
                    for path in locations(self.ingress)
                ),
            })  # fmt: skip
            machine = f"{platform.machine()}-linux-gnu"
            libraries = f"{UNPACKED}/usr/lib/{machine}:{UNPACKED}/lib/{machine}"
            self.process = await asyncio.create_subprocess_exec(
                UNPACKED / "usr/sbin/nginx", "-e", self.folder / "error.log", "-c", configuration,
                env={"LD_LIBRARY_PATH": libraries, "NGINX": f"{listener.fileno()};"},
                pass_fds=[listener.fileno()], stdin=asyncio.subprocess.DEVNULL,
            )  # fmt: skip
        control = httpx2.AsyncHTTPTransport(uds=str(self.folder / "control.sock"))
        self.control = httpx2.AsyncClient(transport=control, base_url="http://control")
        while not (self.folder / "control.sock").exists():
            assert self.process.returncode is None, (self.folder / "error.log").read_text()
            await asyncio.sleep(0.02)
        return self

    async def __aexit__(self, *_):
        await self.control.aclose()
        if self.process.returncode is None:
            self.process.terminate()
        await self.process.wait()

    async def endpoints(self, addresses):
        """Requests go to these `host:port` from the next second on."""
        answer = await self.control.post("/endpoints", content=" ".join(addresses))
        assert answer.status_code == 200, answer.text

    def log(self):
        """Every request that has ended, with what became of it."""
        return [json.loads(line) for line in (self.folder / "access.log").read_text().splitlines()]

    def complaints(self):
        """What nginx itself found wrong."""
        lines = (self.folder / "error.log").read_text().splitlines()
        return [line for line in lines if any(f"[{level}]" in line for level in ("warn", "error", "crit", "alert"))]


def kept(address):
    """Connections that are open to an endpoint from this machine: their own ports."""
    host, port = address.rsplit(":", 1)
    remote = f"{''.join(f'{int(part):02X}' for part in reversed(host.split('.')))}:{int(port):04X}"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {int(row[1].split(":")[1], 16) for row in rows if row[2] == remote and row[3] == "01"}
