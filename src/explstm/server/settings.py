"""Every limit and address of the service, in one place.

Contract: :class:`Settings` is frozen and complete; what reads it adds no number of its own. What a
request may say at most, such as its horizon, is no setting: it is part of the interface, see
:mod:`explstm.server.schemas`. A server that can be reached from another machine has a token.
"""

import ipaddress
import os
from dataclasses import dataclass, field
from pathlib import Path

from explstm.errors import UsageError

MIB = 1024**2
SHORTEST_TOKEN = 16
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")


@dataclass(frozen=True)
class Settings:
    """How the service runs, and what it lets in.

    Attributes:
        host: Address to listen on.
        port: Port; 0 takes a free one.
        token: What clients show as ``Authorization: Bearer TOKEN``; demanded on any address that is
            not the machine's own, and wherever it is given.
        trusted_hosts: Names that clients may call the server by, beside ``host`` and those of the
            machine itself.
        data: Folder of uploads and jobs; made when missing.
        max_bytes: Longest body of a request.
        max_unpacked_bytes: Largest table that an upload may unpack to.
        max_rows: Most rows of a table.
        max_series: Most series of a table.
        max_columns: Most columns of a table.
        max_answer_rows: Most rows of a forecast: series times horizon.
        max_steps: Most steps of the network that one request may take. One takes 3 to 4
            microseconds, so that the longest allowed ends in a quarter of ``work_seconds``, and
            in time on a slower machine that has more to do.
        max_growth_series: Most series of a growth report.
        max_backtest_rows: Most rows of a quick backtest: series times windows times horizon.
        keep_uploads_for: Seconds that an upload is kept.
        max_upload_bytes: All uploads together; the oldest go first.
        read_seconds: Longest time to receive a body. The connection ends ``idle_seconds`` after
            it, and where nothing of an answer is taken for so long.
        work_seconds: Longest time to work on one request.
        work_memory: Address space of the process that reads uploads.
        abandoned_seconds: How long work may have run whose client leaves; after that its process is
            ended, which costs a new one about a second.
        waiting: Requests that may wait for work, and those of JSON that may be there at all; more
            are told to come back.
        large_waiting: Large requests that may wait for work, fewer than may be there at all, so
            that small ones still come in.
        gather_seconds: How long a small forecast waits at most, while others are made, for those
            that will be made with it.
        forecasters: Processes for small forecasts.
        readers: Processes of low priority for uploads, growth, backtests and large forecasts, each
            of about 130 MB. From two on, one does only what takes about a second.
        small_rows: Most rows, of past and future, that a small forecast reads.
        large_steps: Steps of the network, see :func:`explstm.server.weighing.count_steps`, from
            which a request is large.
        large_bytes: Size of a file from which it is large.
        max_json_bytes: Longest JSON; longer tables come as files.
        uploads_at_once: Files that may come in, or be worked on, at the same time.
        max_panel_bytes: All panels of uploads that are kept ready.
        workers: Jobs that run at once.
        queue_length: Jobs that may wait.
        job_seconds: Longest time of a job.
        job_memory: Address space of a job's process.
        keep_jobs_for: Seconds that a finished job is kept.
        max_jobs_bytes: All kept jobs together; the oldest go first.
        job_niceness: How much lower the priority of a job's process is.
        job_grace_seconds: From being asked to end to being killed.
        job_silent_seconds: A job's process that says nothing for so long hangs, and is ended.
        max_followers: Streams of events that may be open; more end at once, and may come again.
        wrong_tokens: Wrong tokens in a minute, after which an address has to wait; 0 counts none,
            for a server behind a proxy elsewhere, whose clients all come from one address. This
            machine's own never wait.
        stop_seconds: How long requests may go on when the server is told to stop.
        idle_seconds: How long a connection is held on which nothing is asked, and how long the
            head of a request may take.
        max_connections: Connections at once; more get a 503.
        max_waiting_connections: Connections that the system holds until they are taken.
        max_header_bytes: Longest head of a request.
    """

    host: str = "127.0.0.1"
    port: int = 8765
    token: str | None = field(default=None, repr=False)
    trusted_hosts: tuple[str, ...] = ()
    data: Path = Path("explstm-server")
    max_bytes: int = 32 * MIB
    max_unpacked_bytes: int = 256 * MIB
    max_rows: int = 1_000_000
    max_series: int = 100_000
    max_columns: int = 1_000
    max_answer_rows: int = 2_000_000
    max_steps: int = 8_000_000
    max_growth_series: int = 200
    max_backtest_rows: int = 200_000
    keep_uploads_for: float = 3600.0
    max_upload_bytes: int = 512 * MIB
    read_seconds: float = 60.0
    work_seconds: float = 120.0
    work_memory: int = 4096 * MIB
    abandoned_seconds: float = 3.0
    waiting: int = 64
    large_waiting: int = 8
    gather_seconds: float = 0.004
    forecasters: int = 2
    readers: int = 2
    small_rows: int = 5_000
    large_steps: int = 250_000
    large_bytes: int = 8 * MIB
    max_json_bytes: int = 2 * MIB
    uploads_at_once: int = 16
    max_panel_bytes: int = 128 * MIB
    workers: int = 1
    queue_length: int = 16
    job_seconds: float = 3600.0
    job_memory: int = 8192 * MIB
    keep_jobs_for: float = 7 * 24 * 3600.0
    max_jobs_bytes: int = 1024 * MIB
    job_niceness: int = 10
    job_grace_seconds: float = 1.0
    job_silent_seconds: float = 60.0
    max_followers: int = 100
    wrong_tokens: int = 100
    stop_seconds: int = 10
    idle_seconds: int = 30
    max_connections: int = 512
    max_waiting_connections: int = 256
    max_header_bytes: int = 32_768

    def __post_init__(self) -> None:
        if self.token is not None and len(self.token) < SHORTEST_TOKEN:
            raise UsageError(
                "SERVE_TOKEN",
                f"the token has {len(self.token)} characters, which can be guessed; use at least "
                f"{SHORTEST_TOKEN}.",
            )
        if self.token is None and not is_loopback(self.host):
            raise UsageError(
                "SERVE_TOKEN",
                f"host={self.host!r} can be reached from other machines, which needs a token; pass "
                "--token-file with a file that holds one.",
            )

    @property
    def known_hosts(self) -> tuple[str, ...]:
        """Every name that a request may be addressed to, without its port, in lower case."""
        own = f"[{self.host}]" if ":" in self.host else self.host
        return tuple(name.lower() for name in (*LOOPBACK_NAMES, own, *self.trusted_hosts))


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def read_token(path: str | os.PathLike[str]) -> str:
    """The token that a file holds.

    Secrets that others hand over (systemd's credentials, those of a container) belong to root and
    can be read by a group made for the reader; such a file is as private as one's own.

    Raises:
        UsageError: The file cannot be read, or others than its owner may read it.

    Source: PostgreSQL 17, 18.9.1, what it asks of the file of a private key.
    """
    file = Path(path)
    try:
        if os.name == "posix" and not is_private(file.stat(), os.geteuid()):
            raise UsageError(
                "SERVE_TOKEN",
                f"{path} can be read by others; run: chmod 600 on the token file (440 where it "
                "belongs to root).",
            )
        token = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeError) as error:
        raise UsageError(
            "SERVE_TOKEN", f"the token file {path} cannot be read: {error}; check the path."
        ) from None
    if not token.isascii() or not token.isprintable():
        raise UsageError(
            "SERVE_TOKEN", f"the token in {path} has signs beyond ASCII; use letters and digits."
        )
    return token


def is_private(status: os.stat_result, user: int) -> bool:
    """Whether nobody but a user, root, and whom root lets read, can read or change a file."""
    from_root = status.st_uid == 0 != user
    return not status.st_mode & (0o037 if from_root else 0o077)
