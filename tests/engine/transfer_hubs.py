"""Export and import of hubs within this process."""

from __future__ import annotations

import io
from contextlib import closing
from pathlib import Path
from typing import Any

from llmctl.core.stored_values import dumps
from llmctl.engine.transfer import export, import_
from llmctl.engine.transfer.export import ExportOptions
from llmctl.store.database import Database
from llmctl.store.opening import create, open_hub
from llmctl.store.schema import custom_names
from tests.fakes.hub_builder import HubBuilder

EVERYTHING = ExportOptions(everything=True)


def new_hub(path: str | Path, names: Any = None) -> Database:
    """Make an empty hub and open it."""
    create(str(path), names or {})
    return open_hub(str(path), "write")


def export_hub(database: Database, wish: Any = None) -> str:
    """Return an export as text; the whole hub as jsonl if nothing else is wished for."""
    wish = wish or ExportOptions(everything=True)
    return "".join(export.stream_export(database, wish, export.select_rows(database, wish)))


def import_text(database: Database, text: str, **more: Any) -> Any:
    """Import a text; return the report."""
    return import_.import_source(database, import_.from_stream(io.BufferedReader(io.BytesIO(text.encode()))), **more)


def import_file(database: Database, path: str | Path, **more: Any) -> Any:
    return import_.import_source(database, import_.from_file(str(path)), **more)


def count_rows(database: Database, *tables: str) -> list[Any]:
    return [database.value(f"SELECT count(*) FROM {{{table}}}") for table in tables]


def round_trip(text: str, path: str | Path, names: Any = None) -> Any:
    """Return what an export gives when it is imported into an empty hub and exported again."""
    with closing(new_hub(path, names)) as database:
        import_text(database, text)
        return export_hub(database)


def fill_hub(database: Database) -> dict[str, Any]:
    """Write a row of everything there is; return the chats by name."""
    rows = HubBuilder(database)
    custom_names.add_fields(
        database,
        [custom_names.parse_field("chats.user_id:text"), custom_names.parse_field("requests.billed:boolean")],
    )
    price = rows.insert("model_prices", provider="openai", model="gpt-5", source="mine", input_per_million=1.25)
    connection = rows.connection("work", model_id="gpt-5", data=dumps({"key": "env:OPENAI_API_KEY", "headers": {}}))
    rows.insert("model_aliases", name="smart", target="work", options=dumps({"temperature": 0.5}))
    tool = rows.insert("tools", name="weather", type="python", schema=dumps({"type": "object"}))
    agent = rows.insert("agents", name="helper", chat_model_id=connection, instructions="help", refs=dumps({"t": tool}))
    rows.insert("agent_tool_connections", agent_id=agent, tool_id=tool, permission="user-permitted")
    rows.insert("permission_rules", agent_id=agent, tool_id=tool, effect="deny")
    rows.insert("metrics", name="speed", value=1 / 3, dimensions=dumps({"where": "here"}))
    rows.insert("text_logs", text="on its own")
    job = rows.insert("jobs", name="map", type="map", status="completed")
    batch = rows.insert("provider_batches", job_id=job, connection="work", provider="openai", marker="m1")
    first = rows.chat("first", source_id=connection, user_id="u_1", metadata=dumps({"a": [1, 2.5, None, "ü"]}))
    turn = rows.turn(first, "what?", "that", cost=0.1 + 0.2, price_id=price, billed=1, tag="t")
    rows.tool_turn(first)
    rows.attach(turn["user"], b"\x00\xff bytes", "odd.bin")
    rows.insert("rendered_conversation_threads", thread_id=first["thread_id"], messages='[{"type":"user"}]', upto_seq=1)
    fork = rows.chat("fork", type="agent", source_id=agent)
    rows.database.execute(
        "UPDATE {message_threads} SET parent_id = ?, parent_seq = 1 WHERE id = ?",
        (first["thread_id"], fork["thread_id"]),
    )
    session = rows.insert("agent_sessions", agent_class="helper", chat_id=fork["id"])
    rows.turn(fork, "go on", "gone on", session_id=session, status="failed", error="no", input_tokens=None)
    rows.insert("permission_rules", chat_id=fork["id"], tool_id=tool, effect="deny")
    running = rows.chat(None)
    rows.running(running, [b"data: {", b"\xf0\x9f"])
    rows.insert("requests", provider="openai", model="text-embedding", type="embedding", origin="orm", cost=0)
    rows.database.execute("UPDATE {chats} SET superseded_by = ? WHERE id = ?", (fork["id"], first["id"]))
    item = {"job_id": job, "batch_id": batch, "input_hash": "ab", "input": '{"city":"Paris"}'}
    rows.insert("map_items", **item, position=1, custom_id="1", status="completed", request_id=turn["request"])
    rows.insert("network_calls", endpoint="https://example.org", method="GET", request_headers="{}")
    return {"first": first, "fork": fork, "running": running}
