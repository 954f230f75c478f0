"""Which addresses may be fetched from on somebody's word: those of the public internet, and no others.

A URL that a user pasted or a model wrote must not lead into the user's own network. What is checked is the address
that is connected to, not the name: a name may stand for another address a moment later.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from llmctl.core.errors import UnavailableError, UsageError

#: Blocks of protocols, which newer versions of Python count among the private ones.
_OF_PROTOCOLS = (IPv4Network("192.0.0.0/24"), IPv4Network("192.88.99.0/24"))
#: Prefixes behind which an IPv4 address stands in the last 32 bits: NAT64, and what Python calls compatible.
_WRAPPED = (IPv6Network("64:ff9b::/96"), IPv6Network("::/96"))


def addresses(host: str, port: int, *, private_allowed: bool = False) -> list[str]:
    """Return the addresses of a host, all of them public ones (any, where ``private_allowed``).

    Raises UsageError (``private_address``) where one of them is not, UnavailableError (``dns``) for none.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise UnavailableError(f'cannot find host "{host}"', reason="dns") from None
    known = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    private = [address for address in known if not is_public(address)]
    if private and not private_allowed:
        raise UsageError(
            f'"{host}" is no public address' + (f": {private[0]}" if private[0] != host else ""),
            hint="download it yourself and give the file",
            reason="private_address",
        )
    return known


def is_public(address: str) -> bool:
    """Say whether an address belongs to the public internet: not loopback, private, link-local, shared or reserved."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    return all(map(_is_global, _meant(found)))


def _is_global(address: IPv4Address | IPv6Address) -> bool:
    if isinstance(address, IPv6Address):
        local = address.is_site_local
    else:
        local = any(address in block for block in _OF_PROTOCOLS)
    return address.is_global and not (local or address.is_multicast or address.is_reserved)


def _meant(address: IPv4Address | IPv6Address) -> Iterator[IPv4Address | IPv6Address]:
    """Yield an address and the IPv4 address that it stands for: mapped, NAT64, 6to4 or Teredo."""
    if isinstance(address, IPv4Address):
        yield address
        return
    mapped = address.ipv4_mapped or (IPv4Address(int(address) & 0xFFFFFFFF) if _is_wrapped(address) else None)
    if mapped is not None:
        yield mapped
        return
    yield address
    if address.sixtofour is not None:
        yield address.sixtofour
    if address.teredo is not None:
        yield from address.teredo


def _is_wrapped(address: IPv6Address) -> bool:
    return any(address in network for network in _WRAPPED)
