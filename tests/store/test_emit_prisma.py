"""The emitted Prisma schema, as Prisma's own parser sees it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llmctl.store.emit import prisma
from llmctl.store.schema import introspect
from tests.harness import TIMEOUT_S
from tests.store.sample_hubs import ODD_NAMES, USER_SQL, make_hub, read_catalog

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.fakes import npm

VERSIONS = {
    6: "@prisma/prisma-schema-wasm@6.19.0-26.2ba551f319ab1df4bc874a89965d8b3641056773",
    7: "@prisma/prisma-schema-wasm@7.10.0-4.0edf323efd1d98336f3f0a68684b56f689b900d3",
}
PROVIDERS = ("sqlite", "postgresql", "mysql")
#: The models of the record design and of NodeLLM, by table.
MODELS = {
    "user_settings": "UserSettings",
    "metrics": "Metric",
    "text_logs": "TextLog",
    "network_calls": "NetworkCall",
    "jobs": "Job",
    "model_connections": "ModelConnection",
    "chats": "Chat",
    "message_threads": "MessageThread",
    "messages": "Message",
    "rendered_conversation_threads": "RenderedConversationThread",
    "response_streams": "ResponseStream",
    "requests": "Request",
    "tools": "Tool",
    "tool_invocations": "ToolInvocation",
    "agents": "Agent",
    "agent_tool_connections": "AgentToolConnection",
    "agent_sessions": "AgentSession",
    "attachments": "Attachment",
    "message_attachments": "MessageAttachment",
    "permission_rules": "PermissionRule",
    "model_prices": "ModelPrice",
    "model_aliases": "ModelAlias",
}


class Parser:
    """Prisma's parser in a process of its own."""

    def __init__(self, major: Any) -> None:
        folder = npm.packages(VERSIONS[major])
        script = Path(__file__).with_name("prisma_parser.mjs")
        self._process = subprocess.Popen(
            ["node", str(script), str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def read(self, text: str) -> Any:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(text) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def models(self, text: str) -> dict[Any, Any]:
        """Return the models of a valid schema by name, their fields by name."""
        said = self.read(text)
        assert said["error"] is None
        return {model["name"]: {field["name"]: field for field in model["fields"]} for model in said["models"]}

    def close(self) -> None:
        self._process.communicate(timeout=TIMEOUT_S)


@pytest.fixture(scope="module")
def parsers() -> Iterator[Any]:
    running = {}

    def parser(major: int = 7) -> Any:
        if major not in running:
            running[major] = Parser(major)
        return running[major]

    yield parser
    for one in running.values():
        one.close()


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return read_catalog(make_hub(str(tmp_path_factory.mktemp("plain") / "hub.db")))


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return read_catalog(make_hub(str(tmp_path_factory.mktemp("odd") / "hub.db"), ODD_NAMES, USER_SQL))


def lines(text: str, model: Any) -> list[str]:
    """Return the lines of a model without padding, comments and empty ones."""
    body = text.split(f"\nmodel {model} {{\n")[1].split("\n}")[0]
    return [" ".join(line.split()) for line in body.splitlines() if line.strip() and not line.strip().startswith("//")]


@pytest.mark.parametrize("major", [6, 7])
@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("dress", ["hub", "nodellm"])
@pytest.mark.parametrize("kind", ["plain", "odd"])
def test_schema_is_valid_and_formatted(
    request: pytest.FixtureRequest, parsers: Any, kind: str, dress: Any, provider: Any, major: Any
) -> None:
    catalogue, names = request.getfixturevalue(kind)
    text = prisma.emit(catalogue, names, dress=dress, provider=provider, major=major)
    said = parsers(major).read(text)
    assert said["error"] is None
    assert said["lint"] == []
    assert said["formatted"] == text


def test_parser_refuses_what_is_wrong(parsers: Any, plain: Any) -> None:
    """The tests above can fail: the parser looks at what it is given."""
    text = prisma.emit(*plain)
    assert "url" in parsers(6).read(text)["error"]
    assert "Message" in parsers(7).read(text.replace("\nmodel Message {", "\nmodel Massage {"))["error"]
    assert parsers(7).read(text.replace("id String", "id   String"))["formatted"] == text.replace(
        "id String", "id String"
    )
    assert parsers(7).read(text.replace("  key   String", "  key String"))["formatted"] == text


def test_models_have_the_names_of_the_design(parsers: Any, plain: Any) -> None:
    models = parsers().models(prisma.emit(*plain))
    assert set(MODELS.values()) <= set(models)
    for name in MODELS.values():
        fields = models[name]
        assert [fields[f]["type"] for f in ("id", "references", "createdAt", "updatedAt")] == [
            *("String", "Json", "DateTime", "DateTime")
        ]
        assert fields["references"]["dbName"] == "refs"
        assert fields["id"]["default"] == {"name": "uuid", "args": [4]}
        assert fields["updatedAt"]["isUpdatedAt"]


def test_fields_are_camel_case_and_mapped(plain: Any) -> None:
    text = prisma.emit(*plain)
    assert '@@map("tool_invocations")' in lines(text, "ToolInvocation")
    assert 'toolCallId String @map("tool_call_id")' in lines(text, "ToolInvocation")
    assert not [line for line in text.splitlines() if "_" in line.split("@")[0].split("///")[0]]


def test_defaults_are_those_of_the_database(plain: Any) -> None:
    fields = lines(prisma.emit(*plain), "Job")
    now = "@default(dbgenerated(\"strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')\"))"
    assert f'createdAt DateTime {now} @map("created_at")' in fields
    assert f'updatedAt DateTime {now} @updatedAt @map("updated_at")' in fields
    assert 'references Json @default("{}") @map("refs")' in fields
    assert 'status String @default("pending")' in fields
    assert "attempts Int @default(1)" in fields
    assert 'lastTurnTerminal Boolean @default(false) @map("last_turn_terminal")' in lines(prisma.emit(*plain), "Chat")


def test_comments_go_along(plain: Any) -> None:
    text = prisma.emit(*plain)
    assert "/// A tracked job: a turn, a batch or a command.\nmodel Job {" in text
    assert "  /// Position in the thread, from 1.\n  seq " in text


def test_relations_stand_on_both_sides(plain: Any) -> None:
    text = prisma.emit(*plain)
    message, chat, thread = (lines(text, model) for model in ("Message", "Chat", "MessageThread"))
    assert "chat Chat? @relation(fields: [chatId], references: [id], onDelete: Cascade)" in message
    assert "job Job? @relation(fields: [jobId], references: [id], onDelete: SetNull)" in message
    assert "requests Request[]" in message
    assert {"messages Message[]", "requests Request[]", "agentSession AgentSession?"} <= set(chat)
    relation = '@relation("MessageThreadParent", fields: [parentId], references: [id], onDelete: SetNull)'
    assert f"parent MessageThread? {relation}" in thread
    assert 'children MessageThread[] @relation("MessageThreadParent")' in thread


def test_uniques_carry_their_names(plain: Any) -> None:
    text = prisma.emit(*plain)
    assert '@@unique([messageId, toolCallId], map: "tool_invocations_message_call")' in lines(text, "ToolInvocation")
    assert 'name String? @unique(map: "chats_name")' in lines(text, "Chat")
    assert '@@index([chatId, createdAt], map: "messages_chat_id_created_at")' in lines(text, "Message")
    assert "@@id([streamId, seq])" in lines(text, "StreamChunk")


#: NodeLLM's reference (0.8.0): model -> field -> type; "?" for what may be missing.
REFERENCE = {
    "LlmChat": "id String, model String?, provider String?, instructions String?, metadata Json?, createdAt DateTime,"
    " updatedAt DateTime, messages LlmMessage[], requests LlmRequest[], agentSession LlmAgentSession?",
    "LlmAgentSession": "id String, agentClass String, chatId String, metadata Json?, createdAt DateTime,"
    " updatedAt DateTime, chat LlmChat",
    "LlmMessage": "id String, chatId String, role String, content String?, contentRaw String?, reasoning String?,"
    " thinkingText String?, thinkingSignature String?, thinkingTokens Int?, inputTokens Int?, outputTokens Int?,"
    " modelId String?, provider String?, createdAt DateTime, chat LlmChat, toolCalls LlmToolCall[],"
    " requests LlmRequest[]",
    "LlmToolCall": "id String, messageId String, toolCallId String, name String, arguments String, thought String?,"
    " thoughtSignature String?, result String?, createdAt DateTime, message LlmMessage",
    "LlmRequest": "id String, chatId String, messageId String?, provider String, model String, statusCode Int,"
    " duration Int, inputTokens Int, outputTokens Int, cost Float?, correctionRounds Int?, createdAt DateTime,"
    " chat LlmChat, message LlmMessage?",
}
#: What may be missing here and not there; a relation may where its field may.
OPTIONAL_HERE = {
    *("LlmMessage.chatId", "LlmMessage.chat", "LlmToolCall.messageId", "LlmToolCall.message"),
    *("LlmRequest.chatId", "LlmRequest.chat", "LlmRequest.statusCode", "LlmRequest.duration"),
    *("LlmRequest.inputTokens", "LlmRequest.outputTokens"),
}


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("kind", ["plain", "odd"])
def test_nodellm_has_every_field_of_the_reference(
    request: pytest.FixtureRequest, parsers: Any, kind: str, provider: Any
) -> None:
    catalogue, names = request.getfixturevalue(kind)
    models = parsers().models(prisma.emit(catalogue, names, dress="nodellm", provider=provider))
    for model, text in REFERENCE.items():
        for name, expected in (entry.split() for entry in text.split(", ")):
            field = models[model][name]
            mark = "[]" if field["isList"] else "" if field["isRequired"] else "?"
            permitted = {expected, f"{expected}?"} if f"{model}.{name}" in OPTIONAL_HERE else {expected}
            assert field["type"] + mark in permitted, f"{model}.{name}"


def test_nodellm_writes_only_what_it_must(parsers: Any, plain: Any) -> None:
    """Whatever the ORM leaves out of a row has a default or may be missing."""
    written = {
        "LlmChat": "model provider instructions metadata",
        "LlmMessage": "chatId role content",
        "LlmToolCall": "messageId toolCallId name arguments thought thoughtSignature",
        "LlmRequest": "chatId messageId provider model statusCode duration inputTokens outputTokens cost",
        "LlmAgentSession": "agentClass chatId metadata",
    }
    models = parsers().models(prisma.emit(*plain, dress="nodellm"))
    assert written
    for model, fields in written.items():
        needed = {
            field["name"]
            for field in models[model].values()
            if field["isRequired"]
            and not field["hasDefaultValue"]
            and not field["isList"]
            and field["kind"] != "object"
        }
        assert needed - {"updatedAt"} <= set(fields.split()), model


def test_custom_fields_and_tables_of_others_are_there(parsers: Any, odd: Any) -> None:
    models = parsers().models(prisma.emit(*odd, dress="nodellm"))
    chat, message = models["LlmChat"], models["LlmMessage"]
    assert [chat[f]["type"] for f in ("userId", "tenantId", "paid")] == ["String", "Int", "Boolean"]
    assert (message["seen"]["type"], message["field2ndKey"]["type"]) == ("DateTime", "Json")
    # What has the name of a relation gives way to it.
    assert (chat["messages"]["type"], chat["messages2"]["dbName"]) == ("LlmMessage", "messages")
    assert (message["chat"]["type"], message["chat2"]["dbName"]) == ("LlmChat", "chat")
    assert models["Message"]["message"]["type"] == "LlmMessage"
    assert "messages" in message


def test_tables_under_other_names_keep_their_models(odd: Any) -> None:
    text = prisma.emit(*odd)
    for model, table in (("Chat", "My Chats"), ("Message", "order"), ("Agent", "chats"), ("Tool", "chat's")):
        assert f'@@map("{table}")' in lines(text, model)
    assert "model LlmToolCall" not in text
    assert '@@map("select")' in lines(text, "Job")


def test_tables_of_other_programs_are_recognized(odd: Any) -> None:
    text = prisma.emit(*odd)
    assert '@@map("Message")' in lines(text, "Message2")
    assert '@@map("jobs")' in lines(text, "Jobs")
    assert {"@@ignore", 'b Unsupported("uuid")?'} <= set(lines(text, "Class"))
    assert "b String?" in lines(prisma.emit(*odd, provider="postgresql"), "Class")
    keys = "fields: [messageId], references: [id], onDelete: NoAction, onUpdate: NoAction"
    assert f"message Message? @relation({keys})" in lines(text, "Message2")
    assert '@@index([userId(sort: Desc)], map: "my_user")' in lines(text, "Chat")


def test_any_name_is_written_so_that_it_can_be_read(tmp_path: Path, parsers: Any) -> None:
    name = 'say "hi" \\ \t there'
    catalogue, names = read_catalog(make_hub(str(tmp_path / "hub.db"), {"jobs": name}))
    said = parsers().read(prisma.emit(catalogue, names))
    assert said["error"] is None
    assert name in [model["dbName"] for model in said["models"]]


def test_postgresql_has_its_own_types(plain: Any) -> None:
    text = prisma.emit(*plain, provider="postgresql")
    assert "strftime" not in text
    assert 'createdAt DateTime @default(now()) @map("created_at") @db.Timestamptz(3)' in lines(text, "Chat")
    assert "cost Float?" in lines(text, "Request")
    assert "content Bytes?" in lines(text, "Attachment")


def test_mysql_has_room_for_long_text_and_short_keys(plain: Any) -> None:
    text = prisma.emit(*plain, provider="mysql")
    assert "strftime" not in text
    assert "content String? @db.LongText" in lines(text, "Message")
    assert "text String @default(dbgenerated(\"('')\")) @db.LongText" in lines(text, "TextLog")
    assert 'chatId String? @map("chat_id")' in lines(text, "Message")
    assert 'createdAt DateTime @default(now()) @map("created_at") @db.DateTime(3)' in lines(text, "Chat")
    # Seven columns in one key: MySQL allows 3072 bytes.
    assert "model String @db.VarChar(126)" in lines(text, "UsageHourly")


def test_prisma_6_has_the_address_in_the_schema(plain: Any) -> None:
    assert '\n  url      = "file:/home/me/hub.db"\n' in prisma.emit(*plain, major=6, url="file:/home/me/hub.db")
    assert '\n  url      = env("DATABASE_URL")\n' in prisma.emit(*plain, major=6, provider="mysql")
    assert "url" not in prisma.emit(*plain, major=7, url="file:/home/me/hub.db").split("}\n\n///")[0]


def test_config_names_the_search_tables_as_external(plain: Any) -> None:
    catalogue, _ = plain
    text = prisma.emit_config(catalogue, url='file:/home/me/a "hub".db')
    assert 'url: "file:/home/me/a \\"hub\\".db"' in text
    assert "externalTables: true" in text
    for table in ("", "_data", "_idx", "_docsize", "_config"):
        assert f'"message_search{table}"' in text
    assert 'import { defineConfig } from "prisma/config";' in text


def test_config_of_other_databases_reads_their_address_from_the_environment(plain: Any) -> None:
    text = prisma.emit_config(plain[0], provider="postgresql")
    assert 'url: env("DATABASE_URL")' in text
    assert 'import { defineConfig, env } from "prisma/config";' in text
    assert "external" not in text


def test_no_index_is_partial() -> None:
    """Prisma cannot describe a database that has one: its query quotes the name of the index as a column."""
    tables = introspect.describe_schema().tables
    assert tables
    assert [index.name for table in tables for index in table.indexes if not index.is_plain] == []
