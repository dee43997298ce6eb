"""The real Claude Code CLI through the built gateway: tools, long sessions, aliases, /context."""

import base64
import json
import subprocess

import pytest

from programs import CLAUDE, GEMINI, MODULES, PLAIN, clean_environment

CLI = MODULES / ".bin" / "claude"
# What a turn of the long sessions asks for; a session has eleven of them, six with a tool call.
TURNS = [f"Use the Bash tool to run `echo turn-{n}`" if n % 2 == 0 else f"Say hello, turn {n}" for n in range(11)]
STREAM_JSON = ["--output-format", "stream-json", "--verbose"]


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
            # Without it the CLI does not take --allowedTools as root, as in a container.
            IS_SANDBOX="1",
        )

    def claude(self, *args, input=None, timeout=150):
        """What the CLI prints; one that takes longer is ended."""
        done = subprocess.run(
            [str(CLI), *args],
            cwd=self.project,
            env=self.environment,
            input=input or "",
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
        for event in output
        if event["type"] == "assistant"
        for block in event["message"]["content"]
        if block["type"] == "tool_use"
    ]


def check_turn(turn, output):
    """The events of one turn: its tool was called once, and its output is in the answer."""
    result = output[-1]
    assert result["type"] == "result" and result["subtype"] == "success" and not result["is_error"], result
    if turn % 2 == 0:
        assert [call["name"] for call in tool_calls(output)] == ["Bash"]
        assert f"turn-{turn}" in result["result"]
    else:
        assert tool_calls(output) == [] and f"turn {turn}" in result["result"]


def generated(simulator, after):
    """Which models were asked since request `after`."""
    calls = simulator.requests(after=after)
    return [call["body"]["model"] for call in calls if "generatecontent" in call["path"].lower()]


def whole_conversation(simulator, after):
    """The texts and calls of the longest conversation that went upstream."""
    longest = max(simulator.requests("GenerateContent", after), key=lambda call: call["body_bytes"])
    return json.dumps(longest["body"]["request"]["contents"])


def test_it_runs_a_tool_and_answers_from_its_output(workspace):
    answer = workspace.claude("-p", "Use the Bash tool to run `echo forty-$((40+2))`", "--allowedTools", "Bash")
    assert "forty-42" in answer


@pytest.mark.parametrize("model", [CLAUDE, GEMINI])
def test_a_session_continued_turn_by_turn(workspace, model, simulator):
    before = simulator.last_request()
    for turn, prompt in enumerate(TURNS):
        flags = ["--continue"] if turn else []
        output = workspace.claude("-p", prompt, "--model", model, "--allowedTools", "Bash", *STREAM_JSON, *flags)
        check_turn(turn, events(output))
    conversation = whole_conversation(simulator, before)
    assert all(f"turn-{turn}" in conversation for turn in range(0, 11, 2))
    assert model in generated(simulator, before)


def signatures(call):
    """The signatures in a request's conversation, without the placeholder for calls whose own is not known."""
    parts = [part for turn in call["body"]["request"]["contents"] for part in turn["parts"]]
    found = {part["thoughtSignature"] for part in parts if "thoughtSignature" in part}
    return found - {"skip_thought_signature_validator"}


@pytest.mark.parametrize("models", [[CLAUDE, GEMINI, CLAUDE], [GEMINI, CLAUDE, GEMINI]], ids="-".join)
def test_the_model_changes_between_turns(workspace, models, simulator):
    """The tool results of one model are read by the next, and nothing a model signed is missing when it comes back."""
    asked = []
    for turn, model in enumerate(models):
        before = simulator.last_request()
        prompt = f"Use the Bash tool to run `echo turn-{2 * turn}`"
        flags = ["--continue"] if turn else []
        output = workspace.claude("-p", prompt, "--model", model, "--allowedTools", "Bash", *STREAM_JSON, *flags)
        check_turn(2 * turn, events(output))
        calls = simulator.requests("GenerateContent", before)
        # The client may ask another model for a title meanwhile; a loop asks with its tools.
        asked.append([one for one in calls if one["body"]["model"] == model and "tools" in one["body"]["request"]])
        assert len(asked[-1]) >= 2, "a call and an answer from its result"
        conversation = json.dumps(asked[-1][-1]["body"]["request"]["contents"])
        assert all(f"turn-{2 * earlier}" in conversation for earlier in range(turn + 1))
    first = signatures(asked[0][-1])
    assert first, "the first model signed what it said"
    assert signatures(asked[1][0]).isdisjoint(first), "no model is shown another one's signatures"
    assert all(first <= signatures(call) for call in asked[2])


@pytest.mark.parametrize("model", [CLAUDE, GEMINI])
def test_a_session_in_one_process(workspace, model, simulator):
    before = simulator.last_request()
    process = subprocess.Popen(
        [str(CLI), "-p", "--input-format", "stream-json", *STREAM_JSON, "--model", model, "--allowedTools", "Bash"],
        cwd=workspace.project,
        env=workspace.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        for turn, prompt in enumerate(TURNS):
            message = {"type": "user", "message": {"role": "user", "content": prompt}}
            process.stdin.write(json.dumps(message) + "\n")
            process.stdin.flush()
            output = []
            for line in process.stdout:
                output.append(json.loads(line))
                if output[-1]["type"] == "result":
                    break
            check_turn(turn, output)
        process.stdin.close()
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    conversation = whole_conversation(simulator, before)
    assert all(f"turn-{turn}" in conversation for turn in range(0, 11, 2))
    assert model in generated(simulator, before)


@pytest.mark.parametrize("model", [CLAUDE, GEMINI])
def test_many_tools_in_one_turn(workspace, model):
    flags = ["--model", model, "--allowedTools", "Bash", *STREAM_JSON]
    for order in ["one after another", "in parallel"]:
        output = events(workspace.claude("-p", f"call 4 tools {order}", *flags))
        assert [call["input"]["command"] for call in tool_calls(output)] == [f"echo step {n}" for n in range(1, 5)]
        assert all(f"step {n}" in output[-1]["result"] for n in range(1, 5))


@pytest.mark.parametrize("model", [CLAUDE, GEMINI])
def test_a_failing_tool_and_a_picture(workspace, model, picture):
    answer = workspace.claude("-p", "run `ls /nowhere-at-all`", "--model", model, "--allowedTools", "Bash")
    assert "No such file" in answer
    file = workspace.project / "picture.png"
    file.write_bytes(base64.b64decode(picture))
    prompt = "tool:Read " + json.dumps({"file_path": str(file)})
    answer = workspace.claude("-p", prompt, "--model", model, "--allowedTools", "Read")
    assert "image/png" in answer


@pytest.mark.parametrize(
    ("flags", "model"),
    [
        # Which one it takes by default is the client's affair.
        ([], None),
        (["--model", "opus"], CLAUDE),
        (["--model", "sonnet"], PLAIN),
        (["--model", "haiku"], GEMINI),
    ],
)
def test_an_unconfigured_client_works_with_every_alias(workspace, simulator, flags, model):
    before = simulator.last_request()
    result = json.loads(workspace.claude("-p", "Say hello", "--output-format", "json", *flags))
    result = result[-1] if isinstance(result, list) else result
    assert result["subtype"] == "success" and not result["is_error"] and "Say hello" in result["result"]
    asked = generated(simulator, before)
    assert model in asked if model else asked


def test_context_counts_tokens_without_spending_quota(workspace, simulator):
    before = simulator.last_request()
    assert "token" in workspace.claude("-p", "/context").lower()
    assert generated(simulator, before) == []
