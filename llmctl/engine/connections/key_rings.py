"""Keys in the keyring of the desktop, under the service ``llmctl``."""

from __future__ import annotations

from collections.abc import Mapping

from llmctl.core.errors import ConfigError

try:
    import keyring
    import keyring.errors
except ImportError:
    raise ConfigError(
        "keys in the keyring need the package keyring",
        hint="pip install 'llmctl[keyring]', or store the key with --key-stdin",
        reason="no_key",
    ) from None

SERVICE = "llmctl"


def read(name: str, env: Mapping[str, str], home: str) -> tuple[str, str | None]:
    """Return the password of that name, empty where there is none."""
    try:
        return keyring.get_password(SERVICE, name) or "", None
    except keyring.errors.NoKeyringError:
        raise ConfigError(
            "there is no keyring on this machine",
            hint="store the key with --key-stdin, or name a command with --key-command",
            reason="no_key",
        ) from None
    except keyring.errors.KeyringError as error:
        raise ConfigError(f"the keyring does not give the key: {error}", reason="no_key") from None
