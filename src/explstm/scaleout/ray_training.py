"""A team on a Ray cluster: its members, what they tell, and what becomes of those that are lost.

Contract: :func:`run_team` has every worker do the same job and returns what the first one made.
Where a worker dies, or the others wait for it too long, all begin again and resume from the newest
checkpoint, a few times. What the job itself refuses is raised, and nothing is tried again.
"""

import importlib
import shutil
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast

from explstm import __version__
from explstm.apart import THREADS, set_environment
from explstm.errors import ExpLSTMError, TrainingError
from explstm.scaleout.engines import POLL_SECONDS
from explstm.scaleout.members import Board, Plan, Start, take_part
from explstm.scaleout.mirror import is_url
from explstm.scaleout.ray_engine import open_ray
from explstm.storage import hold_lock
from explstm.training import LogRow

ATTEMPTS = 5
"""How often a team begins before the run is given up."""
END_SECONDS = 30.0
"""How long the end of a training is waited for that nobody wants any more."""
LEADING = "_initialize_and_run_controller"
"""The function of Ray 2.60 that holds the actor which leads a training."""
RUN = "run"
"""Lock of whoever asked for a training, in its folder of checkpoints."""
WORKER_ENVIRONMENT = {
    "KERAS_BACKEND": "tensorflow",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TF_ENABLE_ONEDNN_OPTS": "0",
}


def run_team(
    plan: Plan, address: str | None, on_step: Callable[[LogRow], None] | None
) -> tuple[Any, list[Start]]:
    """Have a team do a job.

    Args:
        plan: What it needs.
        address: Of a cluster that runs, see :func:`explstm.scaleout.ray_engine.open_ray`.
        on_step: Called with every row of the log; steps that are done again are told again.

    Returns:
        What the first worker made, and which workers have begun.

    Raises:
        ExpLSTMError: As the job raised it, or workers were lost too often.
    """
    with ExitStack() as held:
        if not is_url(plan.checkpoints):
            Path(plan.checkpoints).mkdir(parents=True, exist_ok=True)
            held.enter_context(hold_lock(Path(plan.checkpoints) / RUN))
        held.enter_context(set_environment(_settings(plan.wait_seconds)))
        held.enter_context(open_ray(plan.workers, address))
        folder = tempfile.mkdtemp(prefix="explstm-train-")
        held.callback(shutil.rmtree, folder, ignore_errors=True)
        held.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore", DeprecationWarning)  # of Ray, about itself
        import ray

        board = ray.remote(num_cpus=0)(Board).remote()
        outcome = _wait_for(_make_trainer(plan, board, folder), board, on_step or (lambda _: None))
        starts, errors = ray.get(board.read.remote())
        if errors:
            raise errors[0]
        return _check_outcome(outcome).return_value, starts


def _check_outcome(outcome: Any) -> Any:
    """The result of a trainer, or the error that it ended with.

    Raises:
        TrainingError: Workers were lost too often.
    """
    from ray.train import TrainingFailedError

    if isinstance(outcome, TrainingFailedError):
        raise TrainingError(
            "WORKER_LOST",
            f"a worker was lost {ATTEMPTS} times, the last time with: {_shorten(outcome)}; see "
            "that memory suffices, and run again with resume: what is done is kept.",
        )
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def _settings(wait_seconds: float) -> dict[str, str]:
    return {
        "RAY_CHDIR_TO_TRIAL_DIR": "0",
        "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",  # checkpoints are kept all along
        "RAY_TRAIN_METRICS_ENABLED": "0",
        "RAY_TRAIN_V2_ENABLED": "1",
        "RAY_TRAIN_WORKER_HEALTH_CHECK_TIMEOUT_S": f"{wait_seconds:g}",
    }


def _make_trainer(plan: Plan, board: Any, folder: str) -> Any:
    """The trainer of Ray for a framework; nothing is kept in the folder that it is given."""
    from ray.train import FailureConfig, RunConfig, ScalingConfig

    threads = dict.fromkeys(THREADS, "1")
    common = {
        "train_loop_config": {"plan": plan, "board": board, "version": __version__},
        "scaling_config": ScalingConfig(
            num_workers=plan.workers, use_gpu=False, resources_per_worker={"CPU": 1}
        ),
        "run_config": RunConfig(
            storage_path=folder,
            failure_config=FailureConfig(max_failures=ATTEMPTS - 1),
            worker_runtime_env={"env_vars": {**threads, **WORKER_ENVIRONMENT}},
        ),
    }
    if plan.backend == "tensorflow":
        importlib.import_module("explstm.models.tensorflow_engine")  # prepares the environment
        from ray.train.tensorflow import TensorflowTrainer

        return TensorflowTrainer(work, **common)
    from ray.train.torch import TorchConfig, TorchTrainer

    config = TorchConfig(backend="gloo", timeout_s=int(2 * plan.wait_seconds) + 1)
    return TorchTrainer(work, torch_config=config, **common)


def _wait_for(trainer: Any, board: Any, tell: Callable[[LogRow], None]) -> Any:
    """The result of a trainer, or the error with which it ended; tells of steps meanwhile.

    It runs in a thread of its own, because in the main one it would take over Ctrl-C.
    """
    outcome: list[Any] = []
    ended = threading.Event()  # a thread whose join was interrupted says that it has ended

    def fit() -> None:
        try:
            outcome.append(trainer.fit())
        except Exception as error:
            outcome.append(error)
        finally:
            ended.set()

    thread = threading.Thread(target=fit, daemon=True)
    thread.start()
    try:
        while not ended.wait(POLL_SECONDS / 2):
            _tell_rows(board, tell)
        _tell_rows(board, tell)
    finally:
        end_training(thread, ended)
    return outcome[0]


def _tell_rows(board: Any, tell: Callable[[LogRow], None]) -> None:
    import ray

    for row in ray.get(board.take_rows.remote()):
        tell(row)


def end_training(thread: threading.Thread, ended: threading.Event) -> None:
    """End the training that a thread waits for, unless it has ended.

    Left alone, the training would go on, or Ray would end this process when the thread finds the
    connection gone. There is no public way to the actor that leads a training.
    """
    import ray

    latest = time.monotonic() + END_SECONDS
    while not ended.is_set() and time.monotonic() < latest:
        frame = sys._current_frames().get(cast(int, thread.ident))
        while frame is not None and frame.f_code.co_name != LEADING:
            frame = frame.f_back
        leader = frame.f_locals.get("controller") if frame else None
        if leader is not None:
            ray.kill(leader)
        ended.wait(POLL_SECONDS / 10)


def _shorten(error: Exception) -> str:
    """The last line of what Ray says, which names the error itself."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__)[:300].rstrip(".")


# ------------------------------------------------------------------------------------- in a worker


def work(config: Mapping[str, Any]) -> Any:
    """What runs in every worker."""
    from ray.train import get_context

    rank = get_context().get_world_rank()
    return take_part(config["plan"], _FarBoard(config["board"]), rank, config["version"])


class _FarBoard:
    """A board in another process."""

    def __init__(self, actor: Any) -> None:
        import ray

        self._actor, self._get = actor, ray.get

    def begin(self, rank: int, host: str, process: int) -> ExpLSTMError | None:
        found: ExpLSTMError | None = self._get(self._actor.begin.remote(rank, host, process))
        return found

    def fail(self, error: ExpLSTMError) -> None:
        self._get(self._actor.fail.remote(error))

    def count_errors(self) -> int:
        return int(self._get(self._actor.count_errors.remote()))

    def tell(self, row: LogRow) -> None:
        self._actor.tell.remote(row)  # nobody waits for it
