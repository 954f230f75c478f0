"""Variables of the environment that say yes or no."""

from __future__ import annotations

from collections.abc import Mapping

_OFF = ("", "0", "false", "no", "off")


def is_set(env: Mapping[str, str], name: str) -> bool:
    """Tell whether a yes-or-no variable says yes: it is there and none of ``0 false no off``."""
    return env.get(name, "").lower() not in _OFF
