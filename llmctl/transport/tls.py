"""One TLS context for the process, from wherever this system keeps its certificate authorities."""

from __future__ import annotations

import os
import re
import ssl
from functools import cache

_HASHED = re.compile(r"[0-9a-f]{8}\.\d+")
_SYSTEM = "/etc/ssl/certs"


@cache
def context() -> ssl.SSLContext:
    """Return the context. ``SSL_CERT_FILE``, then ``SSL_CERT_DIR``, then the system's hashed directory, then certifi.

    A hashed directory is looked up on demand (0.1 ms); reading a bundle takes 20 to 30 ms.
    """
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    paths = ssl.get_default_verify_paths()
    if paths.cafile and paths.cafile != paths.openssl_cafile:  # Named by the environment.
        made.load_verify_locations(cafile=paths.cafile)
    elif directory := next(filter(_is_hashed, (paths.capath, paths.openssl_capath, _SYSTEM)), None):
        made.load_verify_locations(capath=directory)
    else:
        import certifi  # Comes with httpx; only where the system has no directory of its own.

        made.load_verify_locations(cafile=certifi.where())
    return made


def _is_hashed(directory: str | None) -> bool:
    """Return whether OpenSSL can find a certificate there by its subject's hash."""
    if not directory:
        return False
    try:
        with os.scandir(directory) as entries:
            return any(_HASHED.fullmatch(entry.name) for entry in entries)
    except OSError:
        return False
