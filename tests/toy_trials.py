"""A search of the parabola on the workers of an engine; also run as a child to kill.

python toy_trials.py STORAGE N_TRIALS ENGINE WORKERS FOLDER prints how many trials are settled and
how many were lost whenever one begins or ends, then "done". FOLDER gets a file for every attempt
that a worker begins, and that attempt's own folder one that no other process may ever have written.
"""

import math
import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from explstm.scaleout.crew import open_crew
from explstm.scaleout.records import describe_process
from explstm.scaleout.trials import Answer, Search, TrialTask
from explstm.search import Clock, Ending
from toy_study import judge, open_toy

SECONDS = 0.3
TOO_FAR = 8
"""A parameter above which the error is infinite."""


def judge_or_not(params: dict) -> float:
    """As the parabola; infinite in a part of the space."""
    return math.inf if params["n"] >= TOO_FAR else judge(params)


def work(task: TrialTask) -> Answer:
    """Train nothing, for a while, into the folder of the attempt."""
    began = time.monotonic()
    assert task.folder is not None
    with (task.folder / "owner").open("x") as file:  # nobody else may ever have been here
        file.write(str(os.getpid()))
    (Path(str(task.model)) / f"{task.folder.name}-{os.getpid()}").touch()
    time.sleep(SECONDS)
    assert (task.folder / "owner").read_text() == str(os.getpid())
    error = judge_or_not(task.params)
    ending = Ending("complete", SECONDS, (error,))
    return Answer(ending, {1: error} if math.isfinite(error) else {}, describe_process(began))


def run_search(
    storage: str, n_trials: int, engine: str, workers: int, folder: Path, **hooks: Any
) -> None:
    windows: Any = ()
    plan: Any = SimpleNamespace(
        model=str(folder / "attempts"), folds=SimpleNamespace(search=windows), h=1, seed=1
    )
    (folder / "attempts").mkdir(parents=True, exist_ok=True)
    tell = hooks.get("tell", lambda now: print(now.done, now.lost, flush=True))
    with open_crew(engine, workers, None) as crew, open_toy(storage) as shared:
        search = Search(
            crew,
            shared,
            plan,
            n_trials,
            hooks.get("clock", Clock()),
            root=folder / "checkpoints",
            task_seconds=hooks.get("task_seconds", 60.0),
            tell=tell,
            work=hooks.get("work", work),
        )
        search.run()


if __name__ == "__main__":
    storage, n_trials, engine, workers, folder = sys.argv[1:]
    run_search(storage, int(n_trials), engine, int(workers), Path(folder))
    print("done", flush=True)
