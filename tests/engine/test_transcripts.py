"""Transcripts of coding agents: conversations with their tokens and costs, however often they are imported."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from llmctl.engine.transfer.transcripts import find_transcripts
from tests.harness import Llmctl, RunInProcess, parse_json, query, require_failure, require_success

SESSION = "5e550000-0000-4000-8000-000000000001"


def claude_line(kind: str, number: int, content: Any, **more: Any) -> dict[str, Any]:
    message: dict[str, Any] = {"role": kind, "content": content}
    if kind == "assistant":
        usage = {"input_tokens": 100, "cache_read_input_tokens": 50, "output_tokens": 9}
        message |= {"id": f"msg_{more.pop('answer', number)}", "type": "message", "model": "claude-haiku-4-5"}
        message |= {"stop_reason": "end_turn", "usage": usage}
    return {
        "type": kind,
        "uuid": f"aaaa0000-0000-4000-8000-{number:012}",
        "sessionId": SESSION,
        "timestamp": f"2026-11-01T10:00:{number:02}.000Z",
        "cwd": "/work/shop",
        "version": "2.1.0",
        "isSidechain": False,
        "message": message,
        **more,
    }


CLAUDE = [
    {"type": "summary", "summary": "Fixing the build", "leafUuid": "x"},
    claude_line("user", 1, "fix the build"),
    claude_line("assistant", 2, [{"type": "text", "text": "I look."}], answer=1),
    claude_line(
        "assistant", 3, [{"type": "tool_use", "id": "t1", "name": "Bash", "input": {"command": "make"}}], answer=1
    ),
    claude_line("user", 4, [{"type": "tool_result", "tool_use_id": "t1", "content": "ok", "is_error": False}]),
    claude_line(
        "assistant", 5, [{"type": "thinking", "thinking": "hm", "signature": "s"}, {"type": "text", "text": "Done."}]
    ),
    claude_line("user", 6, "look for tests", isSidechain=True, agentId="a1"),
    claude_line("assistant", 7, [{"type": "text", "text": "None."}], isSidechain=True, agentId="a1"),
]


def codex_line(kind: str, second: int, **payload: Any) -> dict[str, Any]:
    return {"timestamp": f"2026-11-01T10:00:{second:02}.000Z", "type": kind, "payload": payload}


def item(role: str, text: str, **more: Any) -> dict[str, Any]:
    kind = "output_text" if role == "assistant" else "input_text"
    return {"type": "message", "role": role, "content": [{"type": kind, "text": text}], **more}


COUNTS = {"input_tokens": 50, "cached_input_tokens": 20, "output_tokens": 7, "reasoning_output_tokens": 2}
CODEX = [
    codex_line("session_meta", 0, id=SESSION, cwd="/work/shop", originator="codex_cli_rs", cli_version="0.171.0"),
    codex_line("response_item", 1, **item("user", "<environment_context>\n<cwd>/work/shop</cwd>")),
    codex_line("turn_context", 1, model="gpt-5-mini"),
    codex_line("response_item", 2, **item("user", "say hello")),
    codex_line("response_item", 3, type="function_call", call_id="c1", name="shell", arguments='{"command":["ls"]}'),
    codex_line("event_msg", 3, type="token_count", info={"last_token_usage": COUNTS}),
    codex_line("response_item", 4, type="function_call_output", call_id="c1", output="a b"),
    codex_line("response_item", 5, **item("assistant", "Hello.", id="m1")),
    codex_line("token_usage_record", 5, usage=COUNTS, response_id="r1"),
    codex_line("event_msg", 5, type="token_count", info={"last_token_usage": COUNTS}),
]
GEMINI = {
    "sessionId": SESSION,
    "projectHash": "ab",
    "startTime": "2026-11-01T10:00:00.000Z",
    "lastUpdated": "2026-11-01T10:01:00.000Z",
    "messages": [
        {"id": "1", "timestamp": "2026-11-01T10:00:01.000Z", "type": "user", "content": "list it"},
        {
            "id": "2",
            "timestamp": "2026-11-01T10:00:02.000Z",
            "type": "gemini",
            "content": "Here.",
            "model": "gemini-2.5-flash",
            "tokens": {"input": 40, "output": 6, "cached": 10, "thoughts": 4, "tool": 0, "total": 50},
            "toolCalls": [
                {"id": "g1", "name": "ls", "args": {"path": "."}, "status": "success", "resultDisplay": "a b"}
            ],
        },
    ],
}


def write_lines(path: Path, lines: Sequence[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return path


def list_thread(env: dict[str, str], chat: str) -> list[tuple[Any, ...]]:
    sql = """SELECT m.role, m.content FROM messages m JOIN message_threads t ON t.id = m.thread_id
             WHERE t.chat_id = ? ORDER BY m.seq"""
    return query(env, sql, chat)


def test_claude_code_session(llmctl_in_process: RunInProcess, env: dict[str, str], tmp_path: Path) -> None:
    path = write_lines(tmp_path / "session.jsonl", CLAUDE)
    report = parse_json(llmctl_in_process("import", str(path), "--json"))
    assert (report["format"], report["conversations"]) == ("claude-code", 2)
    assert list_thread(env, SESSION) == [
        ("user", "fix the build"),
        ("assistant", "I look."),
        ("tool", "ok"),
        ("assistant", "Done."),
    ]
    assert query(env, "SELECT name FROM chats WHERE id = ?", SESSION) == [("Fixing the build",)]
    rows = query(env, "SELECT input_tokens, output_tokens, cached_tokens, response_id, app, folder FROM requests")
    assert sorted(rows) == [(150, 9, 50, f"msg_{number}", "claude", "/work/shop") for number in (1, 5, 7)]
    assert all(cost > 0 for (cost,) in query(env, "SELECT cost FROM requests"))
    assert query(env, "SELECT name, result FROM tool_invocations") == [("Bash", "ok")]


def test_codex_session(llmctl_in_process: RunInProcess, env: dict[str, str], tmp_path: Path) -> None:
    path = write_lines(tmp_path / "rollout.jsonl", CODEX)
    report = parse_json(llmctl_in_process("import", str(path), "--json"))
    assert (report["format"], report["conversations"]) == ("codex", 1)
    thread = list_thread(env, SESSION)
    assert thread[1:] == [("user", "say hello"), ("assistant", ""), ("tool", "a b"), ("assistant", "Hello.")]
    shown = require_success(llmctl_in_process("chats", "show", SESSION))
    assert "environment_context" not in shown
    rows = query(env, "SELECT input_tokens, output_tokens, cached_tokens, thinking_tokens, client FROM requests")
    assert rows == [(50, 7, 20, 2, "codex_cli_rs/0.171.0")] * 2


@pytest.mark.parametrize("as_lines", [False, True])
def test_gemini_cli_session(
    llmctl_in_process: RunInProcess, env: dict[str, str], tmp_path: Path, as_lines: bool
) -> None:
    header = {name: value for name, value in GEMINI.items() if name != "messages"}
    first, second = GEMINI["messages"]
    lines = [header, {"$set": {"messages": [first]}}, second] if as_lines else [GEMINI]
    report = parse_json(llmctl_in_process("import", str(write_lines(tmp_path / "s.json", lines)), "--json"))
    assert report["format"] == "gemini-cli"
    assert list_thread(env, SESSION) == [("user", "list it"), ("assistant", "Here."), ("tool", "a b")]
    assert query(env, "SELECT input_tokens, output_tokens, thinking_tokens FROM requests") == [(40, 10, 4)]


def test_second_import_adds_only_what_is_new(
    llmctl_in_process: RunInProcess, env: dict[str, str], tmp_path: Path
) -> None:
    path = write_lines(tmp_path / "session.jsonl", CLAUDE[:4])
    require_success(llmctl_in_process("import", str(path)))
    write_lines(path, CLAUDE)
    parse_json(llmctl_in_process("import", str(path), "--json"))
    assert len(list_thread(env, SESSION)) == 4
    again = parse_json(llmctl_in_process("import", str(path), "--json"))
    assert (again["imported"], again["updated"]) == ({}, {})
    assert query(env, "SELECT count(*) FROM requests") == [(3,)]


def test_broken_line_costs_only_itself(llmctl_in_process: RunInProcess, env: dict[str, str], tmp_path: Path) -> None:
    path = write_lines(tmp_path / "session.jsonl", CLAUDE)
    lines = path.read_text().splitlines()
    lines[2] = lines[2][:40]
    path.write_text("\n".join(lines))
    assert "line 3" in require_failure(llmctl_in_process("import", str(path)), 14)
    assert [role for role, _ in list_thread(env, SESSION)] == ["user", "assistant", "tool", "assistant"]


def test_all_agents_finds_those_of_this_machine(llmctl: Llmctl, env: dict[str, str]) -> None:
    assert "no transcripts" in require_failure(llmctl("import", "--all-agents"), 3)
    home = Path(env["HOME"])
    write_lines(home / ".claude/projects/-work-shop" / f"{SESSION}.jsonl", CLAUDE)
    other = [
        {**line, "payload": {**line["payload"], "id": "c0de"}} if line["type"] == "session_meta" else line
        for line in CODEX
    ]
    write_lines(home / ".codex/sessions/2026/11/01/rollout-1.jsonl", other)
    write_lines(home / ".claude/projects/-work-shop/broken.jsonl", [{"no": "transcript"}])
    done = llmctl("import", "--all-agents", "--json")
    assert done.returncode == 14
    assert (done.json["conversations"], done.json["problem_count"]) == (3, 1)
    assert "broken.jsonl" in done.json["problems"][0]["why"]
    assert parse_json(llmctl("stats", "--json"))["requests"] == 5
    require_failure(llmctl("import"), 2)


def test_session_that_the_proxy_recorded_is_not_doubled(
    llmctl_in_process: RunInProcess, hub: Any, env: dict[str, str], tmp_path: Path
) -> None:
    for number in (1, 5, 7):
        hub.insert(
            "requests",
            session_key=SESSION,
            response_id=f"msg_{number}",
            origin="proxy",
            provider="anthropic",
            model="m",
        )
    path = write_lines(tmp_path / "session.jsonl", CLAUDE)
    done = llmctl_in_process("import", str(path))
    assert "sessions that the proxy recorded" in done.stderr
    assert query(env, "SELECT count(*) FROM requests") == [(3,)]
    assert query(env, "SELECT count(*) FROM chats") == [(0,)]


def test_history_copied_into_another_session_counts_once(
    llmctl_in_process: RunInProcess, env: dict[str, str], tmp_path: Path
) -> None:
    first = write_lines(tmp_path / "first.jsonl", CLAUDE)
    other = "5e550000-0000-4000-8000-000000000002"
    copied = [{**line, "sessionId": other, "uuid": f"b{line['uuid'][1:]}"} for line in CLAUDE[1:6]]
    more = claude_line("assistant", 9, [{"type": "text", "text": "More."}], sessionId=other)
    second = write_lines(tmp_path / "second.jsonl", [*copied, more])
    for path in (first, second, first, second):
        require_success(llmctl_in_process("import", str(path)))
        answers = [id for (id,) in query(env, "SELECT response_id FROM requests ORDER BY 1")]
        assert answers == ["msg_1", "msg_5", "msg_7"] + ["msg_9"] * (len(answers) > 3)
    assert len(answers) == 4
    assert len(list_thread(env, other)) == 5


@pytest.mark.parametrize(
    "odd",
    [
        codex_line("turn_context", 1, model=["m"]),
        codex_line("event_msg", 3, type="token_count", info={"last_token_usage": {"input_tokens": "x"}}),
        codex_line("response_item", 3, type="message", role="assistant", content=7),
        codex_line("response_item", 3, type="reasoning", summary=[1]),
        {"type": ["x"], "payload": {"id": 1}, "timestamp": 5},
    ],
)
def test_odd_codex_line_costs_only_itself(
    llmctl_in_process: RunInProcess, env: dict[str, str], tmp_path: Path, odd: Any
) -> None:
    path = write_lines(tmp_path / "rollout.jsonl", [*CODEX[:5], odd, *CODEX[5:]])
    assert llmctl_in_process("import", str(path)).returncode in (0, 14)
    assert ("assistant", "Hello.") in list_thread(env, SESSION)
    assert query(env, "SELECT DISTINCT model FROM requests") == [("gpt-5-mini",)]


def test_transcripts_are_below_the_home_folder_that_a_variable_names(tmp_path: Path, monkeypatch: Any) -> None:
    path = write_lines(tmp_path / "[x]/.gemini/tmp/ab/chats/session-1.json", [GEMINI])
    write_lines(tmp_path / ".codex/sessions/rollout.jsonl", CODEX)
    (tmp_path / "[x]/.gemini/tmp/ab/chats/session-2.json").symlink_to("gone")
    monkeypatch.chdir(tmp_path)
    assert find_transcripts({}) == []
    assert find_transcripts({"GEMINI_CLI_HOME": str(tmp_path / "[x]")}) == [str(path)]
