"""Whether the service works, and how much: ``/healthz``, ``/readyz``, ``/metrics``, the log.

Contract: the log is one JSON object a line on standard error, and holds neither data nor tokens;
metrics are counted by route, never by the path that a client made up.
"""

import json
import logging
import sys
import time
from collections.abc import Mapping
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client import generate_latest as write_metrics
from starlette.types import Scope

from explstm.plain_text import spell_out

access_log = logging.getLogger("explstm.server.access")

SECONDS = (0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.15, 0.3, 1.0, 5.0, 30.0)
METRICS_TYPE = CONTENT_TYPE_LATEST
OTHER = "other"
METHODS = frozenset({"GET", "HEAD", "POST", "DELETE", "OPTIONS", "PUT", "PATCH"})
EXTRA = ("request_id", "method", "route", "status", "seconds")


class Metrics:
    """What was asked and how long it took, for Prometheus; one for each app."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "explstm_requests", "Requests.", ("method", "route", "status"), registry=self.registry
        )
        self._seconds = Histogram(
            "explstm_request_seconds",
            "Time to answer.",
            ("route",),
            buckets=SECONDS,
            registry=self.registry,
        )
        self.batches = Histogram(
            "explstm_batch_requests",
            "Requests that were forecast together.",
            buckets=(1, 2, 4, 8, 16, 32, 64),
            registry=self.registry,
        )

        self._jobs = Gauge("explstm_jobs", "Jobs by state.", ("state",), registry=self.registry)

    def count_jobs(self, counts: Mapping[str, int]) -> None:
        """How many jobs there are in each state."""
        for state, count in counts.items():
            self._jobs.labels(state).set(count)

    def record(self, scope: Scope, status: int, seconds: float, request_id: str) -> None:
        """Count one request, and log it."""
        route = getattr(scope.get("route"), "path", OTHER)
        method = scope["method"] if scope["method"] in METHODS else OTHER
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)
        if access_log.isEnabledFor(logging.INFO):
            access_log.info(
                "request",
                extra={
                    "request_id": request_id,
                    "method": method,
                    "route": route,
                    "status": status,
                    "seconds": round(seconds, 4),
                },
            )

    def write(self) -> bytes:
        """All of it as Prometheus reads it."""
        return write_metrics(self.registry)


class JsonLines(logging.Formatter):
    """Records as JSON, one a line."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        entry: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
            + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": spell_out(record.getMessage()),
        }
        entry |= {name: getattr(record, name) for name in EXTRA if hasattr(record, name)}
        if record.exc_info:
            entry["trace"] = self.formatException(record.exc_info)
        return json.dumps(entry)


def start_log(level: int = logging.INFO) -> None:
    """Send the log of the service and of its server to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    for name in ("explstm.server", "uvicorn"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level if name == "explstm.server" else logging.WARNING)
