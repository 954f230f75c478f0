"""Where things are on disk, from flags and environment alone."""

from __future__ import annotations

from collections.abc import Mapping


def hub_path(db: str | None, env: Mapping[str, str]) -> str | None:
    """Return where the hub is or would be: ``--db``, ``LLMCTL_DB``, the XDG data folder; None without a home."""
    if chosen := db or env.get("LLMCTL_DB"):
        return chosen
    folder = _xdg(env, "XDG_DATA_HOME", ".local/share")
    return f"{folder}/llmctl/hub.db" if folder else None


def config_folder(env: Mapping[str, str]) -> str | None:
    """Return the folder of keys and prompt files; None without a home."""
    folder = _xdg(env, "XDG_CONFIG_HOME", ".config")
    return f"{folder}/llmctl" if folder else None


def _xdg(env: Mapping[str, str], variable: str, below_home: str) -> str | None:
    """Return a folder of the XDG specification, which says that a relative path is to be ignored."""
    if env.get(variable, "").startswith("/"):
        return env[variable]
    return f"{env['HOME']}/{below_home}" if env.get("HOME") else None


def state_folder(env: Mapping[str, str]) -> str | None:
    """Return the folder for what waits to be done; None without a home."""
    folder = _xdg(env, "XDG_STATE_HOME", ".local/state")
    return f"{folder}/llmctl" if folder else None


def data_folder(env: Mapping[str, str]) -> str | None:
    """Return the folder of the hub and of key files; None without a home."""
    folder = _xdg(env, "XDG_DATA_HOME", ".local/share")
    return f"{folder}/llmctl" if folder else None
