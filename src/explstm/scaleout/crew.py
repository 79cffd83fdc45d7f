"""Who does the tasks: processes of this machine, or those of a Ray cluster.

Contract: an engine is opened with the workers that were asked for, or not at all.
"""

from contextlib import AbstractContextManager

from explstm.config import check_whole, choose
from explstm.errors import UsageError
from explstm.scaleout.engines import Engine
from explstm.scaleout.local import open_local
from explstm.scaleout.ray_engine import open_ray

ENGINES = ("local", "ray")
TASK_SECONDS = 3600.0


def check_crew(engine: str, workers: int | None, address: str | None) -> None:
    """Refuse an engine that is not there, or an address of one that has none.

    Raises:
        UsageError: As said.
    """
    choose("engine", engine, ENGINES)
    if workers is not None:
        check_whole("WORKERS_RANGE", "workers", workers)
    if address is not None and engine != "ray":
        raise UsageError("CONFIG_CONFLICT", "an address is one of Ray; set engine='ray' as well.")


def open_crew(
    engine: str, workers: int | None, address: str | None
) -> AbstractContextManager[Engine]:
    """Open an engine.

    Args:
        engine: ``"local"`` or ``"ray"``.
        workers: Tasks at once; by default as many as there are cores or CPUs.
        address: Of a Ray cluster that runs; by default one of this machine is begun and ended.
    """
    return open_local(workers) if engine == "local" else open_ray(workers, address)
