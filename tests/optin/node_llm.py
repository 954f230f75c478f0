"""The real ``@node-llm/orm`` on a hub, and Prisma's own drift check: a node project made for one hub and one dress."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.fakes import npm

HERE = Path(__file__).parent
ENGINE = "7.10.0-4.0edf323efd1d98336f3f0a68684b56f689b900d3"
PACKAGES = (
    *("prisma@7.10.0", "@prisma/client@7.10.0", "@prisma/adapter-libsql@7.10.0"),
    *("@node-llm/orm@0.8.0", "@node-llm/core@1.17.1", "esbuild@0.25.12", f"@prisma/schema-engine-wasm@{ENGINE}"),
)
#: Options that give the ORM the hub's own model names; it knows those of the other style.
TABLES = {
    "hub": {
        "chat": "chat",
        "message": "message",
        "toolCall": "toolInvocation",
        "request": "request",
        "agentSession": "agentSession",
    },
    "nodellm": {},
}


class Project:
    """A folder with the emitted schema, the client that Prisma generates of it, and the ORM."""

    def __init__(self, folder: Path, hub: str, dress: str, schema: str, config: str) -> None:
        self.folder = folder
        self.hub = hub
        self.dress = dress
        folder.mkdir(parents=True)
        (folder / "node_modules").symlink_to(npm.packages(*PACKAGES) / "node_modules")
        # Next to the project instead of in the packages that other tests share.
        own = schema.replace('"prisma-client-js"\n', '"prisma-client-js"\n  output   = "./client"\n')
        (folder / "schema.prisma").write_text(own)
        (folder / "prisma.config.ts").write_text(config)
        (folder / "package.json").write_text('{"private": true, "type": "module"}\n')
        for script in HERE.glob("*.mjs"):
            (folder / script.name).write_text(script.read_text())

    def generate(self) -> None:
        """Let Prisma make its client, and transpile the ORM: its package holds the sources alone."""
        # Prisma wants to see its engine, a download of its own, but does not start it for this.
        self._node("node_modules/prisma/build/index.js", "generate", PRISMA_SCHEMA_ENGINE_BINARY=sys.executable)
        (self.folder / "client" / "package.json").write_text('{"type": "commonjs"}\n')
        subprocess.run(
            [
                "node_modules/.bin/esbuild",
                "node_modules/@node-llm/orm/src/index.ts",
                *("--bundle", "--format=esm", "--platform=node", "--packages=external", "--outfile=orm.mjs"),
                "--log-level=error",
            ],
            cwd=self.folder,
            check=True,
        )

    def run(self, base: str, *steps: Sequence[Any]) -> list[Any]:
        """Run steps (see ``orm_session.mjs``) in one session; return what each resulted in."""
        told = {"hub": self.hub, "base": base, "tables": TABLES[self.dress], "steps": steps}
        results: list[Any] = json.loads(self._node("orm_session.mjs", input=json.dumps(told)))
        assert len(results) == len(steps)
        return results

    def drift(self, *external: str) -> str:
        """Return what Prisma would change in the hub to make it what the schema says, given external tables."""
        return self._node("prisma_drift.mjs", self.hub, "schema.prisma", json.dumps(external)).strip()

    def _node(self, *arguments: str, input: str = "", **env: str) -> str:
        surroundings = os.environ | {"CHECKPOINT_DISABLE": "1", "PRISMA_HIDE_UPDATE_MESSAGE": "1"} | env
        done = subprocess.run(
            ["node", *arguments],
            cwd=self.folder,
            env=surroundings,
            input=input,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout
