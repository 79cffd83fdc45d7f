"""Refusals with an HTTP status, and every failure as the one shape that clients read.

Contract: an answer that is no success is a :class:`explstm.server.schemas.Failure`. Nothing of the
inside of the server stands in it: an unforeseen failure says so and names its request, by which
the log tells the rest.
"""

import errno
import json
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

from explstm.errors import BackendNotInstalledError, BusyError, DataError, ExpLSTMError, UsageError
from explstm.plain_text import shorten

LONGEST_MESSAGE = 1000
LONGEST_PLACE = 100
TRIED = ("constrained-str", "str", "int", "float")
"""What pydantic calls the types that a cell may have."""
MOST_COUNTED = 1000
BY_CODE = {"DATA_TOO_LARGE": 413, "DATA_NOT_CSV": 415}
FULL = (errno.ENOSPC, errno.EDQUOT)
OUR_FAULT = "something failed in the server; the log tells more under this request's id."


class ApiError(Exception):
    """A refusal.

    Attributes:
        status: Of HTTP.
        code: Stable and meant for machines.
        message: One sentence for people.
        headers: Further headers of the answer, such as ``Retry-After``.
        upload: What is known of the file, where other columns may help.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        headers: Mapping[str, str] | None = None,
        upload: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message
        self.headers, self.upload = headers, upload

    def __reduce__(self) -> tuple[type, tuple[Any, ...]]:
        """Rebuild from all arguments, so that an error crosses from one process to another."""
        return type(self), (self.status, self.code, self.message, self.headers, self.upload)


def from_package(error: ExpLSTMError) -> ApiError:
    """What a failure of the package is over HTTP."""
    if error.code in BY_CODE:
        status = BY_CODE[error.code]
    elif isinstance(error, BackendNotInstalledError):
        status = 501
    elif isinstance(error, BusyError):
        status = 503
    elif isinstance(error, DataError | UsageError):
        status = 422
    else:
        return ApiError(500, "INTERNAL", OUR_FAULT)
    return ApiError(status, error.code, error.message)


def from_system(error: OSError | sqlite3.OperationalError) -> ApiError | None:
    """What a failure of the system is over HTTP, where its owner can help; None elsewhere."""
    if isinstance(error, OSError):
        is_full = error.errno in FULL
    else:
        is_full = getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
    if not is_full:
        return None
    return ApiError(
        507,
        "DISK_FULL",
        "the disk of the server is full; try again later, or send a forecast's table as JSON, "
        "which needs no disk.",
    )


def from_validation(errors: Sequence[Mapping[str, Any]]) -> ApiError:
    """What pydantic found wrong in a request: the first of it, by the name of its field."""
    first = errors[0]
    place = _name_place(first["loc"])
    n_others = len({_name_place(error["loc"]) for error in errors[:MOST_COUNTED]} - {place})
    more = f" (and {n_others} more)" if n_others else ""
    text = str(first["msg"]).removeprefix("Value error, ")
    return ApiError(422, "REQUEST_INVALID", f"{place}: {text}{more}; see /api/v1/openapi.json.")


def _name_place(loc: Sequence[Any]) -> str:
    """A field by its name, and by its position in a list; not by the types that were tried."""
    first, *inner = (loc[1:] if loc[:1] == ("body",) else loc) or ("",)
    named = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in inner
             if part not in TRIED]  # fmt: skip
    return shorten("".join([str(first), *named]), LONGEST_PLACE) or "the request"


def failure_body(error: ApiError, request_id: str) -> bytes:
    """The body of the answer."""
    body: dict[str, Any] = {
        "error": {"code": error.code, "message": shorten(error.message, LONGEST_MESSAGE)},
        "request_id": request_id,
    }
    if error.upload is not None and "data" in error.upload:  # kept, so that it can be read again
        body["upload"] = error.upload
    return json.dumps(body).encode()
