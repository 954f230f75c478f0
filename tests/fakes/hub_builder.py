"""Build chats and turns in a hub row by row, as the recorder writes them."""

from __future__ import annotations

import os
from hashlib import sha256
from typing import Any

from llmctl.core import clock
from llmctl.core.stored_values import dumps, new_id
from llmctl.store.database import Database, Insert
from llmctl.store.schema import ddl

START = "2026-10-05T12:00:00.000+00:00"

#: Another name for every table, which must be quoted.
RENAMED = {name: f'the "{name}"' for name in ddl.TABLES}


class HubBuilder:
    """Writes rows one second apart, from :data:`START` on."""

    def __init__(self, database: Database, at: str = START) -> None:
        self.database = database
        self.now = at

    def tick(self, seconds: float = 1.0) -> str:
        self.now = clock.add_seconds(self.now, seconds)
        return self.now

    def insert(self, table: str, **row: Any) -> str:
        at = row.pop("at", None) or self.now
        row = {"id": new_id(), "created_at": at, "updated_at": at, **row}
        self.database.commit(Insert(table, row))
        return row["id"]

    def connection(self, name: str, **row: Any) -> str:
        return self.insert("model_connections", name=name, provider=row.pop("provider", "openai"), **row)

    def chat(self, name: str | None = None, **row: Any) -> dict[str, str]:
        """Create a chat; return its id and that of its thread."""
        at = self.tick()
        folder = os.path.dirname(self.database.path)
        row = {"last_turn_at": at, "last_turn_folder": folder, "model": "gpt-5", "origin": "llmctl", **row}
        chat_id = self.insert("chats", name=name, **row)
        return {"id": chat_id, "thread_id": self.insert("message_threads", chat_id=chat_id)}

    def message(self, chat: dict[str, str], role: str, content: str | None, **row: Any) -> str:
        kinds = {"assistant": "chatModel", "tool": "toolCall"}
        at = row.pop("at", None) or self.tick()
        seq = self.database.value(
            "SELECT coalesce(max(seq), 0) + 1 FROM {messages} WHERE thread_id = ?", (chat["thread_id"],)
        )
        row = {"chat_id": chat["id"], "type": kinds.get(role, role), "status": "completed", "origin": "llmctl", **row}
        return self.insert("messages", thread_id=chat["thread_id"], seq=seq, role=role, content=content, at=at, **row)

    def turn(self, chat: dict[str, str], prompt: str, answer: str, **request: Any) -> dict[str, str]:
        """Add a prompt and its answer; return the ids of all rows. Further columns are those of the request."""
        at = request.pop("at", None)
        if at:
            self.now = at
        job_id = self.insert(
            "jobs",
            name="chat",
            type="turn",
            status="completed",
            payload=dumps({"chat_id": chat["id"], "prompt": prompt}),
            result=dumps({"answer": answer}),
        )
        user_id = self.message(chat, "user", prompt, job_id=job_id, at=at)
        return {"job": job_id, "user": user_id} | self.step(chat, answer, prompt=prompt, job_id=job_id, **request)

    def step(self, chat: dict[str, str], answer: str, *, prompt: str = "", **request: Any) -> dict[str, str]:
        """One call to a model: message, request, HTTP attempt and stream."""
        parts = request.pop("parts", None)
        visible = request.pop("chat_id", chat["id"]) if parts is None else None
        request = {
            "provider": "openai",
            "model": "gpt-5",
            "connection": "work",
            "status": "completed",
            "input_tokens": 10,
            "output_tokens": 5,
            "duration": 100,
            **request,
        }
        message_id = self.message(
            chat,
            "assistant",
            answer,
            chat_id=visible,
            model_id=request["model"],
            content_raw=dumps(parts) if parts else None,
            job_id=request.get("job_id"),
        )
        request_id = self.insert(
            "requests", chat_id=chat["id"], thread_id=chat["thread_id"], message_id=message_id, origin="llmctl",
            **request,
        )  # fmt: skip
        body = dumps({"model": request["model"], "messages": [{"role": "user", "content": prompt}]})
        call_id = self.insert(
            "network_calls",
            request_id=request_id,
            endpoint="https://api.openai.com/v1/chat/completions",
            method="POST",
            body=body,
            body_hash=sha256(body.encode()).hexdigest(),
            status="success",
            request_headers=dumps({"authorization": "[redacted]", "content-type": "application/json"}),
        )
        stream_id = self.insert(
            "response_streams",
            message_id=message_id,
            request_id=request_id,
            format=dumps({"wire": "openai-chat", "provider": "openai"}),
            status=request["status"],
            raw_output=to_sse(answer, request["model"], request["input_tokens"], request["output_tokens"]),
        )
        return {"message": message_id, "request": request_id, "call": call_id, "stream": stream_id}

    def running(self, chat: dict[str, str], pieces: list[bytes], *, job_id: str | None = None) -> dict[str, str]:
        """An answer that is still being written."""
        message_id = self.message(chat, "assistant", None, chat_id=None, status="pending", job_id=job_id)
        request_id = self.insert(
            "requests", chat_id=chat["id"], thread_id=chat["thread_id"], message_id=message_id, provider="openai",
            model="gpt-5", status="pending", origin="llmctl", job_id=job_id,
        )  # fmt: skip
        stream_id = self.insert(
            "response_streams",
            message_id=message_id,
            request_id=request_id,
            format=dumps({"wire": "openai-chat", "provider": "openai"}),
        )
        for seq, piece in enumerate(pieces, 1):
            row = {"stream_id": stream_id, "seq": seq, "elapsed": seq, "data": piece}
            self.database.commit(Insert("stream_chunks", row))
        return {"message": message_id, "request": request_id, "stream": stream_id}

    def tool_turn(self, chat: dict[str, str], *, result: str = "sunny", arguments: str = '{"city":"Paris"}') -> None:
        """A turn in two steps: the model calls a tool, then answers."""
        self.message(chat, "user", "weather?")
        part = {"type": "tool_call", "id": "call_1", "name": "weather", "arguments": arguments}
        step = self.step(chat, "", prompt="weather?", parts=[part], finish_reason="tool_calls")
        log_id = self.insert("text_logs", text=f"log: {result}")
        self.insert("text_logs", text=f"more log: {result}", series_id=log_id, position=1)
        self.insert(
            "tool_invocations", message_id=step["message"], tool_call_id="call_1", provider_call_id="call_1",
            name="weather", arguments=arguments, result=result, text_log_id=log_id, origin="llmctl", duration=7,
        )  # fmt: skip
        answer = [{"type": "tool_result", "call_id": "call_1", "name": "weather", "content": result}]
        self.message(chat, "tool", "", chat_id=None, content_raw=dumps(answer))
        self.step(chat, f"It is {result}.", prompt="weather?")

    def attach(self, message_id: str, content: bytes, name: str = "note.txt") -> str:
        digest = sha256(content).hexdigest()
        known = self.database.value("SELECT id FROM {attachments} WHERE content_hash = ?", (digest,))
        attachment_id = known or self.insert(
            "attachments", name=name, media_type="text/plain", content_hash=digest, content=content, size=len(content)
        )
        self.insert("message_attachments", message_id=message_id, attachment_id=attachment_id)
        return attachment_id


def event(text: str, model: str = "gpt-5", finish: str | None = None) -> bytes:
    """Return one server-sent event of OpenAI."""
    choice = {"index": 0, "delta": {"content": text} if text else {}, "finish_reason": finish}
    return f"data: {dumps({'id': 'chatcmpl-1', 'model': model, 'choices': [choice]})}\n\n".encode()


def to_sse(answer: str, model: str, input_tokens: int | None, output_tokens: int | None) -> str:
    """Return a complete stream of OpenAI with the text ``answer``."""
    pieces = [event(word, model) for word in answer.split(" ")] + [event("", model, "stop")]
    usage = {"prompt_tokens": input_tokens, "completion_tokens": output_tokens}
    pieces.append(f"data: {dumps({'id': 'chatcmpl-1', 'model': model, 'choices': [], 'usage': usage})}\n\n".encode())
    return b"".join([*pieces, b"data: [DONE]\n\n"]).decode()
