"""What is emitted for programs in other languages: TypeScript, JSON Schema, Drizzle, TypeORM."""

from __future__ import annotations

import json
import re
from contextlib import closing
from typing import Any

import jsonschema_rs
import pytest

from llmctl.core.stored_values import new_id
from llmctl.store.database import Insert, Serializer
from llmctl.store.emit import EMITTERS
from llmctl.store.opening import open_hub
from tests.harness import Llmctl
from tests.store.sample_hubs import ODD_NAMES, USER_SQL, make_hub, read_catalog


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return make_hub(str(tmp_path_factory.mktemp("plain") / "hub.db"))


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return read_catalog(make_hub(str(tmp_path_factory.mktemp("odd") / "hub.db"), ODD_NAMES, USER_SQL))


def emit(format: Any, kind: Any, **options: Any) -> Any:
    return EMITTERS.load(format)(*kind, **options)


def test_typescript_names_records_fields_and_closed_sets(path: Any, odd: Any) -> None:
    text = emit("typescript", read_catalog(path))
    assert "/** A conversation with a model or an agent. */\nexport interface Chat {\n  id: string;\n" in text
    assert "  references: Record<string, string>;\n" in text
    assert '  status: "pending" | "completed" | "incomplete" | "interrupted";\n' in text
    assert "  last_turn_terminal: boolean;\n" in text
    assert "  cost?: number | null;\n" in text
    assert '  "My Chats": Chat;\n' in emit("typescript", odd)
    assert '  "2nd key"?: Json | null;\n' in emit("typescript", odd)


def test_json_schema_takes_records_and_refuses_others(path: Any) -> None:
    document = json.loads(emit("json-schema", read_catalog(path)))
    with closing(open_hub(path, "write")) as hub:
        hub.commit(Insert("jobs", {"id": new_id(), "name": "n", "type": "turn"}))
        row = hub.one("SELECT * FROM {jobs}")
        assert row
        record = Serializer(hub, "jobs").to_record(row)
    job = jsonschema_rs.validator_for({**document, "$ref": "#/$defs/Job"})
    assert job.is_valid(record)
    for wrong in ({"status": "lost"}, {"references": {"a": 1}}, {"pid": "7"}, {"created_at": None}):
        assert not job.is_valid(record | wrong), wrong


@pytest.mark.parametrize(
    ("dialect", "expected"),
    [
        ("sqlite", "lastTurnTerminal: integer(\"last_turn_terminal\", { mode: 'boolean' }).notNull().default(false),"),
        ("postgresql", 'cost: doublePrecision("cost"),'),
        ("mysql", "agent: varchar(\"agent\", { length: 126 }).notNull().default(sql`''`),"),
    ],
)
def test_drizzle_says_the_same_of_every_database(path: Any, dialect: str, expected: str) -> None:
    text = emit("drizzle", read_catalog(path), dialect=dialect)
    assert expected in text
    assert re.search(
        r"chatId: \w+\(\"chat_id\".*\)\.references\(\(\): Any\w+Column => chats\.id, \{ onDelete: 'set null'", text
    )
    assert 'uniqueIndex("messages_thread_seq").on(table.threadId, table.seq),' in text
    assert "messages: many(messages)," in text


def test_drizzle_keeps_clear_of_words_of_the_language(odd: Any) -> None:
    text = emit("drizzle", odd)
    assert 'export const class2 = sqliteTable("Class", {' in text
    assert 'index("my_user").on(desc(table.userId)),' in text


def test_typeorm_leaves_times_of_a_hub_as_they_are(path: Any) -> None:
    assert "type: 'text', default: () => `(strftime" in emit("typeorm", read_catalog(path))
    assert "type: 'timestamp with time zone', precision: 3" in emit("typeorm", read_catalog(path), dialect="postgresql")


def test_typeorm_has_relations_both_ways_and_leaves_out_what_has_no_key(odd: Any) -> None:
    text = emit("typeorm", odd)
    assert "  @ManyToOne(() => Chat, (other) => other.messages, { nullable: true, onDelete: 'CASCADE'" in text
    assert "  @OneToMany(() => Message, (other) => other.chat)\n  messages!: Relation<Message[]>;\n" in text
    assert "// left out: Class, which has no primary key\n" in text
    assert "class Class " not in text


def test_dialect_is_refused_where_there_is_none(llmctl: Llmctl) -> None:
    done = llmctl("schema", "emit", "typescript", "--dialect", "mysql")
    assert done.returncode == 2
    assert "--dialect is for sql, drizzle, typeorm, not typescript" in done.stderr
    assert llmctl("schema", "emit", "typeorm", "--dialect", "mysql").stdout.startswith("import { Check, Column,")


@pytest.mark.parametrize("dialect", ["postgresql", "mysql"])
def test_drizzle_names_every_constraint_within_the_limit(path: Any, dialect: str) -> None:
    text = emit("drizzle", read_catalog(path), dialect=dialect)
    keys = re.findall(r"primaryKey\(\{ (.*?)columns", text)
    assert keys
    assert all(re.fullmatch(r'name: "\w{1,63}", ', key) for key in keys)


def test_emitted_code_says_that_synchronizing_breaks_a_hub(path: Any) -> None:
    assert "// For queries. Do not run drizzle-kit push or pull on a hub" in emit("drizzle", read_catalog(path))
    assert "// For queries: keep `synchronize` off." in emit("typeorm", read_catalog(path))
