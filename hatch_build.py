"""Build the man pages into the wheel: ``pip install`` puts them into ``share/man/man1`` beside the program."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ManPagesHook(BuildHookInterface):
    """Generates the pages from the commands; only the wheel has them, not an editable install."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if self.target_name != "wheel" or version == "editable":
            return
        sys.path.insert(0, self.root)
        try:
            from llmctl.cli.help.man import build_pages
        finally:
            sys.path.remove(self.root)
        self._folder = TemporaryDirectory()  # until the wheel is written
        built_at = time.gmtime(int(os.environ.get("SOURCE_DATE_EPOCH", time.time())))
        for name, text in build_pages(time.strftime("%Y-%m-%d", built_at)).items():
            path = Path(self._folder.name, name)
            path.write_text(text, encoding="utf-8")
            build_data["shared_data"][str(path)] = f"share/man/man1/{name}"
