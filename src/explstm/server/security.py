"""What stands between the network and the routes.

Contract: :class:`Guard` is the outermost layer. It refuses requests that are addressed to another
host, writes that another site's page sends, requests without the token where one is set (and for a
while all from an address that guesses), and bodies longer than allowed, counted as they come in; it
never buffers. Every answer carries the headers below and the id of its request; a failure inside
becomes one sentence, and its trace goes to the log; a request that the end of the server cuts
short is no failure.

Source: OWASP, Cross-Site Request Forgery Prevention Cheat Sheet (Origin and Sec-Fetch-Site); W3C,
Content Security Policy Level 3; Fetch Metadata Request Headers.
"""

import asyncio
import hmac
import logging
import math
import secrets
import time
from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from explstm.server.errors import OUR_FAULT, ApiError, failure_body
from explstm.server.guesses import Guesses
from explstm.server.health import Metrics
from explstm.server.settings import Settings

log = logging.getLogger(__name__)

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
OPEN_PATHS = frozenset({"/", "/healthz", "/readyz", "/docs", "/docs.css", "/api/v1/openapi.json"})
"""What holds no data and needs no token: the page itself, what load balancers ask, the manual."""
OPEN_PREFIX = "/static/"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
)
NO_STORE = (b"cache-control", b"no-store")


STOPPING = ApiError(
    503, "STOPPING", "the server ends; send the request to the next one.", {"retry-after": "5"}
)


class BodyTooLongError(Exception):
    """More came than a body may have."""


class Guard:
    """The outermost layer of the app; see the module."""

    def __init__(self, app: ASGIApp, settings: Settings, metrics: Metrics) -> None:
        self.app, self.settings, self.metrics = app, settings, metrics
        self.token = None if settings.token is None else settings.token.encode()
        self.hosts = frozenset(settings.known_hosts)
        self.guesses = Guesses(settings.wrong_tokens)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        request_id = secrets.token_hex(8)
        scope.setdefault("state", {})["request_id"] = request_id
        exchange = _Exchange(scope, receive, send, request_id, self.settings.max_bytes)
        started = time.perf_counter()
        try:
            refusal = self._refuse(scope)
            if refusal is not None:
                await exchange.refuse(refusal)
            else:
                await self.app(scope, exchange.receive, exchange.send)
        except asyncio.CancelledError:  # by the server, which ends and has waited for long enough
            await exchange.refuse(STOPPING)
        except BodyTooLongError:
            await exchange.refuse(too_long(self.settings.max_bytes))
        except Exception:
            log.exception("request failed", extra={"request_id": request_id})
            await exchange.refuse(ApiError(500, "INTERNAL", OUR_FAULT))
        finally:
            self.metrics.record(scope, exchange.status, time.perf_counter() - started, request_id)

    def _refuse(self, scope: Scope) -> ApiError | None:
        headers = _single_headers(scope["headers"])
        if headers is None:
            return ApiError(400, "HEADER_TWICE", "a header that decides came twice; send it once.")
        host = headers.get(b"host", b"").decode("latin-1").lower()
        if strip_port(host) not in self.hosts:
            return ApiError(
                400,
                "HOST_UNKNOWN",
                "the request is addressed to another host; call the server by its own name, or "
                "start it with --trusted-host.",
            )
        method, path = scope["method"], scope["path"]
        if method not in SAFE_METHODS and not _is_same_origin(headers, host):
            return ApiError(
                403, "CROSS_ORIGIN", "the page of another site may not write here; use this one."
            )
        if not (path in OPEN_PATHS or path.startswith(OPEN_PREFIX)):
            refusal = self._refuse_stranger(headers, scope)
            if refusal is not None:
                return refusal
        return self._refuse_body(headers)

    def _refuse_stranger(self, headers: dict[bytes, bytes], scope: Scope) -> ApiError | None:
        if self.token is None:
            return None
        address = (scope.get("client") or ("",))[0]
        if (seconds := self.guesses.wait(address)) > 0:  # before a look at what it shows now
            return ApiError(
                429,
                "TOKENS_WRONG",
                "too many wrong tokens came from this address; wait, then send the right one.",
                {"retry-after": str(math.ceil(seconds))},
            )
        scheme, _, shown = headers.get(b"authorization", b"").partition(b" ")
        if scheme.lower() == b"bearer" and hmac.compare_digest(shown.strip(), self.token):
            return None
        if shown:
            self.guesses.note(address)
        return ApiError(
            401,
            "TOKEN",
            "this server wants its token; send the header Authorization: Bearer TOKEN.",
            {"www-authenticate": "Bearer"},
        )

    def _refuse_body(self, headers: dict[bytes, bytes]) -> ApiError | None:
        if headers.get(b"content-encoding", b"identity").lower() != b"identity":
            return ApiError(
                415, "CONTENT_ENCODING", "the body is compressed; send it as it is, without."
            )
        length = headers.get(b"content-length", b"0")
        if not length.isdigit():
            return ApiError(400, "CONTENT_LENGTH", "Content-Length is no number; leave it out.")
        if len(length) > 18 or int(length) > self.settings.max_bytes:
            return too_long(self.settings.max_bytes)
        return None


class _Exchange:
    """One request and its answer, counted and marked."""

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, request_id: str, max_bytes: int
    ) -> None:
        self._scope, self._receive, self._send = scope, receive, send
        self._request_id, self._left = request_id, max_bytes
        self.status = 0

    async def receive(self) -> Message:
        message = await self._receive()
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            raise BodyTooLongError
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = list(message.get("headers", ()))
            headers += [*HEADERS, (b"x-request-id", self._request_id.encode())]
            if not any(name.lower() == b"cache-control" for name, _ in headers):
                headers.append(NO_STORE)
            message = {**message, "headers": headers}
        await self._send(message)

    async def refuse(self, error: ApiError) -> None:
        """Answer with a failure, unless the answer has begun."""
        if self.status:
            return
        body = failure_body(error, self._request_id)
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            *((name.encode(), value.encode()) for name, value in (error.headers or {}).items()),
        ]
        if error.status == 413:
            headers.append((b"connection", b"close"))  # the rest of the body is not read
        await self.send({"type": "http.response.start", "status": error.status, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})


def strip_port(host: str) -> str:
    """The name in a Host header."""
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() else host


def _single_headers(pairs: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes] | None:
    """The headers that decide, by name; None where one of them came twice."""
    decisive = {
        *(b"host", b"origin", b"authorization", b"sec-fetch-site"),
        *(b"content-length", b"content-type", b"content-encoding"),
    }
    found: dict[bytes, bytes] = {}
    for name, value in pairs:
        if name in decisive:
            if name in found:
                return None
            found[name] = value
    return found


def _is_same_origin(headers: dict[bytes, bytes], host: str) -> bool:
    """Whether a write comes from our own page, or from no page at all."""
    if headers.get(b"sec-fetch-site", b"none") not in (b"same-origin", b"none"):
        return False
    if b"origin" not in headers:
        return True
    try:
        origin = urlsplit(headers[b"origin"].decode("latin-1").lower())
    except ValueError:
        return False
    return origin.scheme in ("http", "https") and origin.netloc == host


def too_long(max_bytes: int) -> ApiError:
    """What is said of a body that is longer than allowed."""
    return ApiError(
        413,
        "BODY_TOO_LONG",
        f"the body is longer than {max_bytes:,} bytes; split the data by series, or send Parquet.",
    )
