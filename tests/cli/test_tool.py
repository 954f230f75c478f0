"""``llmctl tool`` on the command line, and tools that models call."""

from __future__ import annotations

import json
import os
import sqlite3
import stat
import sys
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.openai_server import FakeServer, Reply
from tests.harness import LLMCTL, Llmctl, query, run_on_terminal

PYTHON_TOOL = '''
def weather(city: str, days: int = 1, tags: list[str] | None = None) -> dict:
    """Tell the weather.

    city: Name of a town
    """
    print("asking for", city)
    if city == "nowhere":
        raise ValueError("no such town")
    if city == "end":
        from llmctl.core.tools import Halt
        raise Halt("that is all")
    return {"city": city, "days": days}
'''


def runs(env: Mapping[str, str], *columns: str) -> list[tuple[Any, ...]]:
    return query(env, f"SELECT {', '.join(columns or ('name', 'status'))} FROM tool_invocations ORDER BY rowid")


def ask(llmctl: Llmctl, calls: str, *more: str, **how: Any) -> Any:
    return llmctl("chat", "-m", "echo", "-o", f"tool={calls}", *more, "hi", **how)


# --- adding, showing, changing ------------------------------------------------------------------------------------


def test_a_command_gets_its_arguments_as_words(llmctl: Llmctl) -> None:
    made = llmctl("tool", "add", "say", "--command", "printf %s|%s {first} {second}", "--json", check=True)
    found = json.loads(made.stdout)
    assert (found["type"], found["data"]["command"]) == ("command", ["printf", "%s|%s", "{first}", "{second}"])
    assert found["schema"]["required"] == ["first", "second"]
    done = llmctl("tool", "invoke", "say", "--arg", "first=a b; rm -rf $HOME", "--arg", "second=`id`")
    assert (done.returncode, done.stdout) == (0, "a b; rm -rf $HOME|`id`\n")


@pytest.mark.parametrize(
    ("flags", "stdout"),
    [
        (["--command", "cat"], '{"a":1,"b":"x y"}\n'),
        (["--command", "echo", "--arguments", "flags"], "--a=1 --b=x y\n"),
        (["--command", "echo {b} | tr x z; cat", "--shell"], 'z y\n{"a":1,"b":"x y"}\n'),
        (["--command", "cat", "--arguments", "none"], ""),
    ],
)
def test_how_a_command_gets_its_arguments(llmctl: Llmctl, flags: list[str], stdout: str) -> None:
    llmctl("tool", "add", "t", *flags, "--schema", '{"type":"object"}', check=True)
    assert llmctl("tool", "invoke", "t", "--args", '{"a":1,"b":"x y"}').stdout == stdout


def test_a_python_function_tells_its_own_schema(llmctl: Llmctl, env: Mapping[str, str], tmp_path: Path) -> None:
    (tmp_path / "w.py").write_text(PYTHON_TOOL)
    found = json.loads(llmctl("tool", "add", "--file", "w.py", "--json", check=True).stdout)
    assert (found["name"], found["type"], found["description"]) == ("weather", "python", "Tell the weather.")
    assert found["schema"] == {
        "type": "object",
        "properties": {
            "city": {"type": "string", "description": "Name of a town"},
            "days": {"type": "integer", "default": 1},
            "tags": {"type": "array", "items": {"type": "string"}},
        },
        "required": ["city"],
        "additionalProperties": False,
    }
    assert llmctl("tool", "invoke", "weather", "--arg", "city=Rome").stdout == '{"city":"Rome","days":1}\n'
    failed = llmctl("tool", "invoke", "weather", "--arg", "city=nowhere")
    assert (failed.returncode, failed.stdout) == (5, "")
    assert "ValueError: no such town" in failed.stderr
    done = llmctl("tool", "invocations", "--tool", "weather", "--json")
    log = json.loads(llmctl("tool", "invocations", json.loads(done.stdout)[1]["id"], "--json").stdout)["log"]
    assert log == "asking for Rome\n"


@pytest.mark.skipif(not os.path.exists("/usr/bin/node"), reason="node is not installed")
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("f.mjs", "export default async ({ who }) => { console.log('asked'); return `hello ${who}`; };"),
        ("f.cjs", "module.exports = ({ who }) => `hello ${who}`;"),
        ("f.js", "const a = JSON.parse(require('fs').readFileSync(0)); console.log('hello ' + a.who);"),
    ],
)
def test_a_javascript_file_is_a_function_or_a_script(llmctl: Llmctl, tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    made = json.loads(llmctl("tool", "add", "greet", "--file", name, "--json", check=True).stdout)
    assert made["type"] == "nextJsScript"
    assert llmctl("tool", "invoke", "greet", "--arg", "who=you").stdout == "hello you\n"


MCP_SERVER = """
import json, sys
for line in sys.stdin:
    message = json.loads(line)
    if "id" not in message:
        continue
    match message["method"]:
        case "initialize":
            result = {"protocolVersion": message["params"]["protocolVersion"], "capabilities": {"tools": {}},
                      "serverInfo": {"name": "fake", "version": "1"}}
        case "tools/list":
            schema = {"type": "object", "properties": {"a": {"type": "number"}}, "required": ["a"]}
            result = {"tools": [{"name": "double", "description": "Double it", "inputSchema": schema}]}
        case "tools/call":
            a = message["params"]["arguments"]["a"]
            text = str(2 * a) if a < 9 else "too large"
            result = {"content": [{"type": "text", "text": text}], "isError": a >= 9}
        case _:
            print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "error": {"code": -32601, "message": "no"}}))
            sys.stdout.flush()
            continue
    print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}), flush=True)
"""


def test_tools_of_an_mcp_server_are_listed_added_and_called(
    llmctl: Llmctl, env: Mapping[str, str], tmp_path: Path
) -> None:
    pytest.importorskip("mcp")
    (tmp_path / "server.py").write_text(MCP_SERVER)
    server = f"{sys.executable} {tmp_path}/server.py"
    made = json.loads(llmctl("tool", "add", "calc", "--mcp", server, "--json", check=True).stdout)
    assert (made["name"], made["type"], made["description"]) == ("calc_double", "mcp", "Double it")
    done = ask(llmctl, 'calc_double {"a": 4}\ncalc_double {"a": 9}', "-T", "calc_double:auto", "--json")
    calls = json.loads(done.stdout)["tool_calls"]
    assert [(call["status"], call["result"]) for call in calls] == [
        ("completed", "8"),
        ("failed", "Error executing tool 'calc_double': too large"),
    ]


def test_server_with_malformed_output_is_reported_in_one_line(llmctl: Llmctl) -> None:
    pytest.importorskip("mcp")
    done = llmctl("tool", "add", "x", "--mcp", "sh -c 'echo nonsense'")
    assert (done.returncode, len(done.stderr.splitlines())) == (6, 1), done.stderr


def test_server_that_does_not_start_is_reported(llmctl: Llmctl) -> None:
    pytest.importorskip("mcp")
    assert llmctl("tool", "add", "x", "--mcp", "no-such-program").returncode == 4
    done = llmctl("tool", "add", "x", "--mcp", "sh -c 'echo oh no >&2'")
    assert done.returncode == 6
    assert "oh no" in done.stderr


@pytest.mark.parametrize(
    ("flags", "code", "words"),
    [
        (["x"], 2, "the tool has no command, URL, file, module or server"),
        (["a b", "--command", "ls"], 2, "a tool name must be 1 to 64 letters"),
        (["x", "--command", "ls", "--schema", '{"type":"array"}'], 2, "the arguments of a tool must be an object"),
        (["x", "--command", "ls", "--schema", '{"type":"nonsense"}'], 2, "not a valid JSON Schema"),
        (["x", "--command", "{program} x"], 2, "the program name cannot contain an argument"),
        (["x", "--command", "ls", "--arguments", "mail"], 2, '"arguments" must be stdin, flags or none, got "mail"'),
        (["x", "--type", "nope"], 2, 'no type of tool "nope"'),
        (["x", "--type", "function"], 2, "a function cannot be stored in the hub"),
        (["x", "--url", "https://{host}/x"], 2, "the host of the URL must not be an argument"),
        (["x", "--builtin", "nope"], 2, 'no built-in tool "nope"'),
        (["x", "--builtin", "time", "--host", "a.b"], 2, "takes no hosts"),
        (["x", "--file", "no.mjs"], 3, "no file"),
        (["x", "--command", "curl -H sk-ant-REDACTED"], 2, "contain a key"),
        (["x", "--command", "ls", "--timeout", "0"], 2, '"timeout" must be 0.001 or more'),
    ],
)
def test_what_is_no_tool_is_said(llmctl: Llmctl, flags: list[str], code: int, words: str) -> None:
    flags = [flag.replace("REDACTED", "api03-" + "a1B2" * 20) for flag in flags]
    done = llmctl("tool", "add", *flags)
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert words in done.stderr


def test_list_show_edit_remove(llmctl: Llmctl) -> None:
    llmctl("tool", "add", "x", "--command", "ls", "--description", "List", check=True)
    assert llmctl("tool", "list").stdout == "x\tcommand\tList\n"
    assert llmctl("tool", "add", "x", "--command", "ls").returncode == 2
    llmctl("tool", "edit", "x", "--name", "y", "--timeout", "5", "--allow", "path=src/*", check=True)
    found = json.loads(llmctl("tool", "show", "y", "--json", check=True).stdout)
    assert (found["data"]["timeout"], found["data"]["command"]) == (5, ["ls"])
    assert [(rule["effect"], rule["arguments_rule"]) for rule in found["rules"]] == [
        ("allow", {"glob": {"path": "src/*"}})
    ]
    llmctl("tool", "edit", "y", "--forget", "--data", '{"timeout": null}', check=True)
    found = json.loads(llmctl("tool", "show", "y", "--json", check=True).stdout)
    assert (found["rules"], found["data"]) == ([], {"command": ["ls"]})
    llmctl("tool", "remove", "y", check=True)
    assert llmctl("tool", "show", "y").returncode == 3


# --- invoking -----------------------------------------------------------------------------------------------------


def test_invoke_says_how_it_went(llmctl: Llmctl, env: Mapping[str, str]) -> None:
    llmctl("tool", "add", "sleep", "--command", "sleep {s}", check=True)
    llmctl("tool", "add", "fail", "--command", "sh -c 'echo out; echo oh no >&2; exit 3'", check=True)
    llmctl("tool", "add", "gone", "--command", "no-such-program", check=True)
    codes = [
        llmctl("tool", "invoke", *words).returncode
        for words in (
            ["time", "--arg", "zone=Europe/Rome"],
            ["time", "--arg", "zone=Nowhere"],
            ["time", "--arg", "z=1"],
            ["time", "--args", "[1]"],
            ["time", "--args", "{"],
            ["nope"],
            ["sleep", "--arg", "s=30", "--timeout", "0.1"],
            ["fail"],
            ["gone"],
        )
    ]
    assert codes == [0, 3, 11, 11, 2, 3, 6, 5, 3]
    found = runs(env, "name", "status", "exit_status", "error")
    assert found[0] == ("time", "completed", None, None)
    assert found[-3:] == [
        ("sleep", "failed", None, "no result within 0.1 s"),
        ("fail", "failed", 3, "exit status 3: oh no"),
        ("gone", "failed", None, 'no program "no-such-program"'),
    ]
    assert not query(env, "SELECT 1 FROM jobs WHERE status = 'running'")


def test_invoke_with_json_gives_the_row_however_it_went(llmctl: Llmctl) -> None:
    done = llmctl("tool", "invoke", "time", "--arg", "z=1", "--json")
    assert done.returncode == 11
    assert json.loads(done.stdout)["status"] == "failed"
    assert json.loads(done.stderr)["error"]["code"] == "invalid-output"


def test_hub_rule_applies_to_manual_invocations(llmctl: Llmctl, env: Mapping[str, str]) -> None:
    llmctl("tool", "edit", "list_files", "--deny", "path=/etc*", check=True)
    done = llmctl("tool", "invoke", "list_files", "--arg", "path=/etc/ssl")
    assert (done.returncode, done.stdout) == (10, "")
    assert llmctl("tool", "invoke", "list_files", "--arg", "path=.").returncode == 0
    assert [status for _, status in runs(env)] == ["denied", "completed"]


# --- in a chat ----------------------------------------------------------------------------------------------------


def test_tools_are_sent_to_the_model_and_called(llmctl: Llmctl, env: Mapping[str, str]) -> None:
    llmctl("tool", "add", "say", "--command", "echo {word}", check=True)
    done = ask(llmctl, 'say {"word": "one"}', "-T", "say:auto")
    assert (done.returncode, done.stdout, done.stderr) == (0, "hi\n", "llmctl: tool say: completed\n")
    bodies = [json.loads(body) for (body,) in query(env, "SELECT body FROM network_calls ORDER BY rowid")]
    assert bodies[0]["tools"][0]["function"]["name"] == "say"
    assert bodies[1]["messages"][-1] == {"role": "tool", "tool_call_id": "call_echo_1", "content": "one"}
    row = runs(env, "status", "result", "arguments", "duration > 0", "exit_status", "json_extract(decision, '$.by')")
    assert row == [("completed", "one", '{"word": "one"}', 1, 0, "permission")]
    assert query(env, "SELECT text FROM text_logs") == [("one\n",)]
    parameters = query(env, "SELECT json_extract(parameters, '$.tools') FROM requests")
    assert parameters == [('["say"]',), ('["say"]',)]


def test_what_a_tool_gave_is_found(llmctl: Llmctl) -> None:
    llmctl("tool", "add", "say", "--command", "echo kiwi and {fruit}", check=True)
    ask(llmctl, 'say {"fruit":"passion fruit"}', "-T", "say:automatic", "--name", "x", check=True)
    found = json.loads(llmctl("chats", "search", "passion fruit", "--role", "tool", "--json", check=True).stdout)
    assert [(row["chat"], row["snippet"]) for row in found] == [("x", "kiwi and passion fruit")]
    assert llmctl("chats", "show", "x", "--all", check=True).stdout.count("kiwi") == 1
    assert llmctl("export", "--chat", "x", "--format", "markdown", check=True).stdout.count("kiwi") == 1


def test_failures_are_rows_and_words_for_the_model(llmctl: Llmctl, env: Mapping[str, str]) -> None:
    llmctl("tool", "add", "crash", "--command", "sh -c 'kill -9 $$'", check=True)
    llmctl("tool", "add", "slow", "--command", "sleep 30", "--timeout", "0.2", check=True)
    calls = 'time {bad\ntime {"zone": 7}\nnope {}\nlist_files {}\ncrash {}\nslow {}\ntime'
    tools = ("-T", "time:auto", "-T", "list_files:deny", "-T", "crash:auto", "-T", "slow:auto")
    done = ask(llmctl, calls, *tools, "--json")
    assert done.returncode == 0
    found = [(call["status"], call["result"]) for call in json.loads(done.stdout)["tool_calls"]]
    assert found[:6] == [
        ("failed", "Invalid tool arguments: not a JSON object"),
        ("failed", 'Invalid tool arguments: /zone: 7 is not of type "string"'),
        ("failed", "Model tried to call unavailable tool 'nope'. Available tools: [time, crash, slow]."),
        ("denied", "This action is not permitted."),
        ("failed", "Error executing tool 'crash': exit status 137"),
        ("failed", "Error executing tool 'slow': no result within 0.2 s"),
    ]
    assert found[6][0] == "completed"
    assert [status for _, status in runs(env)] == [status for status, _ in found]


def test_an_id_that_comes_twice_is_two_rows(llmctl: Llmctl, env: Mapping[str, str]) -> None:
    ask(llmctl, "time\ntime\n\ntime", "-T", "time:auto", check=True)
    assert [step for (step,) in runs(env, "step")] == [1, 1, 2]
    assert query(env, "SELECT role, status FROM messages ORDER BY seq")[-1] == ("assistant", "completed")


def test_thinking_before_a_call_is_its_thought(llmctl: Llmctl, env: Mapping[str, str]) -> None:
    ask(llmctl, "time\ntime", "-T", "time:auto", "-o", "thinking=what time is it", check=True)
    assert query(env, "SELECT thought FROM tool_invocations ORDER BY rowid") == [("what time is it",), (None,)]


def test_a_pipe_gets_the_last_step_alone(llmctl: Llmctl) -> None:
    done = ask(llmctl, "time", "-o", "reply=step", "-T", "time:auto")
    assert done.stdout == "step\n"
    lines = [json.loads(line) for line in ask(llmctl, "time", "-T", "time:auto", "--jsonl").stdout.splitlines()]
    kinds = [line["type"] for line in lines]
    assert kinds == ["start", "tool_call", "tool_result", "start", "text", "done"]


def test_a_chat_keeps_its_tools(llmctl: Llmctl, env: Mapping[str, str]) -> None:
    ask(llmctl, "", "--name", "x", "-T", "time:auto", check=True)
    done = llmctl("chat", "--name", "x", "-o", "tool=time", "again", "--json")
    assert json.loads(done.stdout)["tool_calls"][0]["status"] == "completed"
    done = llmctl("chat", "--name", "x", "-o", "tool=time", "-T", "time:deny", "again", "--json")
    assert json.loads(done.stdout)["tool_calls"][0]["status"] == "denied"


def test_no_log_stores_no_tool_text(llmctl: Llmctl, env: Mapping[str, str]) -> None:
    done = ask(llmctl, "time", "-n", "-T", "time:auto", "--json")
    assert json.loads(done.stdout)["tool_calls"][0]["status"] == "completed"
    assert runs(env) == []
    waiting = ask(llmctl, "time", "-n", "-T", "time")
    assert waiting.returncode == 8
    assert "--approve time" in waiting.stderr


@pytest.mark.parametrize("data", [{"halt": True}, {}])
def test_a_tool_may_give_the_final_answer_where_it_is_allowed(
    llmctl: Llmctl, env: Mapping[str, str], data: dict[str, bool]
) -> None:
    envelope = json.dumps({"halt": True, "content": "that is all"})
    flags = ("--command", f"echo '{envelope}'", "--data", json.dumps(data))
    llmctl("tool", "add", "end", *flags, check=True)
    done = ask(llmctl, "end", "-T", "end:auto", "--json")
    found = json.loads(done.stdout)
    assert (found["content"], found["steps"]) == (("that is all", 1) if data else ("hi", 2))
    last = query(env, "SELECT content, chat_id IS NOT NULL FROM messages ORDER BY seq DESC LIMIT 1")
    assert last == [(found["content"], 1)]


def test_halt_of_a_python_tool_ends_the_run(llmctl: Llmctl, tmp_path: Path) -> None:
    (tmp_path / "w.py").write_text(PYTHON_TOOL)
    llmctl("tool", "add", "--file", "w.py", check=True)
    done = ask(llmctl, 'weather {"city": "end"}', "-T", "weather:auto")
    assert done.stdout == "that is all\n"


# --- permissions --------------------------------------------------------------------------------------------------


def test_final_answer_of_a_tool_counts_though_another_call_waited(llmctl: Llmctl, env: Mapping[str, str]) -> None:
    last = """echo '{"halt": true, "content": "the last word"}'"""
    llmctl("tool", "add", "last", "--command", last, "--halt", check=True)
    assert ask(llmctl, "last\ntime", "-T", "last:auto", "-T", "time").returncode == 8
    (waiting,) = query(env, "SELECT id FROM tool_invocations WHERE status = 'pending'")
    done = llmctl("tool", "approve", waiting[0], "--continue")
    assert (done.returncode, done.stdout) == (0, "the last word\n")
    assert len(query(env, "SELECT 1 FROM requests")) == 1


def test_final_answer_of_a_tool_is_emitted_after_a_crash(llmctl: Llmctl, env: Mapping[str, str]) -> None:
    last = """echo '{"halt": true, "content": "the last word"}'"""
    llmctl("tool", "add", "last", "--command", last, "--halt", check=True)
    assert ask(llmctl, "last", "-T", "last:auto").stdout == "the last word\n"
    with closing(sqlite3.connect(env["LLMCTL_DB"])) as hub:  # as kill -9 between the two commits leaves it
        hub.execute("DELETE FROM messages WHERE role = 'assistant' AND chat_id IS NOT NULL")
        hub.commit()
    assert llmctl("chat", "--chat", "last").stdout == "the last word\n"
    assert len(query(env, "SELECT 1 FROM requests")) == 1


def test_no_terminal_for_approval_is_exit_8_with_the_command_to_paste(llmctl: Llmctl, env: Mapping[str, str]) -> None:
    done = ask(llmctl, 'time {"zone": "Europe/Rome"}', "-T", "time")
    assert (done.returncode, done.stdout) == (8, "")
    command = done.stderr.splitlines()[-1].removeprefix("hint: ")
    assert command.startswith("llmctl tool approve ")
    waiting = json.loads(llmctl("tool", "pending", "--json").stdout)
    assert [(row["name"], row["arguments"]) for row in waiting] == [("time", {"zone": "Europe/Rome"})]
    went_on = llmctl(*command.split()[1:])
    assert (went_on.returncode, went_on.stdout) == (0, "hi\n")
    assert runs(env) == [("time", "completed")]
    assert llmctl("tool", "pending").stdout == ""


def test_calls_that_may_run_do_so_while_another_waits(llmctl: Llmctl, env: Mapping[str, str]) -> None:
    done = ask(llmctl, "list_files\ntime", "-T", "list_files", "-T", "time:auto", "--jsonl")
    assert done.returncode == 8
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["type"] for line in lines] == ["start", *["tool_call"] * 2, "tool_result", "pending", "error"]
    assert runs(env) == [("list_files", "pending"), ("time", "completed")]
    invocation_id = lines[-2]["invocation_id"]
    done = llmctl("tool", "deny", invocation_id, "--because", "not today", "-c", "--json")
    assert done.returncode == 0
    thread = query(env, "SELECT role, content FROM messages ORDER BY seq")
    assert [role for role, _ in thread] == ["user", "assistant", "tool", "tool", "assistant"]
    assert (thread[1][1], thread[2][1], thread[4][1]) == ("", "Action cancelled by user. not today", "hi")


def test_a_decision_is_made_once(llmctl: Llmctl) -> None:
    ask(llmctl, "time", "-T", "time", "--name", "x")
    invocation_id = llmctl("tool", "pending", "--columns", "id").stdout.strip()
    assert llmctl("tool", "approve", invocation_id[:8]).returncode == 0
    again = llmctl("tool", "deny", invocation_id[:8])
    assert again.returncode == 2
    assert "is already approved" in again.stderr
    assert llmctl("chat", "--chat", "x").stdout == "hi\n"
    assert "is already " in llmctl("tool", "approve", invocation_id[:8]).stderr


def test_what_was_approved_is_what_runs(llmctl: Llmctl, env: Mapping[str, str]) -> None:
    llmctl("tool", "add", "say", "--command", "echo {word}", check=True)
    ask(llmctl, 'say {"word": "one"}', "-T", "say", "--name", "x")
    invocation_id = llmctl("tool", "pending", "--columns", "id").stdout.strip()
    llmctl("tool", "approve", invocation_id, check=True)
    llmctl("tool", "edit", "say", "--command", "touch {word}", check=True)
    assert llmctl("chat", "--chat", "x").returncode == 8
    assert runs(env) == [("say", "pending")]


def test_what_waits_too_long_is_denied(llmctl: Llmctl, env: Mapping[str, str]) -> None:
    ask(llmctl, "time", "-T", "time", "--name", "x")
    llmctl("settings", "set", "pending.expiry", "0", check=True)
    assert llmctl("tool", "pending").stdout == ""
    assert llmctl("chat", "--chat", "x").stdout == "hi\n"
    assert runs(env, "status", "result") == [("denied", "This action is not permitted. There was no decision in time.")]


def test_pending_call_is_cancelled_by_a_new_prompt(llmctl: Llmctl, env: Mapping[str, str]) -> None:
    ask(llmctl, "time", "-T", "time", "--name", "x")
    assert llmctl("chat", "--chat", "x", "-o", "tool=null", "never mind").stdout == "never mind\n"
    assert runs(env) == [("time", "cancelled")]


def test_approve_by_flag_never_overrides_denied(llmctl: Llmctl, env: Mapping[str, str]) -> None:
    ask(llmctl, "time", "-T", "time", "--approve", "time", check=True)
    ask(llmctl, "time", "-T", "time:denied", "--approve", "time", check=True)
    llmctl("tool", "edit", "time", "--deny", "*", check=True)
    ask(llmctl, "time", "-T", "time:auto", "--approve", "time", check=True)
    assert runs(env) == [("time", "completed"), ("time", "denied"), ("time", "denied")]


def test_a_rule_on_arguments_allows_what_it_names(llmctl: Llmctl, env: Mapping[str, str], tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.txt").write_text("text\n")
    llmctl("tool", "edit", "read_file", "--allow", "path=docs/*", check=True)
    ask(llmctl, 'read_file {"path": "docs/a.txt"}', "-T", "read_file", check=True)
    assert ask(llmctl, 'read_file {"path": "docs/../hub.db"}', "-T", "read_file").returncode == 8
    assert ask(llmctl, 'read_file {"path": "x"}', "-T", "read_file").returncode == 8
    assert runs(env, "status", "result")[0] == ("completed", "text\n")


def test_continuing_can_be_detached(llmctl: Llmctl, env: Mapping[str, str]) -> None:
    ask(llmctl, "time", "-T", "time")
    invocation_id = llmctl("tool", "pending", "--columns", "id").stdout.strip()
    done = llmctl("tool", "approve", invocation_id, "--continue", "--detach")
    assert done.returncode == 0, done.stderr
    assert llmctl("job", "wait", done.stdout.strip()).returncode == 0
    assert runs(env) == [("time", "completed")]


def test_denial_wins_over_a_later_approval(llmctl: Llmctl, env: Mapping[str, str], tmp_path: Path) -> None:
    def typed() -> bytes:
        llmctl("tool", "deny", llmctl("tool", "pending", "--columns", "id").stdout.strip(), check=True)
        return b"y\n"

    code, _ = at_terminal(env, tmp_path, typed)
    assert code == 0
    assert runs(env, "status", "started_at") == [("denied", None)]


def at_terminal(
    env: Mapping[str, str], folder: Path, *typed: bytes | Callable[[], bytes], calls: str = "time"
) -> tuple[int, str]:
    """Chat with a controlling terminal at which a person types, stdin a pipe; return the exit code and the screen."""
    command = [*LLMCTL, "chat", "-m", "echo", "-o", f"tool={calls}", "-T", "time"]
    answers = [("goes back:" if answer in (b"1\n", b"2\n") else "[q]uit:", answer) for answer in typed]
    return run_on_terminal(["bash", "-c", 'printf hi | "$@"', "_", *command], env, answers, folder)


@pytest.mark.parametrize(
    ("typed", "code", "statuses", "rules"),
    [
        ([b"y\n", b"n\n"], 0, ["completed", "denied"], []),
        ([b"what?\n", b"a\n", b"1\n"], 0, ["completed", "completed"], ["allow"]),
        ([b"v\n"], 0, ["denied", "denied"], ["deny"]),
        ([b"q\n"], 10, ["pending", "pending"], []),
        ([b"\x04"], 10, ["pending", "pending"], []),
    ],
    ids=["once", "always", "never", "quit", "gone"],
)
def test_the_person_at_the_terminal_is_asked(
    env: Mapping[str, str],
    tmp_path: Path,
    typed: list[bytes],
    code: int,
    statuses: list[str],
    rules: list[str],
) -> None:
    found, screen = at_terminal(env, tmp_path, *typed, calls="time\ntime {}")
    assert found == code, screen
    assert 'the model wants to run "time" (Tell the date and time.)\n  {}\n' in screen
    assert [status for _, status in runs(env)] == statuses
    assert query(env, "SELECT effect FROM permission_rules WHERE expires_at IS NOT NULL") == [(rule,) for rule in rules]


def test_prompt_shows_what_runs_and_asks_again_after_enter(
    llmctl: Llmctl, env: Mapping[str, str], tmp_path: Path
) -> None:
    llmctl("tool", "add", "say", "--command", "echo {x} | tr a b", "--shell", check=True)
    llmctl("tool", "add", "get", "--url", "http://127.0.0.1:1/{x}", check=True)
    command = [
        *LLMCTL,
        "chat",
        "-m",
        "echo",
        "-T",
        "say",
        "-T",
        "get",
        "-o",
        'tool=say {"x": "a; b"}\nget {"x": "/"}',
        "hi",
    ]
    back = "Always [1] for this chat or [2] everywhere? Enter goes back:"
    answers = [("[q]uit:", b"\n"), ("[q]uit:", b"a\n"), (back, b"\n"), ("[q]uit:", b"a\n"), (back, b"2\n")]
    answers.append(("[q]uit:", b"n\n"))
    code, screen = run_on_terminal(command, env, answers, tmp_path)
    assert code == 0, screen
    assert "  $ echo 'a; b' | tr a b\n" in screen
    assert "  $ GET http://127.0.0.1:1/%2F\n" in screen
    assert "ne[v]er for this chat" in screen
    assert [status for _, status in runs(env)] == ["completed", "denied"]
    assert query(env, "SELECT effect, chat_id FROM permission_rules") == [("allow", None)]


COUNT = ("tool", "add", "count", "--command", "wc -w {file}", "--schema", '{"type": "object", "required": ["file"]}')


def test_arguments_edited_at_the_prompt_are_checked_shown_again_and_recorded(
    llmctl: Llmctl, env: Mapping[str, str], tmp_path: Path
) -> None:
    llmctl(*COUNT, check=True)
    (tmp_path / "b.txt").write_text("one two three")
    command = [*LLMCTL, "chat", "-m", "echo", "-T", "count", "-o", 'tool=count {"file": "a.txt"}', "hi"]
    ask_again, inline = "[q]uit:", "Arguments as JSON (Enter keeps them):"
    answers = [(ask_again, b"e\n"), (inline, b'{"fil": 1}\n'), (ask_again, b"e\n"), (inline, b'{"file": "b.txt"}\n')]
    code, screen = run_on_terminal(command, env, [*answers, (ask_again, b"y\n")], tmp_path)
    assert code == 0, screen
    assert 'invalid arguments: "file" is a required property' in screen
    assert "  $ wc -w b.txt\n" in screen
    require_edited(env)


def test_arguments_are_edited_in_the_users_editor(llmctl: Llmctl, env: Mapping[str, str], tmp_path: Path) -> None:
    llmctl(*COUNT, check=True)
    (tmp_path / "b.txt").write_text("one two three")
    command = [*LLMCTL, "chat", "-m", "echo", "-T", "count", "-o", 'tool=count {"file": "a.txt"}', "hi"]
    answers = [("[q]uit:", b"e\n"), ("[q]uit:", b"y\n")]
    code, screen = run_on_terminal(command, {**env, "EDITOR": "sed -i s/a.txt/b.txt/"}, answers, tmp_path)
    assert code == 0, screen
    require_edited(env)


def test_approve_with_arguments_runs_these_and_keeps_those_of_the_model(
    llmctl: Llmctl, env: Mapping[str, str], tmp_path: Path
) -> None:
    llmctl(*COUNT, check=True)
    (tmp_path / "b.txt").write_text("one two three")
    assert ask(llmctl, 'count {"file": "a.txt"}', "-T", "count").returncode == 8
    id = llmctl("tool", "pending", "--columns", "id").stdout.strip()
    refused = llmctl("tool", "approve", id, "--args", '{"fil": 1}')
    assert (refused.returncode, runs(env)) == (11, [("count", "pending")])
    assert 'invalid arguments for "count": "file" is a required property' in refused.stderr
    assert llmctl("tool", "approve", id, id, "--args", "{}").returncode == 2
    assert llmctl("tool", "approve", id, "--continue", "--args", "-", input='{"file": "b.txt"}').returncode == 0
    require_edited(env)


def require_edited(env: Mapping[str, str]) -> None:
    """Check that a call of the model ran with the user's arguments, and that rows and model know both."""
    ((arguments, status, decision, result),) = query(
        env, "SELECT arguments, status, decision, result FROM tool_invocations"
    )
    assert (arguments, status) == ('{"file": "a.txt"}', "completed")
    assert json.loads(json.loads(decision)["arguments"]) == {"file": "b.txt"}
    assert result.startswith("[The user changed the arguments to {")
    assert "3 b.txt" in result


def test_a_rule_denies_edited_arguments_too(llmctl: Llmctl, env: Mapping[str, str], tmp_path: Path) -> None:
    llmctl(*COUNT, check=True)
    assert ask(llmctl, 'count {"file": "a.txt"}', "-T", "count").returncode == 8
    id = llmctl("tool", "pending", "--columns", "id").stdout.strip()
    with closing(sqlite3.connect(env["LLMCTL_DB"])) as hub, hub:
        hub.execute(
            "INSERT INTO permission_rules (id, tool_id, effect, arguments_rule, created_at, updated_at) SELECT 'r', id,"
            """ 'deny', '{"glob": {"file": "secret*"}}', created_at, created_at FROM tools"""
        )
    refused = llmctl("tool", "approve", id, "--args", '{"file": "secret.txt"}')
    assert (refused.returncode, "a rule denies them" in refused.stderr) == (11, True)


@pytest.mark.parametrize("zone", [r"\u001b[2J\u009b31m\u202e\u0007", "\x9b2J\u202e\x7f"])
def test_no_escape_of_a_call_reaches_the_terminal_that_asks(env: Mapping[str, str], tmp_path: Path, zone: str) -> None:
    code, screen = at_terminal(env, tmp_path, b"n\n", calls=f'time {{"zone": "{zone}"}}')
    assert code == 0
    assert 'wants to run "time"' in screen
    assert not set("\x1b\x07\x9b\u202e\x7f") & set(screen)


def test_failed_tool_says_why(llmctl: Llmctl) -> None:
    llmctl(
        "tool",
        "add",
        "count",
        "--command",
        "sh -c 'echo out; echo no such file >&2; echo more >&2; exit 3'",
        check=True,
    )
    done = ask(llmctl, 'count\nrun_command {"command": "ls"}', "-T", "count:auto", "-T", "run_command:auto")
    assert "llmctl: tool count: failed: exit status 3: no such file\n" in done.stderr
    assert 'llmctl: tool run_command: denied: this tool may not run "ls"\n' in done.stderr
    assert "hint: allow it: llmctl tool edit run_command --command" in done.stderr


def test_pending_calls_name_their_chat(llmctl: Llmctl) -> None:
    ask(llmctl, "time", "-T", "time")
    (found,) = llmctl("tool", "pending", "--json", check=True).json
    assert found["chat"] is None
    assert found["chat_id"][:8] in llmctl("tool", "pending", "--columns", "chat", check=True).stdout
    llmctl("tool", "deny", found["id"], check=True)
    assert "no calls are pending" in llmctl("tool", "pending", check=True).stderr


def test_arguments_cannot_steer_the_terminal(env: Mapping[str, str], tmp_path: Path) -> None:
    _, screen = at_terminal(env, tmp_path, b"n\n", calls='time {"zone": "\x9b1A\u202e"}')
    assert "\x9b" not in screen
    assert "\u202e" not in screen


# --- a malicious model --------------------------------------------------------------------------------------------


def test_files_outside_are_not_read(llmctl: Llmctl, env: Mapping[str, str], tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "link").symlink_to("/etc/passwd")
    os.mkfifo(inside / "pipe")
    llmctl("tool", "add", "read", "--builtin", "read_file", "--folder", str(inside), check=True)
    paths = ["../hub.db", "/etc/passwd", "link", "inside/../../hub.db", "pipe", "~/.ssh/id", "a\\u0000b", "."]
    done = ask(llmctl, "\n".join(f'read {{"path": "{path}"}}' for path in paths), "-T", "read:auto", "--json")
    statuses = [call["status"] for call in json.loads(done.stdout)["tool_calls"]]
    assert statuses == ["denied", "denied", "denied", "denied", "failed", "failed", "failed", "failed"]
    assert "root:" not in done.stdout


def test_hub_and_keys_cannot_be_read_by_tools(llmctl: Llmctl, env: Mapping[str, str], tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "openai").write_text("secret")
    paths = ["hub.db", "hub.db-wal", "keys/openai"]
    done = ask(llmctl, "\n".join(f'read_file {{"path": "{path}"}}' for path in paths), "-T", "read_file:auto", "--json")
    assert [call["status"] for call in json.loads(done.stdout)["tool_calls"]] == ["denied"] * 3


def test_what_belongs_to_llmctl_elsewhere_is_not_read_either(
    llmctl: Llmctl, env: Mapping[str, str], tmp_path: Path
) -> None:
    """Keys are in the data folder wherever the hub is; copies of the hub are next to it."""
    data, state = tmp_path / "data", tmp_path / "state"
    places = [data / "llmctl/keys/openai", state / "llmctl/x.spool", Path(f"{env['LLMCTL_DB']}.1.bak")]
    for place in places:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text("secret")
    own = {**env, "XDG_DATA_HOME": str(data), "XDG_STATE_HOME": str(state)}
    llmctl("tool", "add", "read", "--builtin", "read_file", "--folder", "/", check=True)
    done = ask(llmctl, "\n".join(f'read {{"path": "{p}"}}' for p in places), "-T", "read:auto", "--json", env=own)
    assert [call["status"] for call in json.loads(done.stdout)["tool_calls"]] == ["denied"] * 3


@pytest.mark.parametrize(
    ("host", "url", "status"),
    [
        ("127.*", "http://127.0.0.1:{port}/", "denied"),
        ("*", "http://localhost:{port}/", "denied"),
        ("*", "http://[::ffff:127.0.0.1]:{port}/", "denied"),
        ("*", "http://169.254.169.254/", "denied"),
        ("127.0.0.1", "http://127.0.0.1:{port}/", "completed"),
    ],
)
def test_a_pattern_of_hosts_leads_into_no_private_network(
    llmctl: Llmctl, env: Mapping[str, str], host: str, url: str, status: str
) -> None:
    own = {name: value for name, value in env.items() if name != "PYTEST_CURRENT_TEST"}
    with FakeServer() as server:
        server.answer(Reply(200, {"content-type": "text/plain"}, (b"inside",), length=6))
        llmctl("tool", "add", "get", "--builtin", "fetch_url", "--host", host, check=True)
        done = ask(llmctl, f'get {{"url": "{url.format(port=server.port)}"}}', "-T", "get:auto", "--json", env=own)
    (call,) = json.loads(done.stdout)["tool_calls"]
    assert call["status"] == status, call
    assert len(server.requests) == (status == "completed")


def test_environment_of_our_own_process_is_not_read(llmctl: Llmctl, env: Mapping[str, str]) -> None:
    """Where everything may be read, as for a service whose working folder is the root."""
    calls = 'read_file {"path": "/proc/self/environ"}\nlist_files {"path": "proc/self"}\nlist_files {"path": "/etc"}'
    done = ask(llmctl, calls, "-T", "read_file:auto", "-T", "list_files:auto", "--json", cwd="/")
    statuses = [call["status"] for call in json.loads(done.stdout)["tool_calls"]]
    assert statuses == ["denied", "denied", "completed"]


def test_removed_working_folder_opens_no_other(llmctl: Llmctl, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    script = f'rmdir "$PWD"; exec {sys.executable} -P -m llmctl tool invoke list_files'
    done = llmctl("job", "run", "--shell", "--", script, cwd=gone)
    assert (done.returncode, done.stdout) == (3, ""), done.stderr


def test_no_key_reaches_a_program_or_comes_back(llmctl: Llmctl, env: Mapping[str, str]) -> None:
    secret = "sk-proj-" + "Ab3" * 15
    llmctl("tool", "add", "env", "--command", "env", check=True)
    llmctl("tool", "add", "named", "--command", "env", "--env", "TOKEN=env:OPENAI_API_KEY", check=True)
    calls = "env\nnamed"
    done = ask(
        llmctl,
        calls,
        *("-T", "env:auto", "-T", "named:auto", "--json"),
        env={**env, "OPENAI_API_KEY": secret, "LLMCTL_SECRET": "x"},
    )
    first, second = (call["result"] for call in json.loads(done.stdout)["tool_calls"])
    assert {line.partition("=")[0] for line in first.splitlines()} <= {
        *("PATH", "HOME", "LANG", "USER", "SHELL", "TZ", "LC_ALL", "LC_CTYPE", "PWD", "SHLVL", "_")
    }
    assert "TOKEN=" in second
    assert secret not in second
    assert secret.encode() not in Path(env["LLMCTL_DB"]).read_bytes()
    wal = Path(env["LLMCTL_DB"] + "-wal")
    assert not wal.exists() or secret.encode() not in wal.read_bytes()


def test_arguments_become_no_flags_and_no_shell(llmctl: Llmctl, tmp_path: Path) -> None:
    llmctl("tool", "add", "show", "--command", "cat {file}", "--cwd", str(tmp_path), check=True)
    llmctl("tool", "add", "sh", "--command", "echo {word}", "--shell", check=True)
    inf = ask(llmctl, 'show {"file": "-inf"}', "-T", "show:auto", "--json")
    assert 'must not begin with "-"' in json.loads(inf.stdout)["tool_calls"][0]["result"]
    calls = ['show {"file": "--help"}', 'sh {"word": "$(touch owned); touch owned `touch owned`"}']
    done = ask(llmctl, "\n".join(calls), "-T", "show:auto", "-T", "sh:auto", "--json")
    first, second = (call["result"] for call in json.loads(done.stdout)["tool_calls"])
    assert 'must not begin with "-"' in first
    assert second == "$(touch owned); touch owned `touch owned`"
    assert not (tmp_path / "owned").exists()


def test_output_without_end_is_ended(llmctl: Llmctl, env: Mapping[str, str]) -> None:
    llmctl("tool", "add", "flood", "--command", "yes", check=True)
    llmctl("tool", "add", "much", "--command", "sh -c 'yes | head -c 300000'", "--output-limit", "1000", check=True)
    done = ask(llmctl, "flood\nmuch", "-T", "flood:auto", "-T", "much:auto", "--json")
    first, second = json.loads(done.stdout)["tool_calls"]
    assert "killed: printed more than 16 MB" in first["result"]
    assert second["result"].endswith("\n[cut after 1000 bytes]")
    assert len(second["result"]) < 1100
    assert max(query(env, "SELECT sum(length(text)) FROM text_logs GROUP BY coalesce(series_id, id)"))[0] < 1_100_000


@pytest.mark.slow
def test_arguments_of_50_mb_run_nothing(llmctl: Llmctl, env: Mapping[str, str], tmp_path: Path) -> None:
    llmctl("tool", "add", "run", "--command", "touch ran", "--cwd", str(tmp_path), check=True)
    (tmp_path / "args.json").write_text(json.dumps({"x": "y" * 50_000_000}))
    done = llmctl("tool", "invoke", "run", "--args", f"@{tmp_path}/args.json")
    assert done.returncode == 11
    assert "longer than 1000000 characters" in done.stderr
    assert [status for _, status in runs(env)] == ["failed"]
    assert not (tmp_path / "ran").exists()


def test_invented_tool_name_fails_safely(llmctl: Llmctl, env: Mapping[str, str], tmp_path: Path) -> None:
    _, screen = at_terminal(env, tmp_path, calls="\x1b[31mevil\u202e" + "x" * 200)
    assert "\x1b[31mevil" not in screen
    (text,) = query(env, "SELECT result FROM tool_invocations")[0]
    assert "\x1b" not in text
    assert len(text) < 200


def test_a_hub_made_for_a_tool_is_the_users_alone(llmctl: Llmctl, env: Mapping[str, str]) -> None:
    llmctl("tool", "add", "x", "--command", "ls", check=True)
    assert stat.S_IMODE(os.stat(env["LLMCTL_DB"]).st_mode) == 0o600


def test_list_on_a_terminal_names_builtin_tools(llmctl: Llmctl, env: Mapping[str, str]) -> None:
    assert llmctl("chat", "-m", "echo", "-T", "time", "hi").returncode == 0
    assert llmctl("tool", "list", "--columns", "name").stdout == "time\n"
    code, screen = run_on_terminal([*LLMCTL, "tool", "list"], env)
    assert code == 0
    assert "built in, ready to use: read_file, list_files, fetch_url, run_command" in screen
