"""A server on loopback that sends exactly the bytes a test wants and records what it receives."""

from __future__ import annotations

import os
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from contextlib import suppress

CERTIFICATE = os.path.join(os.path.dirname(__file__), "localhost.pem")

Script = Callable[["Connection"], None]


class Connection:
    """One connection, on the side of the server."""

    def __init__(self, connection: socket.socket, heard: list[bytes]) -> None:
        self._connection = connection
        self._heard = heard

    def read_request(self) -> bytes:
        """Read one request (by its content length)."""
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._more()
        head, _, body = data.partition(b"\r\n\r\n")
        length = next(
            (int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0
        )
        while len(body) < length:
            body += self._more()
        self._heard.append(head + b"\r\n\r\n" + body)
        return self._heard[-1]

    def send(self, data: bytes) -> None:
        self._connection.sendall(data)

    def send_chunk(self, data: bytes) -> None:
        self.send(b"%x\r\n%b\r\n" % (len(data), data))

    def reset(self) -> None:
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def wait_for_close(self) -> bool:
        """Wait for the other side to close."""
        self._connection.settimeout(300)
        try:
            return self._connection.recv(1) == b""
        except ConnectionError:
            return True
        except TimeoutError:
            return False

    def _more(self) -> bytes:
        data = self._connection.recv(65536)
        if not data:
            raise ConnectionError
        return data


class Peer:
    """A listening socket; each connection is one run of the script, in a thread of its own."""

    def __init__(self, script: Script, secure: bool) -> None:
        self.requests: list[bytes] = []
        self.connections = 0
        self._script = script
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) if secure else None
        if self._context:
            self._context.load_cert_chain(CERTIFICATE)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.url = f"{'https' if secure else 'http'}://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _listen(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError):
            if self._context:
                connection = self._context.wrap_socket(connection, server_side=True)
            with connection:
                self._script(Connection(connection, self.requests))
