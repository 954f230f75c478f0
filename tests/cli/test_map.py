"""``llmctl map``: a prompt for every row, results in order, and what a row, a cap or a person can do to a job."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.harness import Llmctl, RunInProcess, query, query_dicts, require_failure, require_success

MODEL = ("-m", "echo")


def write(path: Path, *rows: dict[str, Any]) -> str:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return str(path)


@pytest.fixture
def table(tmp_path: Path) -> str:
    return write(tmp_path / "in.jsonl", *({"n": number, "name": f"name-{number}"} for number in range(1, 6)))


def test_every_row_is_answered_in_order(llmctl_in_process: RunInProcess, env: dict[str, str], table: str) -> None:
    done = llmctl_in_process("map", table, "Hi {{ name }}", *MODEL, "--select", "n", "--id", "name")
    assert require_success(done)
    assert [(row["id"], row["position"], row["output"], row["n"]) for row in done.lines] == [
        (f"name-{number}", number, f"Hi name-{number}", number) for number in range(1, 6)
    ]
    assert {row["status"] for row in done.lines} == {"completed"}
    assert done.lines[0].keys() == {
        *("id", "position", "status", "output", "data", "request_id", "cost", "error", "n"),
    }
    assert query(env, "SELECT count(*) FROM chats") == [(0,)]
    job = llmctl_in_process("job", "list", "--type", "map", "--json").json[0]
    assert (job["status"], job["result"]["completed"], job["exit_code"]) == ("completed", 5, 0)


def test_rows_are_those_of_a_chat(llmctl_in_process: RunInProcess, env: dict[str, str], table: str) -> None:
    """The same tables with the same columns filled, but no chat; and the same totals."""
    options = (*MODEL, "-s", "Be {{ n }}", "--tag", "t")
    require_success(llmctl_in_process("map", table, "Hi {{ name }}", *options, "--limit", "1"))
    require_success(llmctl_in_process("chat", "Hi name-1", *MODEL, "-s", "Be 1", "--tag", "t", "--no-stream"))
    free = {"id", "created_at", "updated_at", "job_id", "thread_id", "chat_id", "message_id", "request_id"}
    free |= {"duration", "time_to_first_token", "time_to_first_byte", "timeline", "last_flushed_at", "response_id"}
    free |= {"raw_output", "response_headers", "provider_request_id", "result_messages", "locking_job_id"}
    for table_name in ("message_threads", "messages", "requests", "network_calls", "response_streams"):
        rows = query_dicts(env, f"SELECT * FROM {table_name} ORDER BY rowid")
        half = len(rows) // 2
        assert len(rows) == 2 * half > 0
        for mapped, chatted in zip(rows[:half], rows[half:], strict=True):
            assert {k: v for k, v in mapped.items() if k not in free} == {
                k: v for k, v in chatted.items() if k not in free
            }, table_name
            assert {k for k, v in mapped.items() if v is None} - {"chat_id", "locking_job_id"} == {
                k for k, v in chatted.items() if v is None
            } - {"chat_id", "locking_job_id"}, table_name
    assert query(env, "SELECT sum(requests), sum(output_tokens) FROM usage_hourly") == [(2, 4)]


FILES = {
    "in.csv": (b'\xef\xbb\xbfname,n\r\n"A, B",1\r\n\r\nC,2\r\n', ["A, B", "C"]),
    "semi.csv": (b"name;n\nA,1;2\n", ["A,1"]),
    "in.tsv": (b"name\tn\nA\t1\n", ["A"]),
    "in.json": (b'[{"name": "A"},\n {"name": "B"}]', ["A", "B"]),
    "in.jsonl": (b'\xef\xbb\xbf{"name": "A"}\r\n\r\n{"name": "B"}\r\n', ["A", "B"]),
    "in.txt": (b"\xef\xbb\xbfA\r\n\r\n  B\r\n", ["A", "  B"]),
    "in.unknown": (b'{"name": "A"}', ["A"]),
}


@pytest.mark.parametrize("name", FILES)
def test_formats_are_read(llmctl_in_process: RunInProcess, tmp_path: Path, name: str) -> None:
    data, expected = FILES[name]
    (tmp_path / name).write_bytes(data)
    prompt = "{{ line }}" if name.endswith("txt") else "{{ name }}"
    done = llmctl_in_process("map", str(tmp_path / name), prompt, *MODEL)
    require_success(done)
    assert [row["output"] for row in done.lines] == expected


BAD_FILES = {
    "ragged": ("in.csv", b"a,b\n1,2\n3\n", "line 3 (row 2) has 1 fields, but the header has 2"),
    "nul": ("in.csv", b"a,b\n1,\0\n", "line 2 has a NUL character"),
    "latin1": ("in.txt", b"a\n\xe9\n", "line 2 is not valid UTF-8"),
    "json": ("in.jsonl", b'{"a": 1}\n{"a": \n', "line 2: invalid JSON"),
    "array of texts": ("in.json", b'["a"]', "line 1 must be a JSON object"),
    "columns": ("in.csv", b"a,a\n1,2\n", 'two columns named "a"'),
    "empty": ("in.jsonl", b"", "has no rows"),
}


@pytest.mark.parametrize("kind", BAD_FILES)
def test_malformed_input_sends_nothing(
    llmctl_in_process: RunInProcess, env: dict[str, str], tmp_path: Path, kind: str
) -> None:
    name, data, message = BAD_FILES[kind]
    (tmp_path / name).write_bytes(data)
    done = llmctl_in_process("map", str(tmp_path / name), "{{ row }}", *MODEL)
    assert message in require_failure(done, 2)
    assert query(env, "SELECT (SELECT count(*) FROM jobs) + (SELECT count(*) FROM requests)") == [(0,)]


BAD_FLAGS = {
    "unknown column": (["{{ nme }}"], "nme"),
    "no column": (["Hello"], "the prompt uses no column"),
    "repeated id": (["{{ n }}", "--id", "same"], 'rows 1 and 2 have the same id "x"'),
    "no id column": (["{{ n }}", "--id", "ident"], '--id: no column "ident"'),
    "no selected column": (["{{ n }}", "--select", "n,m"], '--select: no column "m"'),
    "own column": (["{{ n }}", "--select", "same,id"], '--select cannot copy "id"'),
    "one file": (["{{ n }}", "--output", "x", "--errors", "./x"], "--output and --errors must be two files"),
    "shard": (["{{ n }}", "--shard", "3/2"], "--shard must be I/N"),
    "parallel": (["{{ n }}", "-P", "many"], "--parallel must be auto or a number"),
    "on error": (["{{ n }}", "--on-error", "often"], "--on-error must be continue, stop or a share"),
    "order": (["{{ n }}", "--order", "random"], "--order must be one of input, done"),
}


@pytest.mark.parametrize("kind", BAD_FLAGS)
def test_bad_flags_send_nothing(
    llmctl_in_process: RunInProcess, env: dict[str, str], tmp_path: Path, kind: str
) -> None:
    words, message = BAD_FLAGS[kind]
    path = write(tmp_path / "in.jsonl", {"n": 1, "same": "x"}, {"n": 2, "same": "x"})
    require_success(llmctl_in_process("init"))
    assert message in require_failure(llmctl_in_process("map", path, *words, *MODEL), 2)
    assert query(env, "SELECT count(*) FROM requests") == [(0,)]


def test_failed_rows_are_named(llmctl: Llmctl, table: str, tmp_path: Path) -> None:
    """A row over the limit fails alone; the output is complete, and --retry-failed asks only that row again."""
    words = ("map", table, "{{ name }}{% if n == 3 %} 4{% endif %}", "-m", "echo", "--output", "out.jsonl")
    flags = ("--errors", "err.jsonl", "--schema", '{"type": "object"}')
    done = llmctl(*words, *flags)
    assert done.returncode == 14
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    errors = [json.loads(line) for line in (tmp_path / "err.jsonl").read_text().splitlines()]
    assert [row["position"] for row in rows] == [1, 2, 3, 4, 5]
    assert errors == [row for row in rows if row["status"] == "failed"]
    assert {row["error"]["code"] for row in errors} == {"invalid-output"}
    assert "--retry-failed=" in done.stderr


def test_resume_keeps_the_flags_of_the_job(llmctl_in_process: RunInProcess, env: dict[str, str], table: str) -> None:
    """A flag of the resume wins over that of the job."""
    words = ("{{ name }}{% if n < 3 %} 4{% endif %}", *MODEL, "--schema", '{"type": "object"}')
    done = llmctl_in_process("map", table, *words, "-P", "1", "--on-error", "stop", "--tag", "kept", "--max-cost", "1")
    assert "stopped: 1 of 1 rows failed" in done.stderr
    [(id, payload)] = query(env, "SELECT id, payload FROM jobs WHERE type = 'map'")
    assert json.loads(payload)["pace"] == {"parallel": "1", "on_error": "stop"}
    again = llmctl_in_process("map", f"--retry-failed={id}")
    assert "stopped: 1 of 1 rows failed" in again.stderr
    assert query(env, "SELECT DISTINCT tag FROM requests") == [("kept",)]
    assert "5 of 5 rows failed" in llmctl_in_process("map", f"--retry-failed={id}", "--on-error", "continue").stderr


def test_output_as_csv(llmctl: Llmctl, table: str, tmp_path: Path) -> None:
    require_success(
        llmctl("map", table, "a,{{ n }}", *MODEL, "--output", "out.csv", "--limit", "1", "--select", "name")
    )
    header, row = (tmp_path / "out.csv").read_text().splitlines()
    assert header == "id,position,status,output,data,request_id,cost,error,name"
    assert row.startswith('1,1,completed,"a,1",,')
    assert not (tmp_path / "out.csv.partial").exists()


def test_shards_are_stable_parts(llmctl_in_process: RunInProcess, table: str) -> None:
    parts = [llmctl_in_process("map", table, "{{ n }}", *MODEL, "--shard", f"{index}/2") for index in (1, 2)]
    assert [[row["output"] for row in part.lines] for part in parts] == [["1", "3", "5"], ["2", "4"]]


def test_samples_are_stable(llmctl_in_process: RunInProcess, table: str) -> None:
    first, second = (
        [row["position"] for row in llmctl_in_process("map", table, "{{ n }}", *MODEL, "--sample", "2").lines]
        for _ in range(2)
    )
    assert first == second == sorted(first)
    assert len(first) == 2


def test_rows_of_a_query(llmctl_in_process: RunInProcess) -> None:
    require_success(llmctl_in_process("chat", "one two", *MODEL))
    done = llmctl_in_process(
        "map", "--sql", "SELECT content FROM messages WHERE role = 'user'", "Q: {{ content }}", *MODEL
    )
    assert [row["output"] for row in done.lines] == ["Q: one two"]


def test_estimate_sends_nothing(llmctl_in_process: RunInProcess, env: dict[str, str], table: str) -> None:
    found = llmctl_in_process("map", table, "{{ name }}", *MODEL, "--estimate", "--json").json
    assert (found["rows"], found["cost"], found["max_cost"]) == (5, 0.0, 0.0)
    assert query(env, "SELECT count(*) FROM map_items") == [(0,)]


def test_refused_key_stops_the_job(llmctl: Llmctl, table: str, tmp_path: Path, env: dict[str, str]) -> None:
    words = ("map", table, "{{ n }}", *MODEL, "--output", "out.jsonl", "-P", "1")
    done = llmctl(*words, "-o", "fail=auth")
    assert done.returncode == 4
    assert not (tmp_path / "out.jsonl").exists()
    assert query(env, "SELECT DISTINCT status FROM map_items") == [("pending",)]


def test_resume_refuses_what_changed(llmctl: Llmctl, table: str, tmp_path: Path) -> None:
    words = (*MODEL, "--output", "out.jsonl", "-P", "1")
    assert llmctl("map", table, "{{ n }}", *words, "-o", "fail=auth").returncode == 4
    changed = llmctl("map", table, "{{ n }}!", *words, "-o", "fail=auth", "--resume")
    assert 'the prompt changed: "{{ n }}" then, "{{ n }}!" now' in require_failure(changed, 2)
    with open(table, "a") as file:
        file.write('{"n": 6, "name": "more"}\n')
    longer = llmctl("map", table, "{{ n }}", *words, "-o", "fail=auth", "--resume")
    assert "changed: 1 row more than before" in require_failure(longer, 2)
    assert llmctl("map", table, "{{ n }}", *words, "--resume", "--restart").returncode == 0
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 6


def test_deleted_map_leaves_no_text(llmctl: Llmctl, tmp_path: Path, env: dict[str, str]) -> None:
    path = write(tmp_path / "in.jsonl", {"word": "xylophonist"}, {"word": "zymurgist"})
    require_success(llmctl("map", path, "say {{ word }}", *MODEL))
    job = llmctl("job", "list", "--type", "map", "--json").json[0]["id"]
    items = llmctl("job", "show", job, "--items", "--json").json
    assert [(item["id"], item["output"]) for item in items] == [("1", "say xylophonist"), ("2", "say zymurgist")]
    require_success(llmctl("job", "delete", job[:8], "--yes"))
    assert query(env, "SELECT (SELECT count(*) FROM messages), (SELECT count(*) FROM message_threads)") == [(0, 0)]
    assert query(env, "SELECT count(*), sum(output_tokens) FROM requests") == [(2, 4)]
    data = b"".join(file.read_bytes() for file in tmp_path.glob("hub.db*"))
    assert b"xylophonist" not in data
    assert b"zymurgist" not in data


def test_shards_of_two_hubs_are_joined(llmctl: Llmctl, table: str, tmp_path: Path) -> None:
    for index in (1, 2):
        hub = {"LLMCTL_DB": str(tmp_path / f"hub.{index}.db")}
        require_success(llmctl("map", table, "{{ name }}", *MODEL, "--shard", f"{index}/2", env=hub))
    require_success(llmctl("init"))
    for index in (1, 2):
        require_success(llmctl("import", str(tmp_path / f"hub.{index}.db")))
    assert llmctl("stats", "--json").json["requests"] == 5
    jobs = llmctl("job", "list", "--type", "map", "--json").json
    found = [llmctl("job", "show", job["id"], "--items", "--json").json for job in jobs]
    assert sorted(len(items) for items in found) == [2, 3]
    assert {item["output"] for items in found for item in items} == {f"name-{number}" for number in range(1, 6)}
