"""The real Claude Code CLI through the built gateway: tools, long sessions, aliases, /context."""

import json
import subprocess

import pytest

from conftest import CLAUDE, GEMINI, MODULES, clean_environment

CLI = MODULES / ".bin" / "claude"


class Workspace:
    """An empty home and project: nothing configures the client but the two variables of the README."""

    def __init__(self, folder, gateway):
        self.home = folder / "home"
        self.project = folder / "project"
        self.home.mkdir()
        self.project.mkdir()
        self.environment = clean_environment(
            HOME=str(self.home),
            ANTHROPIC_BASE_URL=gateway.url,
            ANTHROPIC_AUTH_TOKEN="test-key",
            DISABLE_AUTOUPDATER="1",
        )
        # The CLI asks this before it runs without a sandbox as root, as in a container.
        self.environment["IS_SANDBOX"] = "1"

    def claude(self, *args, input=None, timeout=150):
        done = subprocess.run(
            [str(CLI), *args],
            cwd=self.project,
            env=self.environment,
            input=input,
            stdin=subprocess.DEVNULL if input is None else None,
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture
def workspace(tmp_path, gateway):
    assert CLI.exists(), "run `make install-deps` first"
    return Workspace(tmp_path, gateway)


def events(output):
    return [json.loads(line) for line in output.splitlines() if line.startswith("{")]


def tool_calls(output):
    return [
        block
        for event in events(output)
        if event["type"] == "assistant"
        for block in event["message"]["content"]
        if block["type"] == "tool_use"
    ]


def test_it_runs_a_tool_and_answers_from_its_output(workspace):
    answer = workspace.claude("-p", "Use the Bash tool to run `echo forty-$((40+2))`", "--allowedTools", "Bash")
    assert "forty-42" in answer


@pytest.mark.parametrize("model", [CLAUDE, GEMINI])
def test_a_long_session_with_tools(workspace, model, simulator):
    """Eleven turns, six of them with a tool call, continued turn by turn as a person would."""
    calls = 0
    for turn in range(11):
        prompt = f"Use the Bash tool to run `echo turn-{turn}`" if turn % 2 == 0 else f"Say hello, turn {turn}"
        flags = ["--continue"] if turn else []
        output = workspace.claude(
            "-p", prompt, "--model", model, "--allowedTools", "Bash",
            "--output-format", "stream-json", "--verbose", *flags,
        )  # fmt: skip
        made = tool_calls(output)
        calls += len(made)
        result = events(output)[-1]
        assert result["type"] == "result" and result["subtype"] == "success" and not result["is_error"], result
        if turn % 2 == 0:
            assert [call["name"] for call in made] == ["Bash"]
            assert f"turn-{turn}" in result["result"]
    assert calls >= 5
    assert simulator.get("/sim/refusals") == []


@pytest.mark.parametrize("flags", [[], ["--model", "opus"], ["--model", "sonnet"], ["--model", "haiku"]])
def test_an_unconfigured_client_works_with_every_alias(workspace, flags):
    output = workspace.claude("-p", "Say hello", "--output-format", "json", *flags)
    result = json.loads(output)
    result = result[-1] if isinstance(result, list) else result
    assert result["subtype"] == "success" and not result["is_error"] and result["result"]


def test_context_counts_tokens_without_spending_quota(workspace, simulator):
    simulator.post("/sim/reset-recorder")
    assert "token" in workspace.claude("-p", "/context").lower()
    generated = [call for call in simulator.get("/sim/requests") if "enerateContent" in call["path"]]
    assert generated == []
