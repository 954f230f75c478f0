"""Databases of ``@node-llm/orm``, made by the SQL that Prisma writes for its three schema versions."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import Any

#: Columns by version: S0 (unprefixed models), v0.2 (thinking), v0.5 and later (sessions, correction rounds).
VERSIONS = ("s0", "v02", "v07")
_PREFIX = {"s0": "", "v02": "Llm", "v07": "Llm"}

_SQL = """
CREATE TABLE "{p}Chat" (
    "id" TEXT NOT NULL PRIMARY KEY, "model" TEXT, "provider" TEXT, "instructions" TEXT, "metadata" {json},
    "createdAt" DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP, "updatedAt" DATETIME NOT NULL{chat}
);
CREATE TABLE "{p}Message" (
    "id" TEXT NOT NULL PRIMARY KEY, "chatId" TEXT NOT NULL, "role" TEXT NOT NULL, "content" TEXT, "contentRaw" TEXT,
    "reasoning" TEXT,{thinking} "inputTokens" INTEGER, "outputTokens" INTEGER, "modelId" TEXT, "provider" TEXT,
    "createdAt" DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,
    CONSTRAINT "{p}Message_chatId_fkey" FOREIGN KEY ("chatId")
    REFERENCES "{p}Chat" ("id") ON DELETE CASCADE ON UPDATE CASCADE
);
CREATE TABLE "{p}ToolCall" (
    "id" TEXT NOT NULL PRIMARY KEY, "messageId" TEXT NOT NULL, "toolCallId" TEXT NOT NULL, "name" TEXT NOT NULL,
    "arguments" TEXT NOT NULL, "thought" TEXT,{signature} "result" TEXT,
    "createdAt" DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,
    CONSTRAINT "{p}ToolCall_messageId_fkey" FOREIGN KEY ("messageId")
    REFERENCES "{p}Message" ("id") ON DELETE CASCADE ON UPDATE CASCADE
);
CREATE TABLE "{p}Request" (
    "id" TEXT NOT NULL PRIMARY KEY, "chatId" TEXT NOT NULL, "messageId" TEXT, "provider" TEXT NOT NULL,
    "model" TEXT NOT NULL, "statusCode" INTEGER NOT NULL, "duration" INTEGER NOT NULL, "inputTokens" INTEGER NOT NULL,
    "outputTokens" INTEGER NOT NULL, "cost" REAL,{rounds} "createdAt" DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,
    CONSTRAINT "{p}Request_chatId_fkey" FOREIGN KEY ("chatId")
    REFERENCES "{p}Chat" ("id") ON DELETE CASCADE ON UPDATE CASCADE,
    CONSTRAINT "{p}Request_messageId_fkey" FOREIGN KEY ("messageId")
    REFERENCES "{p}Message" ("id") ON DELETE CASCADE ON UPDATE CASCADE
);
CREATE INDEX "{p}Message_chatId_idx" ON "{p}Message"("chatId");
CREATE TABLE "_prisma_migrations" ("id" TEXT NOT NULL PRIMARY KEY, "checksum" TEXT NOT NULL);
INSERT INTO _prisma_migrations VALUES ('1', 'abc');
"""
_SESSION = """
CREATE TABLE "LlmAgentSession" (
    "id" TEXT NOT NULL PRIMARY KEY, "agentClass" TEXT NOT NULL, "chatId" TEXT NOT NULL, "metadata" JSONB,
    "createdAt" DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP, "updatedAt" DATETIME NOT NULL,
    CONSTRAINT "LlmAgentSession_chatId_fkey" FOREIGN KEY ("chatId")
    REFERENCES "LlmChat" ("id") ON DELETE CASCADE ON UPDATE CASCADE
);
CREATE UNIQUE INDEX "LlmAgentSession_chatId_key" ON "LlmAgentSession"("chatId");
"""
_UNIQUE = 'CREATE UNIQUE INDEX "LlmToolCall_messageId_toolCallId_key" ON "LlmToolCall"("messageId", "toolCallId");'


def to_table_name(version: Any, name: str) -> Any:
    """Return the name of a model in a version: ``Message`` or ``LlmMessage``."""
    return _PREFIX[version] + name


def make_orm_hub(path: str, version: str = "v07", *, chat: str = "", snake: bool = False) -> str:
    """Make an empty database of that version; ``chat`` adds columns to the chats, ``snake`` maps the columns."""
    later = version != "s0"
    sql = _SQL.format(
        p=_PREFIX[version],
        chat=chat,
        json="JSONB" if later else "TEXT",
        thinking=' "thinkingText" TEXT, "thinkingSignature" TEXT, "thinkingTokens" INTEGER,' if later else "",
        signature=' "thoughtSignature" TEXT,' if later else "",
        rounds=' "correctionRounds" INTEGER,' if version == "v07" else "",
    )
    sql += (_UNIQUE if later else "") + (_SESSION if version == "v07" else "")
    if snake:
        for name in ("chatId", "createdAt", "updatedAt", "contentRaw", "thinkingText", "thinkingSignature",
                     "thinkingTokens", "inputTokens", "outputTokens", "modelId", "messageId", "toolCallId",
                     "thoughtSignature", "statusCode", "correctionRounds", "agentClass"):  # fmt: skip
            sql = sql.replace(f'"{name}"', '"' + "".join(f"_{c.lower()}" if c.isupper() else c for c in name) + '"')
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(sql)
    return path


def fill_orm_hub(path: str, version: str = "v07", *, times: str = "text", snake: bool = False) -> None:
    """Write two chats: one with a tool call, one with several answers in the same millisecond."""
    time = {"text": "2025-03-04T05:06:07.{:03d}+00:00", "z": "2025-03-04T05:06:07.{:03d}Z"}.get(times)

    def at(ms: Any) -> Any:
        return time.format(ms) if time else 1741064767000 + ms

    rows = {
        "Chat": [
            ("c1", {"model": "gpt-4o", "provider": "openai", "instructions": "be brief", "metadata": '{"user":"u1"}',
                    "createdAt": at(1), "updatedAt": at(2)}),
            ("c2", {"metadata": "null" if version != "s0" else "just a note", "createdAt": at(3), "updatedAt": at(3)}),
        ],
        "Message": [
            ("m1", {"chatId": "c1", "role": "user", "content": "what time is it?", "createdAt": at(10)}),
            ("m2", {"chatId": "c1", "role": "assistant", "content": "noon", "inputTokens": 12, "outputTokens": 3,
                    "modelId": "gpt-4o", "provider": "OpenAI", "contentRaw": '{"a":1}', "createdAt": at(20)}),
            *((f"n{number}", {"chatId": "c2", "role": "user", "content": f"number {number}", "createdAt": at(30)})
              for number in range(5)),
            ("m9", {"chatId": "c2", "role": "assistant", "createdAt": at(31)}),
        ],
        "ToolCall": [
            ("t1", {"messageId": "m2", "toolCallId": "call_1", "name": "clock",
                    "arguments": json.dumps(json.dumps({"zone": "UTC"})), "result": "12:00", "createdAt": at(15)}),
        ],
        "Request": [
            ("r1", {"chatId": "c1", "messageId": "m2", "provider": "openai", "model": "gpt-4o", "statusCode": 200,
                    "duration": 0, "inputTokens": 12, "outputTokens": 3, "cost": 0, "createdAt": at(20)}),
            ("r2", {"chatId": "c1", "provider": "openai", "model": "gpt-4o", "statusCode": 200, "duration": 7,
                    "inputTokens": 1, "outputTokens": 2, "cost": 0.5, "createdAt": at(21)}),
        ],
        "AgentSession": [("s1", {"agentClass": "Clock", "chatId": "c1", "metadata": '{"k":[1]}',
                                 "createdAt": at(1), "updatedAt": at(1)})] if version == "v07" else [],
    }  # fmt: skip
    with closing(sqlite3.connect(path)) as connection, connection:
        for model, items in rows.items():
            for id, row in items:
                insert(connection, to_table_name(version, model), {"id": id} | row, snake)


def insert(connection: sqlite3.Connection, table: str, row: Any, snake: bool = False) -> None:
    """Insert a row; with ``snake`` under columns like ``chat_id``."""
    names = ["".join(f"_{c.lower()}" if c.isupper() and snake else c for c in name) for name in row]
    columns = ", ".join(f'"{name}"' for name in names)
    marks = ", ".join("?" * len(row))
    connection.execute(f'INSERT INTO "{table}" ({columns}) VALUES ({marks})', list(row.values()))
