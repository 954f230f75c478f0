"""Protect against server-side request forgery: only addresses of the public internet may be fetched.

A URL that a user pasted or a model wrote must not lead into the user's own network. The check is on the address
that is connected to, not on the name: a name may resolve to another address a moment later.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from llmctl.core.errors import UnavailableError, UsageError

#: Protocol blocks, which newer versions of Python treat as private.
_PROTOCOL_BLOCKS = (IPv4Network("192.0.0.0/24"), IPv4Network("192.88.99.0/24"))
#: Prefixes with an IPv4 address in the last 32 bits: NAT64 and IPv4-compatible.
_IPV4_EMBEDDING_NETWORKS = (IPv6Network("64:ff9b::/96"), IPv6Network("::/96"))


def resolve_addresses(host: str, port: int, *, private_allowed: bool = False) -> list[str]:
    """Return the addresses of a host, all of them public (any if ``private_allowed``).

    Raises UsageError (``private_address``) if one is not public, UnavailableError (``dns``) if there is none.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise UnavailableError(f'cannot find host "{host}"', reason="dns") from None
    known = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    private = [address for address in known if not is_public(address)]
    if private and not private_allowed:
        raise UsageError(
            f'"{host}" is not a public address' + (f": {private[0]}" if private[0] != host else ""),
            hint="download the file and attach it",
            reason="private_address",
        )
    return known


def is_public(address: str) -> bool:
    """Return whether an address is on the public internet: not loopback, private, link-local, shared or reserved."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    return all(map(_is_global, _effective_addresses(found)))


def _is_global(address: IPv4Address | IPv6Address) -> bool:
    if isinstance(address, IPv6Address):
        local = address.is_site_local
    else:
        local = any(address in block for block in _PROTOCOL_BLOCKS)
    return address.is_global and not (local or address.is_multicast or address.is_reserved)


def _effective_addresses(address: IPv4Address | IPv6Address) -> Iterator[IPv4Address | IPv6Address]:
    """Yield the address itself or the IPv4 address embedded in it (mapped, NAT64, 6to4, Teredo)."""
    if isinstance(address, IPv4Address):
        yield address
        return
    mapped = address.ipv4_mapped or (IPv4Address(int(address) & 0xFFFFFFFF) if _embeds_ipv4(address) else None)
    if mapped is not None:
        yield mapped
        return
    yield address
    if address.sixtofour is not None:
        yield address.sixtofour
    if address.teredo is not None:
        yield from address.teredo


def _embeds_ipv4(address: IPv6Address) -> bool:
    return any(address in network for network in _IPV4_EMBEDDING_NETWORKS)
