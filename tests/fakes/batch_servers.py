"""Batch APIs on loopback: OpenAI's with files, and Anthropic's. A test says how batches end and what breaks.

api = OpenAIBatches(server)            # answers every request of the server
api.endings = ["expired"]              # of the next batches; then "completed"
"""

from __future__ import annotations

import json
from collections.abc import Callable
from email import message_from_bytes
from typing import Any

from tests.fakes.openai_server import CUT, FakeServer, Reply, Request, json_reply

#: Makes the result of a line: an answer, or None where the batch ended before it.
Answer = Callable[[dict[str, Any]], dict[str, Any] | None]


def answer_line(line: dict[str, Any]) -> dict[str, Any]:
    """Repeat the last message, for 7 tokens and one for each word."""
    said = line["body"]["messages"][-1]["content"]
    usage = {"prompt_tokens": 7, "completion_tokens": len(said.split()), "total_tokens": 7 + len(said.split())}
    message = {"index": 0, "message": {"role": "assistant", "content": f"echo: {said}"}, "finish_reason": "stop"}
    body = {"id": "cmpl-1", "object": "chat.completion", "model": line["body"]["model"], "choices": [message]}
    return {"response": {"status_code": 200, "request_id": "r", "body": {**body, "usage": usage}}, "error": None}


class OpenAIBatches:
    """OpenAI's files and batches."""

    def __init__(self, server: FakeServer) -> None:
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        #: How the next batches end; "running" ones have not ended yet.
        self.endings: list[str] = []
        self.answer: Answer = answer_line
        #: Steps to send instead of the reply to the next creation, which takes place all the same.
        self.creation: tuple[Any, ...] | None = None
        self.creation_status = 200
        #: Replies instead of creations, for the next ones.
        self.refusals: list[Reply] = []
        self.repeats_results = False
        server.answer(*[self.reply] * 100_000)

    @property
    def submitted(self) -> list[list[str]]:
        """The prompts of each batch that was created."""
        return [
            [json.loads(line)["body"]["messages"][-1]["content"] for line in self._lines(batch)]
            for batch in self.batches.values()
        ]

    def end(self, status: str = "completed") -> None:
        """End all batches that run."""
        for batch in self.batches.values():
            if batch["status"] in ("in_progress", "cancelling"):
                self._end(batch, status)

    def reply(self, request: Request) -> Reply:
        path = request.path.partition("?")[0].removeprefix("/v1")
        match request.method, path.strip("/").split("/"):
            case "POST", ["files"]:
                return json_reply(200, {"id": self._add_file(_read_file(request)), "object": "file"})
            case "GET", ["files", id, "content"]:
                data = self.files[id]
                return Reply(200, {"content-type": "application/octet-stream"}, (data,), length=len(data))
            case "POST", ["batches"]:
                return self._create(request.json)
            case "GET", ["batches"]:
                return json_reply(200, {"data": list(self.batches.values())[::-1], "has_more": False})
            case "GET", ["batches", id]:
                return json_reply(200, self.batches[id], {"retry-after": "0"})
            case "POST", ["batches", id, "cancel"]:
                self.batches[id]["status"] = "cancelling"
                return json_reply(200, self.batches[id])
        return json_reply(404, {"error": {"message": f"no {request.method} {path}"}})

    def _create(self, body: dict[str, Any]) -> Reply:
        if self.refusals:
            return self.refusals.pop(0)
        id = f"batch_{len(self.batches) + 1}"
        batch = {"id": id, "object": "batch", "status": "in_progress", **body}
        self.batches[id] = batch
        ending = self.endings.pop(0) if self.endings else "completed"
        if ending != "running":
            self._end(batch, ending)
        reply = json_reply(self.creation_status, {**batch, "status": "validating"})
        if self.creation is not None:
            steps, self.creation = self.creation, None
            return Reply(200, {"content-type": "application/json"}, steps, length=1000)
        return reply

    def _end(self, batch: dict[str, Any], status: str) -> None:
        batch["status"] = status
        if status == "token_limit_exceeded":
            batch["status"] = "failed"
            batch["errors"] = {"data": [{"code": status, "message": "Enqueued token limit reached"}]}
        if batch["status"] == "failed":
            batch.setdefault("errors", {"data": [{"code": "invalid", "message": "bad model", "line": 1}]})
            return
        output: list[dict[str, Any]] = []
        errors: list[dict[str, Any]] = []
        for line in map(json.loads, self._lines(batch)):
            result = self.answer(line)
            if result is None:
                code = "batch_cancelled" if status == "cancelled" else "batch_expired"
                result = {"response": None, "error": {"code": code, "message": code}}
            (errors if result["error"] else output).append({"custom_id": line["custom_id"], **result})
        for name, found in (("output", output), ("error", errors)):
            lines = found[::-1] * (2 if self.repeats_results else 1)
            if lines:
                data = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
                batch[f"{name}_file_id"] = self._add_file(data)
        batch["request_counts"] = {"total": len(output) + len(errors), "completed": len(output), "failed": len(errors)}

    def _add_file(self, data: bytes) -> str:
        id = f"file-{len(self.files) + 1}"
        self.files[id] = data
        return id

    def _lines(self, batch: dict[str, Any]) -> list[bytes]:
        return self.files[batch["input_file_id"]].splitlines()


def _read_file(request: Request) -> bytes:
    head = f"Content-Type: {request.headers['content-type']}\r\n\r\n".encode()
    parts: Any = message_from_bytes(head + request.body).get_payload()
    found = [part for part in parts if part.get_param("name", header="content-disposition") == "file"]
    data: bytes = found[0].get_payload(decode=True)
    return data


class AnthropicBatches:
    """Anthropic's message batches: nothing but the results says whose they are."""

    def __init__(self, server: FakeServer) -> None:
        self.batches: dict[str, dict[str, Any]] = {}
        self.requests: dict[str, list[dict[str, Any]]] = {}
        self.loses_reply = False
        server.answer(*[self.reply] * 100_000)

    def end(self) -> None:
        for id, batch in self.batches.items():
            batch |= {"processing_status": "ended", "request_counts": {"succeeded": len(self.requests[id])}}

    def reply(self, request: Request) -> Reply:
        path = request.path.partition("?")[0].removeprefix("/v1/messages/batches").strip("/")
        match request.method, path.split("/"):
            case "POST", [""]:
                id = f"msgbatch_{len(self.batches) + 1}"
                self.requests[id] = request.json["requests"]
                counts = {"processing": len(self.requests[id])}
                self.batches[id] = {"id": id, "processing_status": "in_progress", "request_counts": counts}
                if self.loses_reply:
                    self.loses_reply = False
                    return Reply(200, {}, (CUT,))
                return json_reply(200, self.batches[id])
            case "GET", [""]:
                return json_reply(200, {"data": list(self.batches.values())})
            case "GET", [id]:
                return json_reply(200, self.batches[id], {"retry-after": "0"})
            case "GET", [id, "results"]:
                data = b"".join(map(self._result, self.requests[id]))
                return Reply(200, {"content-type": "application/x-jsonl"}, (data,), length=len(data))
        return json_reply(404, {"error": {"message": f"no {request.method} {path}"}})

    def _result(self, one: dict[str, Any]) -> bytes:
        said = one["params"]["messages"][-1]["content"]
        text = said if isinstance(said, str) else said[0]["text"]
        usage = {"input_tokens": 10, "output_tokens": 5, "service_tier": "batch"}
        message = {
            **{"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-haiku-4-5", "usage": usage},
            **{"content": [{"type": "text", "text": f"echo: {text}"}], "stop_reason": "end_turn"},
        }
        return (
            json.dumps({"custom_id": one["custom_id"], "result": {"type": "succeeded", "message": message}}).encode()
            + b"\n"
        )
