"""Histories of other programs become conversations, once; what is no known format is refused as a whole."""

from __future__ import annotations

import io
import json
import sqlite3
import zipfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from llmctl.core.errors import NotFoundError, UsageError
from llmctl.engine.transfer import import_
from llmctl.store.database import Database
from llmctl.store.maintenance import integrity
from llmctl.store.opening import MEMORY, open_hub
from llmctl.store.records import messages
from tests.engine.transfer_hubs import count_rows, export_hub, import_file, import_text, new_hub
from tests.fakes import orm_hubs
from tests.formats.test_imports import ALL, CHATGPT, CLAUDE, OPENAI

TABLES = ("chats", "message_threads", "messages", "tool_invocations", "requests", "attachments")


@pytest.fixture
def hub() -> Iterator[Database]:
    with closing(open_hub(MEMORY, "create")) as database:
        yield database


def conversation(database: Database, name: str) -> Any:
    sql = "SELECT t.id FROM {chats} c JOIN {message_threads} t ON t.chat_id = c.id WHERE c.name = ?"
    return messages.conversation(database, database.value(sql, (name,)), steps=True)


def sound(database: Database) -> list[Any]:
    return [finding.problem for finding in integrity.run_checks(database) if finding.problem]


@pytest.mark.parametrize("name", ALL)
def test_every_format_comes_in_once(hub: Database, name: Any) -> None:
    text = json.dumps([ALL[name]]) if name in ("chatgpt", "claude") else json.dumps(ALL[name])
    first = import_text(hub, text)
    found, before = count_rows(hub, *TABLES), export_hub(hub)
    second = import_text(hub, text)
    assert first.format == name
    assert not first.problem_count
    assert found[0] == (2 if name == "chatgpt" else 1)
    assert not second.to_record()["imported"]
    assert not second.to_record()["updated"]
    assert export_hub(hub) == before
    assert found[4] == 0, "no requests are invented"
    assert hub.query("SELECT DISTINCT origin FROM {messages}") == [{"origin": "import"}]
    assert not sound(hub)


def test_ids_that_are_unique_anywhere_stay(hub: Database) -> None:
    import_text(hub, json.dumps([CLAUDE]))
    assert hub.value("SELECT id FROM {chats}") == CLAUDE["uuid"]


def test_continued_conversation_gets_its_new_messages(hub: Database) -> None:
    import_text(hub, json.dumps([CLAUDE]))
    more = {"uuid": "m3", "sender": "human", "text": "thanks", "created_at": "2025-01-02T04:00:00Z"}
    report = import_text(hub, json.dumps([CLAUDE | {"chat_messages": [*CLAUDE["chat_messages"], more]}]))
    assert report.rows["imported"] == {"messages": 1}
    assert report.rows["updated"] == {"chats": 1}


def test_steps_of_a_turn_are_no_messages_of_the_chat(hub: Database) -> None:
    import_text(hub, json.dumps([CLAUDE]))
    found = conversation(hub, "Weather")
    assert [(row["role"], row["chat_id"] is not None) for row in found] == [
        *(("user", True), ("assistant", False), ("tool", False), ("assistant", True)),
    ]
    call = found[1]["tool_calls"][0]
    assert (call["name"], call["arguments"], call["result"], call["status"]) == (
        "weather",
        {"city": "Paris"},
        "sunny",
        "completed",
    )
    assert hub.value("SELECT content FROM {attachments}") == b"notes"


def test_a_fork_names_its_parent(hub: Database) -> None:
    import_text(hub, json.dumps([CHATGPT]))
    row = hub.one("SELECT parent_id, parent_seq FROM {message_threads} WHERE parent_id IS NOT NULL")
    assert row["parent_seq"] == 1
    assert {chat["name"] for chat in hub.query("SELECT name FROM {chats}")} == {"Trees", "Trees-2"}


def test_an_archive_is_looked_into(hub: Database, tmp_path: Path) -> None:
    path = tmp_path / "export.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("user.json", "{}")
        archive.writestr("data/conversations.json", json.dumps([CHATGPT]))
    assert import_file(hub, path).format == "chatgpt"
    assert count_rows(hub, "chats") == [2]


def test_a_large_array_is_read_piece_by_piece(hub: Database) -> None:
    many = [CLAUDE | {"uuid": str(number), "name": "é" * 5000} for number in range(40)]
    assert import_text(hub, json.dumps(many, ensure_ascii=False, indent=1)).to_record()["conversations"] == 40


def test_an_array_on_one_line_is_never_in_memory_whole(hub: Database) -> None:
    class Endless(io.RawIOBase):
        """A stream that records how much is read at once."""

        most = 0
        text = io.BytesIO(
            json.dumps([CLAUDE | {"uuid": str(number), "name": "x" * 20_000} for number in range(100)]).encode()
        )

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any) -> Any:
            self.most = max(self.most, len(buffer))
            return self.text.readinto(buffer)

    stream = Endless()
    report = import_.import_source(hub, import_.from_stream(io.BufferedReader(stream)))
    assert report.to_record()["conversations"] == 100
    assert stream.most <= 1 << 17


def test_half_a_surrogate_pair_costs_a_character_only(hub: Database) -> None:
    import_text(hub, '{"messages":[{"role":"user","content":"a\\ud83d b"}]}')
    assert hub.value("SELECT content FROM {messages}") == "a\ufffd b"


def test_broken_document_is_skipped_alone(hub: Database) -> None:
    lines = [
        json.dumps(OPENAI),
        "{",
        '{"messages":"x"}',
        json.dumps(ALL["sharegpt"]),
        json.dumps(OPENAI | {"messages": OPENAI["messages"][:2]}),
    ]
    report = import_text(hub, "\n".join(lines))
    assert count_rows(hub, "chats") == [2]
    assert [problem["line"] for problem in report.problems] == [2, 3, 4]


def test_a_message_that_breaks_in_a_branch_costs_itself_only(hub: Database) -> None:
    item = json.loads(json.dumps(CHATGPT))
    item["mapping"]["a1"]["message"]["author"] = "somebody"
    report = import_text(hub, json.dumps([item, CHATGPT | {"conversation_id": "other", "title": "Whole"}]))
    assert {row["name"] for row in hub.query("SELECT name FROM {chats}")} == {"Trees", "Whole", "Whole-2"}
    assert report.left_out == {"messages that cannot be read": 1}


def test_one_document_may_have_many_lines(hub: Database) -> None:
    assert import_text(hub, json.dumps(OPENAI, indent=2)).to_record()["conversations"] == 1


def test_the_first_line_may_be_the_broken_one(hub: Database) -> None:
    stream = io.BufferedReader(io.BytesIO(b'{"messages": "cut o\n' + json.dumps(OPENAI).encode()))
    report = import_.import_source(hub, import_.from_stream(stream, "openai"))
    assert count_rows(hub, "chats") == [1]
    assert [problem["line"] for problem in report.problems] == [1]


def test_an_array_that_breaks_off_keeps_what_came_before(hub: Database) -> None:
    text = json.dumps([CLAUDE, CLAUDE | {"uuid": "other"}])
    report = import_text(hub, text[:-200])
    assert count_rows(hub, "chats") == [1]
    assert report.problem_count == 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n\n",
        "hello",
        "{}",
        "[]",
        "[1,2]",
        '{"messages":[]}',
        "{\n",
        "\x00\x01",
        '{"format":"other","version":1}',
        "a,b\n1,2",
    ],
)
def test_what_is_no_known_format_is_refused(hub: Database, text: str) -> None:
    with pytest.raises(UsageError):
        import_text(hub, text)
    assert count_rows(hub, *TABLES) == [0] * len(TABLES)


def test_a_format_that_does_not_fit_is_refused(hub: Database, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(json.dumps([CLAUDE]))
    with pytest.raises(UsageError, match="unknown format"):
        import_.from_file(str(path), "word")
    for format in ("jsonl", "hub", "llm"):
        with pytest.raises(UsageError):
            import_.from_file(str(path), format)
    with pytest.raises(NotFoundError):
        import_.from_file(str(tmp_path / "gone"))


def test_another_programs_database_is_refused(hub: Database, tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE messages (id, text)")
    with pytest.raises(UsageError, match="unknown program"):
        import_file(hub, path)
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(Exception, match="cannot read"):
        import_file(hub, path)


@pytest.mark.parametrize("version", orm_hubs.VERSIONS)
@pytest.mark.parametrize("snake", [False, True])
def test_a_database_of_node_llm_comes_in_once(hub: Database, tmp_path: Path, version: Any, snake: bool) -> None:
    path = str(tmp_path / "orm.db")
    orm_hubs.make_orm_hub(path, version, snake=snake, chat=', "tenant" TEXT')
    orm_hubs.fill_orm_hub(path, version, snake=snake)
    with open(path, "rb") as file:
        whole = file.read()
    report = import_file(hub, path)
    before = export_hub(hub)
    again = import_file(hub, path)
    assert report.format == "node-llm"
    assert count_rows(hub, "chats", "messages", "tool_invocations", "requests") == [2, 8, 1, 2]
    assert not again.to_record()["imported"]
    assert export_hub(hub) == before
    assert hub.value("SELECT cost FROM {requests} WHERE input_tokens = 12") is None
    assert "tenant" in {row["name"] for row in hub.query("PRAGMA table_info({chats})")}
    with open(path, "rb") as file:
        assert file.read() == whole, "the database itself is left alone"
    assert not sound(hub)


OLD_LLM = """
CREATE TABLE conversations (id TEXT PRIMARY KEY, name TEXT, model TEXT);
CREATE TABLE responses (id TEXT PRIMARY KEY, model TEXT, prompt TEXT, system TEXT, prompt_json TEXT, options_json TEXT,
  response TEXT, response_json TEXT, conversation_id TEXT, duration_ms INTEGER, datetime_utc TEXT{more});
INSERT INTO conversations VALUES ('01h', 'greetings', 'gpt-4o');
INSERT INTO responses (id, model, prompt, system, response, conversation_id, duration_ms, datetime_utc{names}) VALUES
  ('01a', 'gpt-4o', 'hello', 'be brief', 'hi', '01h', 120, '2024-05-06T07:08:09.123456'{one}),
  ('01b', 'gpt-4o', 'again', 'be brief', 'hi again', '01h', 80, '2024-05-06T07:09:09.123456+00:00'{two});
"""
LATER = """
CREATE TABLE attachments (id TEXT PRIMARY KEY, type TEXT, path TEXT, url TEXT, content BLOB);
CREATE TABLE prompt_attachments (response_id TEXT, attachment_id TEXT, "order" INTEGER);
CREATE TABLE fragments (id INTEGER PRIMARY KEY, hash TEXT, content TEXT, source TEXT);
CREATE TABLE prompt_fragments (response_id TEXT, fragment_id INTEGER, "order" INTEGER);
CREATE TABLE tool_calls (id INTEGER PRIMARY KEY, response_id TEXT, tool_id INTEGER, name TEXT,
  arguments TEXT, tool_call_id TEXT);
CREATE TABLE tool_results (id INTEGER PRIMARY KEY, response_id TEXT, tool_id INTEGER, name TEXT,
  output TEXT, tool_call_id TEXT);
INSERT INTO attachments VALUES ('x', 'image/png', '/tmp/a.png', NULL, x'8950');
INSERT INTO prompt_attachments VALUES ('01a', 'x', 0);
INSERT INTO fragments VALUES (1, 'h', 'a fragment', NULL);
INSERT INTO prompt_fragments VALUES ('01a', 1, 0);
INSERT INTO tool_calls VALUES (1, '01a', NULL, 'clock', '{}', 'c1');
INSERT INTO tool_results VALUES (1, '01b', NULL, 'clock', 'noon', 'c1');
"""
NEW_LLM = """
CREATE TABLE threads (id TEXT PRIMARY KEY, name TEXT, tip_message_hash TEXT, forked_from TEXT, datetime_utc TEXT);
CREATE TABLE turns (id TEXT PRIMARY KEY, thread_id TEXT, parent_message_hash TEXT, tip_message_hash TEXT, model TEXT,
  resolved_model TEXT, options_json TEXT, schema_id TEXT, input_tokens INTEGER, output_tokens INTEGER,
  token_details TEXT, duration_ms INTEGER, datetime_utc TEXT, response_json TEXT);
CREATE TABLE messages (hash TEXT PRIMARY KEY, parent_hash TEXT, role TEXT, provider_metadata TEXT);
CREATE TABLE parts (id INTEGER PRIMARY KEY, message_hash TEXT, position INTEGER, type TEXT, tool_name TEXT,
  text TEXT, payload TEXT);
CREATE TABLE IF NOT EXISTS fragments (id INTEGER PRIMARY KEY, hash TEXT, content TEXT, source TEXT);
INSERT INTO fragments (id, content) VALUES (7, 'from a file');
INSERT INTO messages VALUES ('u1', NULL, 'user', NULL), ('a1', 'u1', 'assistant', NULL), ('u2', 'a1', 'user', NULL),
  ('a2', 'u2', 'assistant', NULL);
INSERT INTO parts (message_hash, position, type, text, payload) VALUES ('u1', 0, 'text', 'one', NULL),
  ('a1', 0, 'reasoning', 'hm', NULL), ('a1', 1, 'text', 'first', NULL),
  ('u2', 0, 'text', NULL, '{"text_ref": [{"fragment": 7}, {"literal": ", two"}]}'), ('a2', 0, 'text', 'second', NULL);
INSERT INTO threads VALUES ('01t', 'counting', 'a2', NULL, '2026-01-01T00:00:00+00:00');
INSERT INTO turns VALUES
  ('01c', '01t', 'u1', 'a1', 'fake', 'fake-1', NULL, NULL, 7, 3,
   '{"output_tokens_details": {"reasoning_tokens": 2}}', 50,
   '2026-01-01T00:00:00+00:00', NULL),
  ('01d', '01t', 'u2', 'a2', 'fake', NULL, NULL, NULL, NULL, NULL, NULL, 60, '2026-01-01T00:01:00+00:00', NULL);
"""


def logs(tmp_path: Path, *scripts: Any) -> Any:
    path = tmp_path / "logs.db"
    with closing(sqlite3.connect(path)) as connection:
        for script in scripts:
            connection.executescript(script)
    return path


USAGE = {"more": ", input_tokens INTEGER, output_tokens INTEGER, token_details TEXT, resolved_model TEXT"}
USAGE |= {"names": ", input_tokens, output_tokens", "one": ", 10, 5", "two": ", NULL, NULL"}
NOTHING = dict.fromkeys(USAGE, "")


def test_the_first_logs_of_llm_come_in_without_usage(hub: Database, tmp_path: Path) -> None:
    path = logs(tmp_path, OLD_LLM.format(**NOTHING))
    report = import_file(hub, path)
    assert report.format == "llm"
    assert [(row["role"], row["content"]) for row in conversation(hub, "greetings")] == [
        *(("system", "be brief"), ("user", "hello"), ("assistant", "hi"), ("user", "again"), ("assistant", "hi again")),
    ]
    assert count_rows(hub, "requests") == [0]
    assert not import_file(hub, path).to_record()["imported"]


def test_later_logs_of_llm_have_files_fragments_tools_and_usage(hub: Database, tmp_path: Path) -> None:
    import_file(hub, logs(tmp_path, OLD_LLM.format(**USAGE), LATER))
    found = conversation(hub, "greetings")
    assert [row["role"] for row in found] == ["system", "user", "assistant", "tool", "user", "assistant"]
    assert found[1]["content"] == "a fragment\nhello"
    assert found[1]["attachments"][0]["name"] == "a.png"
    assert found[2]["tool_calls"][0]["result"] == "noon"
    request = hub.one(
        "SELECT input_tokens, output_tokens, duration, cost, substr(created_at, 1, 19) AS at FROM {requests}"
    )
    assert list(request.values()) == [10, 5, 120, None, "2024-05-06T07:08:09"]


def test_logs_of_today_are_chains_of_messages(hub: Database, tmp_path: Path) -> None:
    path = logs(tmp_path, NEW_LLM)
    import_file(hub, path)
    found = conversation(hub, "counting")
    assert [(row["role"], row["content"], row["thinking_text"]) for row in found] == [
        *(
            ("user", "one", None),
            ("assistant", "first", "hm"),
            ("user", "from a file, two", None),
            ("assistant", "second", None),
        ),
    ]
    assert hub.query("SELECT input_tokens, thinking_tokens, response_model FROM {requests}") == [
        {"input_tokens": 7, "thinking_tokens": 2, "response_model": "fake-1"}
    ]
    assert not import_file(hub, path).to_record()["imported"]


OPTIONS = """
CREATE TABLE schemas (id TEXT PRIMARY KEY, content TEXT);
INSERT INTO schemas VALUES ('s1', '{"type":"object"}');
UPDATE {table} SET options_json = '{{"temperature":0.5,"json_object":true,"top_p":null}}';
"""


@pytest.mark.parametrize("generation", ["responses", "turns"])
def test_options_and_schemas_of_llm_come_along(hub: Database, tmp_path: Path, generation: str) -> None:
    options = OPTIONS.replace("{table}", generation).replace("{{", "{").replace("}}", "}")
    if generation == "responses":
        add = "ALTER TABLE responses ADD COLUMN schema_id TEXT; UPDATE responses SET schema_id = 's1'"
        path = logs(tmp_path, OLD_LLM.format(**USAGE), options, add)
    else:
        path = logs(tmp_path, NEW_LLM, options, "UPDATE turns SET schema_id = 's1'")
    import_file(hub, path)
    parameters = json.loads(hub.value("SELECT parameters FROM {requests}"))
    assert parameters == {"options": {"temperature": 0.5, "json_object": True}, "schema": {"type": "object"}}
    chat = hub.one("SELECT settings, metadata FROM {chats}")
    assert json.loads(chat["settings"]) == {"options": {"temperature": 0.5}}
    assert json.loads(chat["metadata"])["schema"] == {"type": "object"}


def test_a_conversation_of_both_generations_is_one(hub: Database, tmp_path: Path) -> None:
    path = logs(tmp_path, OLD_LLM.format(**USAGE), LATER, NEW_LLM.replace("'01t'", "'01h'"))
    import_file(hub, path)
    found = [row["content"] for row in conversation(hub, "greetings")]
    assert found[-2:] == ["from a file, two", "second"]
    assert count_rows(hub, "chats") == [1]


def test_a_log_with_a_table_that_is_not_as_known_is_refused(tmp_path: Path) -> None:
    path = logs(
        tmp_path, "CREATE TABLE conversations (id); CREATE TABLE responses (id); INSERT INTO conversations VALUES (1)"
    )
    with closing(new_hub(tmp_path / "hub.db")) as hub:
        with pytest.raises(UsageError, match="cannot read the llm logs"):
            import_file(hub, path)
        assert count_rows(hub, "chats") == [0]
