"""``llmctl --complete KIND PREFIX``: candidates for the completion scripts. Never fails."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from contextlib import suppress

from llmctl.core import environment

_MAX_DESCRIPTION_CHARS = 70
_PERMISSIONS = {"auto": "run without asking", "ask": "ask each time", "deny": "never run"}

Candidates = Iterable[tuple[str, str]]


def main(arguments: tuple[str, ...]) -> None:
    """Print one candidate per line, with a tab and a description, for ``KIND PREFIX [DB [PREVIOUS WORD]]``."""
    kind, prefix, db, previous = (*arguments, "", "", "", "")[:4]
    if sys.stdout is None:
        return
    lines = [
        f"{value}\t{_format_description(description)}\n"
        for value, description in dict(_find(kind, prefix, os.path.expanduser(db), previous)).items()
        if value.isprintable() and value.startswith(prefix)  # one line of the output
    ]
    with suppress(OSError):  # the shell closed the pipe
        os.write(1, "".join(lines).encode("utf-8", "replace"))


def _find(kind: str, prefix: str, db: str, previous: str) -> Candidates:
    match kind:
        case "prompt":
            return [(name, _prompt_title(path)) for name, path in _prompt_files().items()]
        case "variable":
            return [(name, "") for name in os.environ if "KEY" in name or "TOKEN" in name]
        case "setting-value":
            return _find_setting_values(previous, prefix, db)
        case "grant":
            name, colon, _ = prefix.partition(":")
            if colon:
                return [(f"{name}:{word}", text) for word, text in _PERMISSIONS.items()]
            kind = "tool"
        case "model" if ":" in prefix:
            return [*_find_in_hub(kind, prefix, db), *_find_in_catalog(prefix, db)]
    return _find_in_hub(kind, prefix, db)


def _find_in_hub(kind: str, prefix: str, db: str) -> Candidates:
    path = environment.hub_path(db, os.environ)
    if not path:
        return []
    from llmctl.store.completion_candidates import find_candidates

    return find_candidates(path, kind, prefix)


def _find_in_catalog(prefix: str, db: str) -> Candidates:
    """Return ``CONNECTION:MODEL`` for the models that the provider of a connection is known to have."""
    from llmctl.providers import PROVIDERS
    from llmctl.store.completion_candidates import find_provider

    name = prefix.partition(":")[0]
    path = environment.hub_path(db, os.environ)
    provider = (find_provider(path, name) if path else None) or name
    if provider not in PROVIDERS.names():
        return []
    from llmctl.engine.models import capabilities  # the catalog takes long to load

    return [(f"{name}:{model.id}", model.name) for model in capabilities.list_(provider)]


def _find_setting_values(name: str, prefix: str, db: str) -> Candidates:
    from llmctl.core.options import SETTINGS

    if name == "default_connection":
        return _find_in_hub("connection", prefix, db)
    setting = SETTINGS.get(name)
    if setting is None:
        return []
    words = ("true", "false") if setting.option.kind in ("switch", "tristate") else setting.option.choices
    return [(word, "the default" if word == str(setting.default).lower() else "") for word in words]


def _prompt_files() -> dict[str, str]:
    with suppress(OSError):
        return environment.list_prompt_files(os.environ, os.getcwd())
    return {}


def _prompt_title(path: str) -> str:
    """Return the description of a prompt file, as far as a quick look at its lines shows it."""
    with suppress(OSError, ValueError), open(path, encoding="utf-8") as file:
        lines = [line.partition("=") for line in file]
        titles = {name.strip(): value.strip().strip("'\"") for name, equals, value in lines if equals}
        return titles.get("description") or titles.get("prompt") or ""
    return ""


def _format_description(text: str) -> str:
    """Return a description as one line without control characters, which a shell would pass to the terminal."""
    line = " ".join(text.split())
    return "".join(filter(str.isprintable, line[:_MAX_DESCRIPTION_CHARS]))
