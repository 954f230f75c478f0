"""The TLS context of the process, with the certificate authorities of the system."""

from __future__ import annotations

import os
import re
import ssl
from functools import cache

_HASHED_NAME = re.compile(r"[0-9a-f]{8}\.\d+")
_SYSTEM = "/etc/ssl/certs"


@cache
def get_context() -> ssl.SSLContext:
    """Return the context: ``SSL_CERT_FILE``, then ``SSL_CERT_DIR``, then the system's hashed directory, then certifi.

    A hashed directory is read on demand (0.1 ms); loading a bundle takes 20 to 30 ms.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    paths = ssl.get_default_verify_paths()
    if paths.cafile and paths.cafile != paths.openssl_cafile:  # set by the environment
        context.load_verify_locations(cafile=paths.cafile)
    elif directory := next(filter(_is_hashed_directory, (paths.capath, paths.openssl_capath, _SYSTEM)), None):
        context.load_verify_locations(capath=directory)
    else:
        import certifi  # comes with httpx; only if the system has no directory

        context.load_verify_locations(cafile=certifi.where())
    return context


def _is_hashed_directory(directory: str | None) -> bool:
    """Return whether OpenSSL can find certificates there by subject hash."""
    if not directory:
        return False
    try:
        with os.scandir(directory) as entries:
            return any(_HASHED_NAME.fullmatch(entry.name) for entry in entries)
    except OSError:
        return False
