"""HTTP as uvicorn speaks it through httptools, with a head of bounded size, all of it in time.

Contract: uvicorn bounds neither, nor what may follow a body in pieces. A head that is longer, or
not there when its time is over, is answered once and its connection is closed; what had come of it
is let go. A body that is not there when its time is over ends its connection, whether anybody
reads it or the request was answered long ago; so does an answer that is not taken, which would
stay in memory.
"""

import asyncio
import secrets
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from explstm.server.errors import ApiError, failure_body

LEAST_TAKEN = 16_384
"""Bytes of an answer that a client takes in the time that a body may take."""


class BoundedProtocol(HttpToolsProtocol):
    """One connection.

    Args:
        max_head_bytes: Longest head, to a piece as it comes from the network.
        head_seconds: Longest time from its first byte, or from the connection, to its end.
        body_seconds: Longest time from the end of the head to the end of what follows it, and in
            which nothing of an answer is taken. The system holds some MB of an answer, and takes
            more when a third of that is gone, so that this is no time for a hurry.
        uvicorns: What uvicorn passes.
    """

    def __init__(
        self, max_head_bytes: int, head_seconds: float, body_seconds: float, **uvicorns: Any
    ) -> None:
        super().__init__(**uvicorns)
        self._max_head_bytes = max_head_bytes
        self._head_seconds, self._body_seconds = head_seconds, body_seconds
        self._n_unread, self._is_heard, self._in_body = 0, False, False
        self._timer: asyncio.TimerHandle | None = None
        self._body_timer: asyncio.TimerHandle | None = None
        self._answer_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has come."""
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """It has gone."""
        self._head_is_there()
        self._body_is_there()
        self._answer_is_taken()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """A piece of what it says."""
        self._is_heard = False
        super().data_received(data)
        self._n_unread = 0 if self._is_heard else self._n_unread + len(data)
        if self._n_unread > self._max_head_bytes:
            self._refuse(
                431, "HEAD_TOO_LONG", f"over {self._max_head_bytes:,} bytes long; shorten it."
            )
        if self._in_body and self._body_timer is None:  # most bodies come with their heads
            self._body_timer = self.loop.call_later(self._body_seconds, self.transport.abort)

    def on_message_begin(self) -> None:
        """A head begins."""
        super().on_message_begin()
        if self._timer is None:
            self._await_head()

    def on_headers_complete(self) -> None:
        """It is there."""
        self._is_heard = self._in_body = True
        self._head_is_there()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        self._is_heard = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        """All of a request is there."""
        self._body_is_there()
        super().on_message_complete()

    def pause_writing(self) -> None:
        """An answer comes faster than it is taken."""
        super().pause_writing()
        self._await_taking()

    def resume_writing(self) -> None:
        """It is taken, but for a little."""
        self._answer_is_taken()
        super().resume_writing()

    def _await_taking(self) -> None:
        left = self.transport.get_write_buffer_size()
        self._answer_timer = self.loop.call_later(self._body_seconds, self._check_taking, left)

    def _check_taking(self, before: int) -> None:
        if before - self.transport.get_write_buffer_size() < LEAST_TAKEN:
            self.transport.abort()
        else:
            self._await_taking()

    def _answer_is_taken(self) -> None:
        if self._answer_timer is not None:
            self._answer_timer.cancel()
            self._answer_timer = None

    def _await_head(self) -> None:
        self._timer = self.loop.call_later(self._head_seconds, self._end_silence)

    def _head_is_there(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _body_is_there(self) -> None:
        self._in_body = False
        if self._body_timer is not None:
            self._body_timer.cancel()
            self._body_timer = None

    def _end_silence(self) -> None:
        self._refuse(
            408,
            "HEAD_TOO_SLOW",
            f"not there after {self._head_seconds:g} seconds; send it at once.",
        )

    def _refuse(self, status: int, code: str, what: str) -> None:
        if self._timer is None:  # it is no head but what follows a body: the answer may have begun
            self.transport.abort()
            return
        self._head_is_there()
        if self.transport.is_closing():
            return
        error = ApiError(status, code, f"the head of the request is {what}")
        body = failure_body(error, secrets.token_hex(8))
        self.transport.write(
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\nX-Content-Type-Options: nosniff\r\n"
            "Connection: close\r\n\r\n".encode()
            + body
        )
        self.transport.close()
