"""Dockerfile, compose.yaml and the systemd unit, as far as they can be tried without an engine.

`make image` builds and starts the image where there is one.
"""

import json
import os
import re
import shutil

import pytest
import yaml
from chart import BINARY, ROOT, program, run

DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
UNIT = (ROOT / "deploy/antigravity-proxy.service").read_text()
REFERENCE = (ROOT / "docs/configuration.md").read_text()
# Seconds that streams may take by default when the gateway is told to end.
GRACE = int(re.search(r"`shutdownGraceMs` \| – \| `(\d+)`", REFERENCE)[1]) / 1000


def instructions(text):
    """(instruction, rest) of each, lines joined, per stage."""
    stages = [[]]
    text = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE)
    for line in re.sub(r"\\\n\s*", " ", text).splitlines():
        if not line.strip():
            continue
        word, rest = line.split(maxsplit=1)
        if word == "FROM":
            stages.append([])
        stages[-1].append((word, rest))
    return stages


ARGS, BUILD, FINAL = instructions(DOCKERFILE)


def context():
    """What .dockerignore lets in."""
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*" and all(line.startswith("!") for line in lines[1:])
    return [line[1:] for line in lines[1:]]


def only(stage, instruction):
    found = [rest for word, rest in stage if word == instruction]
    assert len(found) == 1, f"{len(found)} of {instruction}"
    return found[0]


def known(name):
    """Whether the program has this setting, by its generated manual."""
    return f"`{name.removesuffix('_FILE')}`" in REFERENCE or name in {"CONFIG_FILE"}


def test_hadolint_is_content():
    linted = run([program("hadolint"), ROOT / "Dockerfile"])
    assert linted.returncode == 0 and not linted.stdout, linted.stdout


def test_the_image_runs_the_program_and_nothing_else():
    assert only(FINAL, "USER") == "65532:65532", "numeric, so that runAsNonRoot can be verified"
    assert json.loads(only(FINAL, "ENTRYPOINT")) == ["antigravity-proxy"]
    assert json.loads(only(FINAL, "HEALTHCHECK").split("CMD ")[1]) == ["antigravity-proxy", "healthcheck"]
    assert only(FINAL, "FROM").endswith(":nonroot") and "distroless/cc-debian" in only(FINAL, "FROM")
    assert not [rest for word, rest in FINAL if word == "RUN"], "there is no shell to run it"
    labels = only(FINAL, "LABEL")
    for name in ("title", "description", "licenses", "version", "revision", "created"):
        assert f"org.opencontainers.image.{name}=" in labels
    for name in re.findall(r"(\w+)=", only(FINAL, "ENV")):
        assert known(name), name


def test_base_and_builder_have_the_same_libraries():
    defaults = dict(rest.split("=") for word, rest in ARGS if word == "ARG")
    assert {"bookworm": "12", "trixie": "13"}[defaults["DEBIAN"]] == defaults["DEBIAN_NUMBER"]
    least = re.search(r'^rust-version = "(.+)"$', (ROOT / "Cargo.toml").read_text(), re.MULTILINE)[1]
    assert [int(part) for part in defaults["RUST_VERSION"].split(".")] >= [int(part) for part in least.split(".")]


def test_dependencies_are_a_layer_of_their_own():
    steps = [(word, rest) for word, rest in BUILD if word in ("COPY", "RUN")]
    order = [rest for _, rest in steps]
    dependencies = order.index("scripts/image-build.sh dependencies")
    program_step = order.index("scripts/image-build.sh program /out")
    copied_before = {file for word, rest in steps[:dependencies] if word == "COPY" for file in rest.split()[:-1]}
    assert copied_before == {"Cargo.toml", "Cargo.lock", "scripts/image-build.sh"}
    copied = {file for word, rest in steps[:program_step] if word == "COPY" for file in rest.split()[:-1]}
    assert copied == set(context()), "what is copied and what .dockerignore lets in"
    assert not [rest for rest in order if "cargo " in rest], "Cargo is called by the script alone"


@pytest.mark.parametrize("step", ["dependencies", "program"])
def test_the_builds_steps_work_in_its_context(step, tmp_path):
    """The same script, checked instead of built: in a directory that has only what the image's build has."""
    for name in context() if step == "program" else ["Cargo.toml", "Cargo.lock"]:
        source, target = ROOT / name, tmp_path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target)
        else:
            shutil.copy(source, target)
    # The dependencies are those that the documentation's build has checked already.
    target = {"CARGO_STEP": "check --quiet", "CARGO_TARGET_DIR": str(ROOT / "target")}
    built = run([ROOT / "scripts/image-build.sh", step], cwd=tmp_path, env=os.environ | target, timeout=600)
    assert built.returncode == 0, built.stderr


def test_compose_publishes_on_this_machine_only():
    proxy, redis = COMPOSE["services"]["proxy"], COMPOSE["services"]["redis"]
    assert proxy["ports"] == ["127.0.0.1:8080:8080"] and "ports" not in redis
    assert proxy["read_only"] is True and proxy["cap_drop"] == ["ALL"]
    assert redis["command"][redis["command"].index("--maxmemory-policy") + 1] == "noeviction"
    assert redis["command"][redis["command"].index("--appendonly") + 1] == "yes"
    assert all(known(name) for name in proxy["environment"])
    minutes = re.fullmatch(r"(\d+)m", proxy["stop_grace_period"])[1]
    assert int(minutes) * 60 >= GRACE + 10, "it is not killed while streams may still finish"
    # The soft limit that engines give is 1024 in places; a stream takes two.
    assert proxy["ulimits"]["nofile"] == {"soft": 65536, "hard": 65536}
    assert proxy["environment"]["ENCRYPTION_KEYS"].startswith("${ENCRYPTION_KEYS:?")


def test_the_binary_takes_composes_environment(tmp_path):
    given = {"ENCRYPTION_KEYS": "A" * 43 + "="}
    env = {"HOME": str(tmp_path), "DATA_DIR": str(tmp_path / "data")}
    for name, value in COMPOSE["services"]["proxy"]["environment"].items():
        reference = re.fullmatch(r"\$\{(\w+):[-?](.*)\}", value)
        fallback = reference and ("" if ":?" in value else reference[2])
        env[name] = given.get(reference[1], fallback) if reference else value
    checked = run([BINARY, "config", "check"], env=env, cwd=tmp_path)
    assert checked.returncode == 0, checked.stderr
    assert re.search(r"^allowInsecureConsole +true", checked.stdout, re.MULTILINE), checked.stdout


def test_the_unit_is_hardened_and_lets_streams_finish():
    settings = dict(line.split("=", 1) for line in UNIT.splitlines() if re.match(r"[A-Z]\w+=", line))
    for name in ("NoNewPrivileges", "ProtectHome", "PrivateDevices", "MemoryDenyWriteExecute", "DynamicUser"):
        assert settings[name] == "yes"
    assert settings["ProtectSystem"] == "strict" and settings["CapabilityBoundingSet"] == ""
    assert int(settings["TimeoutStopSec"]) >= GRACE + 10
    name, value = settings["Environment"].split("=")
    assert known(name) and value == f"/var/lib/{settings['StateDirectory']}"


@pytest.mark.skipif(program("systemd-analyze") is None, reason="no systemd-analyze here")
def test_systemd_reads_the_unit(tmp_path):
    unit = tmp_path / "antigravity-proxy.service"
    unit.write_text(UNIT.replace("/usr/local/bin/antigravity-proxy", "/bin/true"))
    verified = run([program("systemd-analyze"), "verify", unit])
    # It speaks of other units of the system, too.
    assert verified.returncode == 0 and "antigravity-proxy" not in verified.stderr, verified.stderr
