"""Another hub's rows come into one that is in use: nothing doubled, nothing lost, nothing half."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from llmctl.core.errors import UsageError
from llmctl.core.stored_values import dumps
from llmctl.core.transfer_records import ImportRow
from llmctl.engine.transfer.export import ExportOptions
from llmctl.store.database import Database
from llmctl.store.maintenance import integrity
from llmctl.store.schema import ddl
from llmctl.store.transfer import batches
from llmctl.store.transfer.read import NOT_EXPORTED
from tests.engine.transfer_hubs import count_rows, export_hub, fill_hub, import_file, import_text, new_hub
from tests.fakes.hub_builder import RENAMED, HubBuilder


@pytest.fixture
def hubs(tmp_path: Path) -> Iterator[tuple[Any, ...]]:
    """A hub with everything, and another one in use."""
    with closing(new_hub(tmp_path / "theirs.db")) as theirs, closing(new_hub(tmp_path / "ours.db", RENAMED)) as ours:
        fill_hub(theirs)
        rows = HubBuilder(ours)
        rows.turn(rows.chat("ours"), "hello", "hi")
        yield theirs, ours


def sound(database: Database) -> list[Any]:
    """Return what is wrong; files stand before the conversations that have them, so a broken import leaves some."""
    return [f.problem for f in integrity.run_checks(database) if f.problem and f.name not in ("stuck", "attachments")]


@pytest.mark.parametrize("way", ["lines", "file"])
def test_a_second_import_changes_nothing(hubs: tuple[Any, ...], way: str) -> None:
    theirs, ours = hubs

    def bring() -> Any:
        return import_text(ours, export_hub(theirs)) if way == "lines" else import_file(ours, theirs.path)

    first, before = bring(), export_hub(ours)
    second = bring()
    assert first.rows["imported"]["chats"] == 3
    assert not second.rows["imported"]
    assert not second.rows["updated"]
    assert export_hub(ours) == before
    assert not sound(ours)


def test_the_newer_row_wins_on_either_side(hubs: tuple[Any, ...]) -> None:
    theirs, ours = hubs
    text = export_hub(theirs)
    import_text(ours, text)
    ours.execute(
        "UPDATE {chats} SET description = 'mine', updated_at = '2030-01-01T00:00:00.000+00:00' WHERE name = 'fork'"
    )
    theirs.execute("UPDATE {chats} SET description = 'theirs', updated_at = '2029-01-01T00:00:00.000+00:00'")
    report = import_text(ours, export_hub(theirs))
    found = {row["name"]: row["description"] for row in ours.query("SELECT name, description FROM {chats}")}
    assert found == {"ours": None, "fork": "mine", "first": "theirs", None: "theirs"}
    assert report.rows["updated"] == {"chats": 2}


def test_running_answer_is_finished(hubs: tuple[Any, ...]) -> None:
    theirs, ours = hubs
    import_text(ours, export_hub(theirs))
    later = "2030-01-01T00:00:00.000+00:00"
    theirs.execute(
        "UPDATE {messages} SET content = 'done', status = 'completed', updated_at = ? WHERE status = 'pending'",
        (later,),
    )
    theirs.execute(
        "UPDATE {requests} SET status = 'completed', output_tokens = 9, updated_at = ? WHERE status = 'pending'",
        (later,),
    )
    theirs.execute(
        "UPDATE {response_streams} SET status = 'completed', raw_output = 'x', updated_at = ? WHERE status = 'pending'",
        (later,),
    )
    theirs.execute("DELETE FROM {stream_chunks}")
    import_text(ours, export_hub(theirs))
    assert ours.value("SELECT count(*) FROM {messages} WHERE content = 'done'") == 1
    assert count_rows(ours, "stream_chunks") == [0]
    assert ours.value("SELECT sum(requests) FROM {usage_hourly}") == ours.value("SELECT count(*) FROM {requests}")
    assert not sound(ours)


def test_finished_message_cannot_be_changed(hubs: tuple[Any, ...]) -> None:
    theirs, ours = hubs
    import_text(ours, export_hub(theirs))
    text = export_hub(theirs).replace('"content":"that"', '"content":"forged"').replace("2026-10-05", "2027-10-05")
    report = import_text(ours, text)
    assert ours.value("SELECT count(*) FROM {messages} WHERE content = 'forged'") == 0
    assert ours.value("SELECT count(*) FROM {messages} WHERE content = 'that' AND updated_at > '2027'") == 1
    assert not [problem for problem in report.problems if "finished" in problem["why"]]


def test_conversation_continued_in_two_hubs_keeps_both_ends(hubs: tuple[Any, ...]) -> None:
    theirs, ours = hubs
    import_text(ours, export_hub(theirs))
    chat = ours.one(
        "SELECT c.id, t.id AS thread_id FROM {chats} c JOIN {message_threads} t ON t.chat_id = c.id WHERE name = 'fork'"
    )
    HubBuilder(ours, "2026-10-06T00:00:00.000+00:00").message(chat, "user", "here")
    HubBuilder(theirs, "2026-10-06T00:00:00.000+00:00").message(chat, "user", "there")
    for _ in range(2):
        import_text(ours, export_hub(theirs))
        said = ours.query("SELECT content FROM {messages} WHERE thread_id = ? ORDER BY seq", (chat["thread_id"],))
        assert [row["content"] for row in said] == ["go on", "gone on", "here", "there"]


def test_names_that_are_taken_get_a_number(hubs: tuple[Any, ...]) -> None:
    theirs, ours = hubs
    rows = HubBuilder(ours)
    rows.chat("first")
    rows.connection("work", provider="anthropic")
    for _ in range(2):
        import_text(ours, export_hub(theirs))
    assert count_rows(ours, "chats") == [5]
    assert {row["name"] for row in ours.query("SELECT name FROM {chats}")} == {"ours", "first", "first-2", "fork", None}
    names = {row["name"]: row["provider"] for row in ours.query("SELECT name, provider FROM {model_connections}")}
    assert names == {"echo": "echo", "work": "anthropic", "work-2": "openai"}


def test_a_connection_of_the_same_name_and_meaning_is_the_same(hubs: tuple[Any, ...]) -> None:
    theirs, ours = hubs
    same = HubBuilder(ours).connection(
        "work", model_id="gpt-5", data=dumps({"key": "env:OPENAI_API_KEY", "headers": {}})
    )
    import_text(ours, export_hub(theirs))
    assert ours.value("SELECT source_id FROM {chats} WHERE name = 'first'") == same
    assert count_rows(ours, "model_connections") == [2]


def test_settings_of_a_hub_in_use_stay(hubs: tuple[Any, ...]) -> None:
    theirs, ours = hubs
    theirs.execute("UPDATE {user_settings} SET theme = 'dark'")
    report = import_text(ours, export_hub(theirs))
    assert ours.value("SELECT theme FROM {user_settings}") == "system"
    assert [problem["why"] for problem in report.problems] == ["user_settings: this hub has its own settings"]


def test_dry_run_reports_and_changes_nothing(hubs: tuple[Any, ...]) -> None:
    theirs, ours = hubs
    before = export_hub(ours)
    report = import_text(ours, export_hub(theirs), dry_run=True)
    assert report.to_record()["conversations"] == 3
    assert export_hub(ours) == before
    assert "user_id" not in {row["name"] for row in ours.query("PRAGMA table_info({chats})")}


def test_broken_line_is_skipped_alone(hubs: tuple[Any, ...]) -> None:
    theirs, ours = hubs
    lines = export_hub(theirs).splitlines()
    place = next(n for n, line in enumerate(lines) if '"table":"metrics"' in line)
    lines[place] = lines[place][:40]
    lines += [
        "nothing",
        '{"table":"sqlite_master","row":{"sql":"x"}}',
        '{"table":"chats","row":{"id":"x","created_at":"now"}}',
    ]
    lines += [
        '{"table":"messages","row":{"id":"y","thread_id":"gone","role":"user"}}',
        "[1]",
        '{"table":"chats","row":[]}',
    ]
    report = import_text(ours, "\n".join(lines))
    assert report.rows["imported"]["chats"] == 3
    assert count_rows(ours, "metrics") == [0]
    told = {problem["line"]: problem["why"] for problem in report.problems}
    assert told[place + 1].startswith("invalid JSON")
    assert 'no table "sqlite_master"' in told.values()
    assert 'messages: its thread_id "gone" does not exist' in told.values()
    assert len(told) >= 7


def test_a_fork_before_its_parent_is_linked_in_the_end(hubs: tuple[Any, ...]) -> None:
    theirs, ours = hubs
    header, *lines = export_hub(theirs).splitlines()
    parent = theirs.value("SELECT id FROM {message_threads} WHERE parent_id IS NULL")
    lines.sort(key=lambda line: f'"id":"{parent}"' in line and '"message_threads"' in line)
    assert import_text(ours, "\n".join([header, *lines[:20], *lines[20:], *lines])).left_out == {}
    assert ours.value("SELECT count(*) FROM {message_threads} WHERE parent_id IS NOT NULL") == 1


def test_transactions_end_between_conversations(hubs: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """What breaks off leaves whole conversations; a second import brings the rest."""
    theirs, ours = hubs
    rows = HubBuilder(theirs)
    for number in range(6):
        rows.turn(rows.chat(f"chat {number}"), "hello", "hi")
    # Where the last turn was is not taken into a hub in use, which this one is after the first import.
    theirs.execute("UPDATE {chats} SET origin = 'import', last_turn_folder = NULL")
    monkeypatch.setattr(batches, "_BATCH_ROWS", 3)
    lines = export_hub(theirs).splitlines(keepends=True)

    for cut in range(5, len(lines), 7):

        def broken(cut: Any = cut) -> Iterator[Any]:
            yield from lines[1:cut]
            raise UsageError("the line dropped")

        from llmctl.formats import jsonl

        records: Any = jsonl.parse_records(line.encode() for line in broken())
        with pytest.raises(UsageError):
            batches.merge_records(ours, records, lambda record, outcome: None)
        for chat in ours.query("SELECT id, name FROM {chats} WHERE name LIKE 'chat %'"):
            assert ours.value("SELECT count(*) FROM {messages} WHERE chat_id = ?", (chat["id"],)) == 2
            assert ours.value("SELECT count(*) FROM {requests} WHERE chat_id = ?", (chat["id"],)) == 1
        assert not sound(ours)
    import_text(ours, "".join(lines))
    assert count_rows(ours, "chats") == [10]
    wish = ExportOptions(chats=["chat 5"])
    assert export_hub(ours, wish) == export_hub(theirs, wish)


def test_sums_are_the_same_row_by_row_and_all_at_once(hubs: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    theirs, ours = hubs
    rows = HubBuilder(theirs)
    chats = [rows.chat(f"many {number}") for number in range(4)]
    monkeypatch.setattr(batches, "_BATCH_ROWS", 5)
    for number in range(40):
        rows.insert(
            "requests",
            at=rows.tick(60),
            chat_id=chats[number % 4]["id"],
            provider="OpenAI",
            model="gpt-5",
            status=["completed", "failed"][number % 2],
            cost=None if number % 3 else number / 7,
            duration=number % 7 * 137,
            time_to_first_token=number * 11 or None,
            input_tokens=number or None,
            tag=f"t{number % 2}",
            origin=["llmctl", "orm"][number % 5 == 0],
        )
    for table in ("requests", *NOT_EXPORTED):
        ours.execute(f"DELETE FROM {{{table}}}")
    before = ours.query(TRIGGERS)
    import_text(ours, export_hub(theirs))
    assert ours.query(TRIGGERS) == before
    for table in ddl.ROLLUP_TABLES.values():
        rows_of = f"SELECT * FROM {{{table}}} ORDER BY 1, 2, 3, 4, 5, 6, 7"
        for mine, wanted in zip(ours.query(rows_of), theirs.query(rows_of), strict=True):
            for name in ("duration_histogram", "first_token_histogram"):
                assert json.loads(mine.pop(name)) == json.loads(wanted.pop(name))
            for name in ("cost", "cache_savings"):
                assert mine.pop(name) == pytest.approx(wanted.pop(name))
            assert mine == wanted


@pytest.mark.parametrize("most", [3, 5_000], ids=["apart", "together"])
def test_retries_count_though_attempts_come_after_their_requests(
    hubs: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    theirs, ours = hubs
    rows = HubBuilder(theirs)
    monkeypatch.setattr(batches, "_BATCH_ROWS", most)
    for number in range(12):
        id = rows.insert("requests", at=rows.tick(), provider="openai", model="gpt-5", status="pending")
        for attempt in range(1, 2 + number % 4):
            rows.insert("network_calls", request_id=id, attempt=attempt, endpoint="x", method="POST")
        theirs.execute("UPDATE {requests} SET status = 'completed' WHERE id = ?", (id,))
    before = [ours.value(f"SELECT sum(retries) FROM {{{table}}}") for table in ddl.ROLLUP_TABLES.values()]
    import_text(ours, export_hub(theirs))
    import_text(ours, export_hub(theirs))
    after = [ours.value(f"SELECT sum(retries) FROM {{{table}}}") for table in ddl.ROLLUP_TABLES.values()]
    assert [number - old for number, old in zip(after, before, strict=True)] == [18, 18, 18]


def test_messages_that_name_no_thread_are_adopted_and_counted_once(hubs: tuple[Any, ...]) -> None:
    theirs, ours = hubs
    chat = HubBuilder(theirs).chat("elsewhere")
    text = export_hub(theirs)
    day = "2026-11-0{}T12:00:00.000+00:00"
    for number in range(1, 4):
        row = {
            "id": f"m{number}",
            "chat_id": chat["id"],
            "role": "user",
            "content": "hi",
            "created_at": day.format(number),
        }
        text += (
            json.dumps({"table": "messages", "row": row | {"updated_at": row["created_at"], "references": {}}}) + "\n"
        )
    before = ours.query(TRIGGERS)
    import_text(ours, text)
    assert ours.query(TRIGGERS) == before
    found = ours.query("SELECT seq, thread_id IS NULL AS lost FROM {messages} WHERE id LIKE 'm_' ORDER BY id")
    assert found == [{"seq": seq, "lost": 0} for seq in (1, 2, 3)]
    counted = ours.query("SELECT day, messages FROM {activity_daily} WHERE day LIKE '2026-11%' ORDER BY day")
    assert counted == [{"day": day.format(number).replace("T12", "T00"), "messages": 1} for number in range(1, 4)]


def test_conversations_are_never_cut_and_what_has_none_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "_BATCH_ROWS", 3)
    chat = [ImportRow("chats", {}), *[ImportRow("messages", {})] * 4]
    lone = [ImportRow("requests", {"chat_id": None}), *[ImportRow("network_calls", {})] * 6]
    assert [len(list(batch)) for batch in batches._Batches([*chat, *chat, *lone])] == [5, 5, 3, 3, 1]


TRIGGERS = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' ORDER BY name"


def test_what_is_newer_than_the_program_is_refused(hubs: tuple[Any, ...]) -> None:
    _, ours = hubs
    with pytest.raises(UsageError, match="version"):
        import_text(ours, '{"format":"llmctl","version":99,"schema":9,"fields":{}}\n')


def test_a_hub_is_not_imported_into_itself(hubs: tuple[Any, ...]) -> None:
    _, ours = hubs
    with pytest.raises(UsageError, match="into itself"):
        import_file(ours, ours.path)


def test_connections_that_run_commands_are_named(hubs: tuple[Any, ...]) -> None:
    theirs, ours = hubs
    HubBuilder(theirs).connection("odd", data=dumps({"key": "command:cat /etc/passwd"}))
    report = import_text(ours, export_hub(theirs))
    assert report.untrusted == ["odd"]


def test_a_hub_of_an_earlier_version_comes_in_and_stays_as_it_is(tmp_path: Path) -> None:
    old = tmp_path / "old.db"
    with closing(sqlite3.connect(old)) as connection:
        connection.executescript((Path(__file__).parent.parent / "store" / "fixtures" / "hub_1.sql").read_text())
        chats = connection.execute("SELECT count(*) FROM chats").fetchone()[0]
        version = connection.execute("PRAGMA user_version").fetchone()[0]
    with closing(new_hub(tmp_path / "ours.db")) as ours:
        report = import_file(ours, old)
        assert count_rows(ours, "chats") == [chats]
        assert not report.problem_count
        assert not sound(ours)
    with closing(sqlite3.connect(old)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone()[0] == version < ddl.VERSION
