"""What the environment says: paths of the hub and of configuration files, and switches."""

from __future__ import annotations

from collections.abc import Mapping


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


_OFF = ("", "0", "false", "no", "off")


def is_switch_on(env: Mapping[str, str], name: str) -> bool:
    """Return whether an environment variable is set to anything but ``0 false no off`` or the empty string."""
    return env.get(name, "").lower() not in _OFF
