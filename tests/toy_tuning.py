"""A small tuning; also run as a child to kill.

python toy_tuning.py FILE N_TRIALS prints the number of every trial it ends, then "done".
"""

import sys

import numpy as np
import pandas as pd

from explstm import ExpLSTM, ModelSpec

H = 3
SPACE = {
    "max_steps": {"low": 2, "high": 16},
    "hidden_sizes": [[3], [4], [3, 3]],
    "dense_sizes": [[], [4]],
    "batch_size": [2, 64],
}


def make_toy(last: float = 1.0) -> pd.DataFrame:
    """Five series of 30 to 34 steps; ``last`` multiplies the last horizon of each."""
    rng = np.random.default_rng(3)
    tables = []
    for place in range(5):
        y = 100 * np.exp(np.cumsum(rng.normal(0.02, 0.05, 30 + place)))
        y[-H:] *= last
        tables.append(pd.DataFrame({"unique_id": f"s{place}", "ds": np.arange(len(y)), "y": y}))
    return pd.concat(tables, ignore_index=True)


def toy_model(**settings) -> ExpLSTM:
    return ExpLSTM(
        **{
            "backend": "torch",
            "init": "random",
            "max_steps": 3,
            "spec": ModelSpec(hidden_sizes=(3,)),
            **settings,
        }
    )


def tune_toy(n_trials: int = 6, df: pd.DataFrame | None = None, **options) -> ExpLSTM:
    df = make_toy() if df is None else df
    return toy_model().tune(df, H, **{"n_trials": n_trials, "space": SPACE, **options})


if __name__ == "__main__":
    tune_toy(
        int(sys.argv[2]),
        storage=sys.argv[1],
        on_trial=lambda record: print(record.number, flush=True),
    )
    print("done", flush=True)
