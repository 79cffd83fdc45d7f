"""A study of a parabola that several processes work on; also run as a child to kill.

python toy_study.py FILE N_TRIALS [SECONDS] prints the number of each trial it settles, then "done".
"""

import sys
import time
from pathlib import Path

from explstm.search_space import Knob
from explstm.study import claim_trial, has_running, open_study, read_params, settle_trial
from explstm.study_storage import parse_storage

KNOBS = (Knob("x", low=-2.0, high=2.0), Knob("n", low=1, high=9), Knob("kind", ("a", "b", (3,))))
OWN = {"x": 1.5, "n": 4, "kind": (3,)}
IDENTITY = {"task": "parabola"}


def open_toy(path: str | Path, seed: int = 1, identity: dict | None = None):
    return open_study(parse_storage(path), KNOBS, OWN, identity or IDENTITY, seed)


def judge(params: dict) -> float:
    return params["x"] ** 2 + params["n"] / 10 + (params["kind"] != "a")


def run_toy(path: str | Path, n_trials: int, seconds: float = 0.0) -> None:
    with open_toy(path) as shared:
        given_up = time.monotonic() + 60
        while time.monotonic() < given_up:
            trial = claim_trial(shared, n_trials)
            if trial is not None:
                time.sleep(seconds)
                settle_trial(shared, trial, [judge(read_params(shared, trial))], seconds, 1)
                print(trial.number, flush=True)
            elif has_running(shared):
                time.sleep(0.05)
            else:
                return
    raise TimeoutError("a trial runs that no process works on")


if __name__ == "__main__":
    run_toy(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]) if sys.argv[3:] else 0.0)
    print("done", flush=True)
