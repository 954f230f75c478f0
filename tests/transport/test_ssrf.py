"""Addresses that a pasted URL may lead to, and those it may not."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from llmctl.core.errors import UnavailableError, UsageError
from llmctl.core.http import HttpRequest
from llmctl.transport import client, ssrf
from tests.fakes.peer import Connection


@pytest.mark.parametrize(
    "address", ["93.184.215.14", "2606:2800:220:1::1", "::ffff:93.184.215.14", "64:ff9b::5db8:d70e"]
)
def test_public_address_may_be_fetched_from(address: str) -> None:
    assert ssrf.is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.9.9.9", "10.0.0.1", "172.16.3.4", "192.168.1.1", "169.254.169.254", "100.64.0.1"),
        *("0.0.0.0", "255.255.255.255", "224.0.0.1", "240.0.0.1", "192.0.0.8", "192.0.2.1", "198.18.0.1"),
        *("::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12:3456::1", "fec0::1", "ff02::1", "2001:db8::1"),
        *("::ffff:127.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a00:1"),
        *("2002:7f00:1::", "2002:a00:1::", "2001:0:4136:e378:8000:63bf:80ff:fffe"),
        *("not an address", ""),
    ],
)  # fmt: skip
def test_private_address_may_not(address: str) -> None:
    assert not ssrf.is_public(address)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "0177.0.0.1", "::1"])
def test_every_spelling_of_this_machine_is_found_out(host: str) -> None:
    with pytest.raises(UsageError) as refused:
        ssrf.resolve_addresses(host, 80)
    assert refused.value.reason == "private_address"
    assert ssrf.resolve_addresses(host, 80, private_allowed=True)


def test_one_private_address_among_public_ones_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [(2, 1, 6, "", ("93.184.215.14", 80)), (2, 1, 6, "", ("10.0.0.1", 80))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    with pytest.raises(UsageError, match=r"10\.0\.0\.1"):
        ssrf.resolve_addresses("rebind.example", 80)


def test_unknown_host_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(-2, "unknown")

    monkeypatch.setattr(socket, "getaddrinfo", fails)
    with pytest.raises(UnavailableError, match=r'"no\.example"'):
        ssrf.resolve_addresses("no.example", 80)


def test_pinned_request_goes_to_the_address_and_names_the_host(peer: Any) -> None:
    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(b"HTTP/1.1 302 Found\r\nlocation: /next\r\ncontent-length: 2\r\n\r\nhi")

    server = peer(script)
    request = HttpRequest("GET", f"http://files.example:{server.port}/a?b=c", {})
    with client.send_request(request, address="127.0.0.1") as answer:
        assert (answer.status, answer.headers["location"], answer.read()) == (302, "/next", b"hi")
    assert server.requests[0].startswith(b"GET /a?b=c HTTP/1.1\r\n")
    assert f"host: files.example:{server.port}\r\n".encode() in server.requests[0].lower()
