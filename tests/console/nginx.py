"""An nginx that gives each request to the next of several gateways, in turn; it may serve a console's files itself."""

import os
import pathlib
import platform
import re
import signal
import socket
import subprocess

from fleet import until

ROOT = pathlib.Path(__file__).resolve().parents[2]
UNPACKED = ROOT / ".cache/debian/nginx"

CONFIGURATION = """\
%(user)s
daemon off;
worker_processes 1;
pid %(folder)s/nginx.pid;
error_log %(folder)s/error.log notice;
events { worker_connections 1024; }
http {
    types { text/html html; text/css css; text/javascript js; image/svg+xml svg; }
    client_body_temp_path %(folder)s/temp/body;
    proxy_temp_path %(folder)s/temp/proxy;
    fastcgi_temp_path %(folder)s/temp/fastcgi;
    uwsgi_temp_path %(folder)s/temp/uwsgi;
    scgi_temp_path %(folder)s/temp/scgi;
    log_format short '$request_method $uri $status $upstream_addr';
    access_log %(folder)s/access.log short;
    upstream gateways { %(gateways)s }
    server {
        listen 127.0.0.1:%(port)d;
        location / {
            proxy_pass http://gateways;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For %(peer)s;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_next_upstream off;
            proxy_read_timeout 3600s;
        }
        %(local)s
    }
}
"""
LOCAL = """root %s;
        location = / { try_files /index.html =404; }
        location ~ ^/(app\\.js|favicon\\.svg|(css|js|views)/.*)$ { try_files $uri =404; }"""


class Site:
    """`files`, if any, at `/`, everything else from `gateways` (their addresses), each request from the next one; `peer` is
    where it says that requests come from."""

    def __init__(self, folder, files, gateways, peer="$remote_addr"):
        self.folder = folder
        (folder / "temp").mkdir(parents=True)
        # Bound here and handed over, so that no other process can take the port in between.
        with socket.create_server(("127.0.0.1", 0), backlog=511) as listener:
            listener.setblocking(False)
            port = listener.getsockname()[1]
            self.url = f"http://127.0.0.1:{port}"
            configuration = folder / "nginx.conf"
            configuration.write_text(CONFIGURATION % {
                "user": "user root;" if os.geteuid() == 0 else "",
                "folder": folder,
                "local": LOCAL % files if files else "",
                "peer": peer,
                "port": port,
                "gateways": " ".join(f"server {address};" for address in gateways),
            })  # fmt: skip
            machine = f"{platform.machine()}-linux-gnu"
            libraries = f"{UNPACKED}/usr/lib/{machine}:{UNPACKED}/lib/{machine}"
            self.child = subprocess.Popen(
                [UNPACKED / "usr/sbin/nginx", "-e", folder / "error.log", "-c", configuration],
                env={"LD_LIBRARY_PATH": libraries, "NGINX": f"{listener.fileno()};"},
                pass_fds=[listener.fileno()], stdin=subprocess.DEVNULL,
            )  # fmt: skip
        until("nginx runs", lambda: (folder / "nginx.pid").exists() or self.child.poll() is not None, 30)
        assert self.child.poll() is None, (folder / "error.log").read_text()

    def stop(self):
        self.child.terminate()
        self.child.wait(30)

    def cut(self):
        """Breaks every open connection off; new ones are taken as before."""
        children = pathlib.Path(f"/proc/{self.child.pid}/task/{self.child.pid}/children")
        [worker] = children.read_text().split()
        os.kill(int(worker), signal.SIGTERM)
        until("another one takes its place", lambda: children.read_text().split() not in ([], [worker]), 30)

    def served(self):
        """(method, path, status, gateway) of each request that a gateway answered."""
        lines = (self.folder / "access.log").read_text().splitlines()
        found = [re.fullmatch(r"(\S+) (.*) (\d{3}) (\S+)", line) for line in lines]
        return [(one[1], one[2], int(one[3]), one[4]) for one in found if one and one[4] != "-"]
