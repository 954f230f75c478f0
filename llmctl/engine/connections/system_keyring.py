"""API keys in the desktop's keyring, under the service ``llmctl``. The only file that imports keyring."""

from __future__ import annotations

from collections.abc import Mapping

from llmctl.core.errors import ConfigError
from llmctl.core.plugins import install_command

try:
    import keyring
    import keyring.errors
except ImportError:
    raise ConfigError(
        'the "keyring" package is not installed',
        hint=f"{install_command('keyring')}; or store the key with --key-stdin",
        reason="no_key",
    ) from None

SERVICE = "llmctl"


def read_keyring(name: str, env: Mapping[str, str], home: str) -> tuple[str, str | None]:
    """Return the password stored under a name; empty if there is none."""
    try:
        return keyring.get_password(SERVICE, name) or "", None
    except keyring.errors.NoKeyringError:
        raise ConfigError(
            "no keyring on this machine",
            hint="store the key with --key-stdin, or get it from a command with --key-command",
            reason="no_key",
        ) from None
    except keyring.errors.KeyringError as error:
        raise ConfigError(f"cannot read the key from the keyring: {error}", reason="no_key") from None
