"""What other packages add: things of our registries, found by their entry points.

``importlib.metadata`` takes longer to import than most commands run: it is opened only where a name is in no table.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import Any

from llmctl.core.errors import ConfigError


def names(group: str) -> tuple[str, ...]:
    """Return the names that installed packages give in an entry-point group."""
    if not _is_spoken_of(group):
        return ()
    from importlib.metadata import entry_points

    return tuple(sorted({found.name for found in entry_points(group=group)}))


def load(group: str, name: str, wanted: type) -> Any:
    """Import what a package gives under that name; None where none does.

    Raises ConfigError, which names the package, where it cannot be imported or is not what is ``wanted``.
    """
    if not _is_spoken_of(group):
        return None
    from importlib.metadata import entry_points

    found = next(iter(entry_points(group=group, name=name)), None)
    if found is None:
        return None
    package = found.dist.name if found.dist else found.module
    try:
        thing = found.load()
    except Exception as error:  # whatever somebody else's module does when it is imported
        raise _broken(package, group, name, f"{type(error).__name__}: {error}") from error
    if not isinstance(thing, wanted):
        raise _broken(package, group, name, f"it is no {wanted.__name__}, but {type(thing).__name__}")
    return thing


def _is_spoken_of(group: str) -> bool:
    """Say whether any installed package has the group, from its files alone: that takes a tenth of the time."""
    return any(_speaks(folder or ".", f"[{group}]".encode()) for folder in sys.path)


def _speaks(folder: str, header: bytes) -> bool:
    if os.path.isfile(folder):  # an archive, which may hold packages too
        return True
    with suppress(OSError), os.scandir(folder) as found:
        places = [entry.path for entry in found if entry.name.endswith((".dist-info", ".egg-info"))]
        return any(_holds(os.path.join(place, "entry_points.txt"), header) for place in places)
    return False


def _holds(path: str, header: bytes) -> bool:
    with suppress(OSError), open(path, "rb") as file:
        return header in file.read()
    return False


def _broken(package: str, group: str, name: str, why: str) -> ConfigError:
    return ConfigError(
        f'"{name}" of the package "{package}" cannot be used: {why}',
        hint=f"update or uninstall {package} (it stands in its entry points, group {group})",
        reason="plug_in",
    )
