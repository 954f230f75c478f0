"""What the environment says: paths of the hub and of prompt files, and switches. Private folders."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress


def hub_path(db: str | None, env: Mapping[str, str]) -> str | None:
    """Return the path of the hub: ``--db``, ``LLMCTL_DB`` or the XDG data folder; None without a home folder."""
    if explicit := db or env.get("LLMCTL_DB"):
        return explicit
    folder = _xdg_folder(env, "XDG_DATA_HOME", ".local/share")
    return f"{folder}/llmctl/hub.db" if folder else None


def config_folder(env: Mapping[str, str]) -> str | None:
    """Return the folder of prompt files; None without a home folder."""
    folder = _xdg_folder(env, "XDG_CONFIG_HOME", ".config")
    return f"{folder}/llmctl" if folder else None


def find_repository(folder: str | None) -> str | None:
    """Return the root of the git repository that contains a folder, or None."""
    while folder:
        if os.path.exists(f"{folder}/.git"):
            return folder
        parent = os.path.dirname(folder)
        folder = parent if parent != folder else None
    return None


def prompt_folders(env: Mapping[str, str], folder: str | None) -> list[str]:
    """Return the folders of prompt files, nearest first; they need not exist.

    They are ``.llmctl/prompts`` in a working folder and those above it, up to the root of the repository, then
    the user's own.
    """
    folders = []
    root = find_repository(folder) or folder
    while folder and root:
        folders.append(f"{folder}/.llmctl/prompts")
        folder = os.path.dirname(folder) if folder != root else None
    config = config_folder(env)
    return [*folders, f"{config}/prompts"] if config else folders


def list_prompt_files(env: Mapping[str, str], folder: str | None) -> dict[str, str]:
    """Return the prompt files that are found by name in a working folder: name -> path, of equal names the nearest."""
    found: dict[str, str] = {}
    for place in prompt_folders(env, folder):
        for file in os.listdir(place) if os.path.isdir(place) else ():
            name = file.removesuffix(".toml")
            if name and name != file:
                found.setdefault(name, f"{place}/{file}")
    return {name: found[name] for name in sorted(found)}


def _xdg_folder(env: Mapping[str, str], variable: str, below_home: str) -> str | None:
    """Return a folder of the XDG specification, which requires relative paths to be ignored."""
    if env.get(variable, "").startswith("/"):
        return env[variable]
    return f"{env['HOME']}/{below_home}" if env.get("HOME") else None


def state_folder(env: Mapping[str, str]) -> str | None:
    """Return the folder of pending work; None without a home folder."""
    folder = _xdg_folder(env, "XDG_STATE_HOME", ".local/state")
    return f"{folder}/llmctl" if folder else None


def data_folder(env: Mapping[str, str]) -> str | None:
    """Return the folder of the hub and of key files; None without a home folder."""
    folder = _xdg_folder(env, "XDG_DATA_HOME", ".local/share")
    return f"{folder}/llmctl" if folder else None


def make_private_folder(folder: str) -> None:
    """Create a folder and the missing ones above it, all with mode 0700; raise OSError if that fails."""
    if folder and not os.path.isdir(folder):
        make_private_folder(os.path.dirname(folder))  # os.makedirs gives these what the umask leaves
        with suppress(FileExistsError):
            os.mkdir(folder, 0o700)


_OFF = ("", "0", "false", "no", "off")


def is_switch_on(env: Mapping[str, str], name: str) -> bool:
    """Return whether an environment variable is set to anything but ``0 false no off`` or the empty string."""
    return env.get(name, "").lower() not in _OFF
