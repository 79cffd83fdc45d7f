"""A short training in a process of its own: python toy_determinism.py BACKEND FORECAST.npy."""

import sys

import numpy as np

from explstm import ExpLSTM, ModelSpec
from part_data import make_series

if __name__ == "__main__":
    df = make_series(40)
    model = ExpLSTM(
        backend=sys.argv[1],
        init="random",
        spec=ModelSpec(hidden_sizes=(32, 32), dropout=0.1),
        max_steps=5,
        random_seed=4,
    )
    table = model.fit(df, h=6).predict(df, h=6, level=[80])
    np.save(sys.argv[2], table.select_dtypes("number").to_numpy())
