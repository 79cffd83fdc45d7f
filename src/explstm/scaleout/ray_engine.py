"""Workers of a Ray cluster: one that runs already, or one of this machine's own.

Contract: with an address, the cluster that is there or an error; without, that of the program that
asks, where it has begun one, or a new one of this machine, which ends with the run. Of that one the
dashboard is off, the token that lets in is readable for its owner only, and all that Ray writes
lies in a folder that nobody else can open. No more tasks are begun than the cluster has CPUs. Ray
listens on all interfaces, and whoever has the token can run code: a cluster belongs into a private
network.
"""

import os
import secrets
import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from explstm import __version__
from explstm.apart import one_thread, set_environment
from explstm.errors import BackendNotInstalledError, ExpLSTMError, UsageError, tell_reason
from explstm.scaleout.engines import Lost, do_task

OBJECT_STORE_BYTES = 200 * 2**20
"""Results are counts, and data go through files."""
QUIET: Mapping[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
QUIET_ENVIRONMENT = {
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # which Ray warns of where it is not set
    "RAY_USAGE_STATS_ENABLED": "0",
}
KNOCK_SECONDS = 10.0
LONGEST_TEMPORARY = 40
"""Characters of a folder for temporary files: the paths of sockets below it have at most 107."""


class RayEngine:
    """Tasks of a Ray cluster.

    Attributes:
        workers: How many are done at once.
    """

    def __init__(self, ray: Any, workers: int) -> None:
        self.workers = workers
        self._ray = ray
        # Lost tasks are begun again by whoever asked, as on every engine.
        self._do_task = ray.remote(do_task).options(num_cpus=1, max_retries=0)
        self._busy: list[Any] = []

    def start(self, work: Callable[[Any], Any], task: Any) -> Any:
        """Begin a task."""
        name = self._do_task.remote(__version__, work, task)
        self._busy.append(name)
        return name

    def wait(self, seconds: float) -> list[tuple[Any, Any]]:
        """Wait for answers, or for the ends of workers."""
        ended, self._busy = self._ray.wait(self._busy, timeout=seconds)
        return [(name, self._take(name)) for name in ended]

    def abandon(self, name: Any) -> None:
        """Kill the worker of a task, unless it has answered."""
        if name in self._busy:
            self._busy.remove(name)
            # Ray 2.60 ends this process where a task is cancelled at the moment that it ends.
            if not self._ray.wait([name], timeout=0)[0]:
                self._ray.cancel(name, force=True)

    def _take(self, name: Any) -> Any:
        errors = self._ray.exceptions
        try:
            return self._ray.get(name)
        except (errors.RayTaskError, errors.RaySystemError) as error:  # before the task began
            return RuntimeError(str(error))
        except errors.RayError:
            return Lost()


@contextmanager
def open_ray(workers: int | None, address: str | None) -> Iterator[RayEngine]:
    """Yield an engine on a cluster.

    Args:
        workers: Tasks at once; all CPUs of the cluster unless given.
        address: Of a cluster that runs, ``host:port``; by default that of ``RAY_ADDRESS``, and
            where there is none, a cluster of this machine is begun and ended.

    Raises:
        BackendNotInstalledError: Ray is not installed.
        UsageError: No cluster answers there, or it has fewer CPUs than workers.
        ExpLSTMError: None could be begun here.
    """
    address = address or os.environ.get("RAY_ADDRESS")
    address = None if address == "local" else address
    with ExitStack() as held:
        held.enter_context(set_environment(QUIET_ENVIRONMENT))
        ray = import_ray()
        held.enter_context(_silence(ray))
        if not ray.is_initialized():
            held.enter_context(
                _join_cluster(ray, address) if address else _begin_cluster(ray, workers)
            )
        yield RayEngine(ray, _check_workers(ray, workers))


@contextmanager
def _silence(ray: Any) -> Iterator[None]:
    """Keep Ray from telling of lost workers on standard output, where results may be expected."""
    worker = ray._private.worker
    before, worker.print_to_stdstream = worker.print_to_stdstream, lambda *_, **__: None
    try:
        yield
    finally:
        worker.print_to_stdstream = before


@contextmanager
def _begin_cluster(ray: Any, workers: int | None) -> Iterator[None]:
    """Begin a cluster of this machine in a folder and with a token of its own."""
    temporary = tempfile.gettempdir()
    short = None if len(temporary) <= LONGEST_TEMPORARY else "/tmp"
    # Ray makes its own folder writable for all, so it gets one below a folder that is not.
    folder = Path(tempfile.mkdtemp(prefix="explstm-", dir=short))
    token = folder / "token"
    try:
        descriptor = os.open(token, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(32))
        with _authenticate(ray, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN_PATH=str(token)):
            try:
                _init_local(ray, workers, folder / "ray")
                yield
            finally:
                ray.shutdown()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _init_local(ray: Any, workers: int | None, folder: Path) -> None:
    try:
        with one_thread(), _keep_handlers():
            ray.init(
                "local",
                num_cpus=workers or os.cpu_count(),
                include_dashboard=False,
                object_store_memory=OBJECT_STORE_BYTES,
                _temp_dir=str(folder),
                **QUIET,
            )
    except Exception as error:  # of many classes, some of them plain
        raise ExpLSTMError(
            "CLUSTER_FAILED",
            f"Ray could not begin a cluster on this machine ({tell_reason(error)}); see that "
            "it has memory and is not overloaded, and run again, or use the engine local.",
        ) from None


@contextmanager
def _join_cluster(ray: Any, address: str) -> Iterator[None]:
    """Connect to a cluster that runs, with the token that Ray's own settings name."""
    with _authenticate(ray, RAY_AUTH_MODE=os.environ.get("RAY_AUTH_MODE", "token")):
        try:
            _knock(address)
            with _keep_handlers():
                ray.init(address, **QUIET)
        except Exception as error:  # of many classes, some of them private
            raise UsageError(
                "CLUSTER_UNREACHABLE",
                f"no Ray cluster answers at {address} ({type(error).__name__}: "
                f"{tell_reason(error)}); check the address, and that "
                "RAY_AUTH_TOKEN_PATH names the token of the cluster.",
            ) from None
        try:
            yield
        finally:
            ray.shutdown()


@contextmanager
def _keep_handlers() -> Iterator[None]:
    """Answer signals as before: Ray takes them, and would end the program with its own trace."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in before.items():
                if handler is not None:
                    signal.signal(number, handler)


def _knock(address: str) -> None:
    """Fail at once where nobody listens; Ray itself would try for minutes.

    Raises:
        OSError: As said.
    """
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), KNOCK_SECONDS).close()


@contextmanager
def _authenticate(ray: Any, **settings: str) -> Iterator[None]:
    """Have Ray read its settings of authentication again, in the block and after it."""

    def read_again() -> None:  # there is no public way to it in Ray 2.60
        ray._raylet.Config.initialize("")
        ray._raylet.AuthenticationTokenLoader.instance().reset_cache()

    with set_environment(settings):
        read_again()
        yield
    read_again()


def _check_workers(ray: Any, workers: int | None) -> int:
    """How many tasks are done at once; no more than the cluster has CPUs."""
    cpus = int(ray.cluster_resources().get("CPU", 0))
    if cpus < 1:
        raise UsageError(
            "WORKERS_RANGE", "the cluster has no CPU; add nodes, or wait until they have joined."
        )
    if workers is not None and workers > cpus:
        raise UsageError(
            "WORKERS_RANGE",
            f"workers={workers} are more than the {cpus} CPUs of the cluster; ask for fewer, or "
            "add nodes.",
        )
    return workers or cpus


def import_ray() -> Any:
    """Ray itself.

    Raises:
        BackendNotInstalledError: It is not installed.
    """
    try:
        import ray
    except ImportError:
        raise BackendNotInstalledError(
            "RAY_NOT_INSTALLED", "the engine ray needs Ray; run: pip install 'explstm[ray]'"
        ) from None
    return ray
