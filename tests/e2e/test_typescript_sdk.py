"""Runs sdk.test.mjs: the official TypeScript client against the built gateway."""

import shutil
import subprocess

from programs import MODULES, ROOT, clean_environment


def test_typescript_sdk(gateway, simulator):
    assert MODULES.is_dir(), "run `make install-deps` first"
    environment = clean_environment(GATEWAY_URL=gateway.url, SIMULATOR_URL=simulator.url)
    command = [shutil.which("node"), "--test", "--test-concurrency=1", "sdk.test.mjs"]
    done = subprocess.run(
        command, cwd=ROOT / "tests" / "e2e", env=environment, capture_output=True, text=True, timeout=180
    )
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
