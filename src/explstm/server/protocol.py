"""HTTP as uvicorn speaks it through httptools, with a head of bounded size that comes in time.

Contract: uvicorn bounds neither, nor what may follow a body in pieces. A head that is longer, or
not there when its time is over, is answered once and its connection is closed; what had come of it
is let go.
"""

import asyncio
import secrets
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from explstm.server.errors import ApiError, failure_body


class BoundedProtocol(HttpToolsProtocol):
    """One connection.

    Args:
        max_head_bytes: Longest head, to a piece as it comes from the network.
        head_seconds: Longest time from its first byte, or from the connection, to its end.
        uvicorns: What uvicorn passes.
    """

    def __init__(self, max_head_bytes: int, head_seconds: float, **uvicorns: Any) -> None:
        super().__init__(**uvicorns)
        self._max_head_bytes, self._head_seconds = max_head_bytes, head_seconds
        self._n_unread, self._is_heard = 0, False
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has come."""
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """It has gone."""
        self._head_is_there()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """A piece of what it says."""
        self._is_heard = False
        super().data_received(data)
        self._n_unread = 0 if self._is_heard else self._n_unread + len(data)
        if self._n_unread > self._max_head_bytes:
            self._refuse(431, "HEAD_TOO_LONG", f"over {self._max_head_bytes:,} bytes long")

    def on_message_begin(self) -> None:
        """A head begins."""
        super().on_message_begin()
        if self._timer is None:
            self._await_head()

    def on_headers_complete(self) -> None:
        """It is there."""
        self._is_heard = True
        self._head_is_there()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        self._is_heard = True
        super().on_body(body)

    def _await_head(self) -> None:
        self._timer = self.loop.call_later(self._head_seconds, self._end_silence)

    def _head_is_there(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _end_silence(self) -> None:
        self._refuse(408, "HEAD_TOO_SLOW", f"not there after {self._head_seconds:g} seconds")

    def _refuse(self, status: int, code: str, what: str) -> None:
        if self._timer is None:  # it is no head but what follows a body: the answer may have begun
            self.transport.abort()
            return
        self._head_is_there()
        if self.transport.is_closing():
            return
        error = ApiError(status, code, f"the head of the request is {what}; send a shorter one.")
        body = failure_body(error, secrets.token_hex(8))
        self.transport.write(
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\nX-Content-Type-Options: nosniff\r\n"
            "Connection: close\r\n\r\n".encode()
            + body
        )
        self.transport.close()
