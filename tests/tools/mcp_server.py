"""A small MCP server over stdio; what it answers is in the JSON file of its first argument, read at each request."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any


def main() -> None:
    path = sys.argv[1]
    for line in sys.stdin:
        message = json.loads(line)
        with open(path, encoding="utf-8") as file:
            spec = json.load(file)
        if "id" in message and (answer := build_answer(message, spec, path)) is not None:
            send({"jsonrpc": "2.0", "id": message["id"], **answer})
    time.sleep(spec.get("linger", 0))


def build_answer(message: dict[str, Any], spec: dict[str, Any], path: str) -> dict[str, Any] | None:
    match message["method"]:
        case "initialize":
            version = message["params"]["protocolVersion"]
            info = {"name": "fake", "version": "1"}
            return {"result": {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": info}}
        case "tools/list":
            return {"result": {"tools": spec["tools"]}}
        case "tools/call":
            for notification in spec.get("notifications", ()):
                send(notification)
            if spec.get("crash") and not os.path.exists(path + ".crashed"):
                open(path + ".crashed", "w").close()
                print("Traceback (most recent call last):\n  File x\nValueError: out of cheese", file=sys.stderr)
                sys.exit(3)
            time.sleep(spec.get("delay", 0))
            echo = {"content": [{"type": "text", "text": json.dumps(message["params"])}]}
            return {"result": spec.get("result", echo)}
    return {"error": {"code": -32601, "message": "no"}}


def send(message: Any) -> None:
    print(json.dumps(message), flush=True)


if __name__ == "__main__":
    main()
