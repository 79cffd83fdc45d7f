"""How long does a training step take, against the frameworks' own LSTM?

    python benchmarks/steps.py                    # both frameworks, 1 and 2 threads
    python benchmarks/steps.py --frameworks torch --threads 2 --rounds 5

The reference is the same network written plainly: ``torch.nn.LSTM`` layers (``keras.layers.LSTM``
in a compiled ``tf.function``) with the same skip, head, pinball loss over all origins and Adam of
the framework, on tensors that are ready. Our step is :meth:`Engine.train_batch`, batches in NumPy
included. In one process the reference and every cell take a step in turn, after a warm-up, and the
medians are compared; every framework and number of threads has a process of its own. A ratio above
1 means that ours is faster. The sLSTM of TensorFlow is compared with both frameworks' LSTM.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

SHAPES = {  # series, steps, hidden sizes
    "small": (128, 24, (64, 64)),
    "fit default": (64, 96, (64, 64)),
    "large": (1024, 24, (64, 64)),
    "pretraining": (256, 120, (64, 64)),
}
CELLS: dict[str, dict] = {
    "LSTM tanh": {},
    "LSTM elu": {"activation": "elu"},
    "LSTM relu": {"activation": "relu"},
    "LSTM softsign": {"activation": "softsign"},
    "sLSTM": {"cell": "slstm"},
}
REFERENCES = {"torch": "torch.nn.LSTM", "tensorflow": "keras.layers.LSTM"}
LEARNING_RATE = 1e-3
WARM_UP = 2


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frameworks", nargs="+", choices=REFERENCES, default=list(REFERENCES))
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--out", type=Path, default=None, help="JSON file to write")
    parser.add_argument("--inside", nargs=2, metavar=("FRAMEWORK", "SHAPE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        print(json.dumps(measure(*options.inside, options.rounds)))
        return
    rows = [
        {"framework": framework, "threads": threads, "shape": shape}
        | run_inside(framework, shape, threads, options.rounds)
        for threads in options.threads
        for shape in options.shapes
        for framework in options.frameworks
    ]
    report(rows)
    if options.out is not None:
        facts = {"rounds": options.rounds, "python": platform.python_version(), "rows": rows}
        options.out.write_text(json.dumps(facts, indent=1) + "\n")


def run_inside(framework: str, shape: str, threads: int, rounds: int) -> dict[str, float]:
    """Measure in a process of its own with a number of threads."""
    names = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
    environment = os.environ | dict.fromkeys(names, str(threads))
    command = [sys.executable, __file__, "--inside", framework, shape, "--rounds", str(rounds)]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def measure(framework: str, shape: str, rounds: int) -> dict[str, float]:
    """Return the median milliseconds of a step of every cell and of its reference."""
    from explstm.models.engine import OptimizerConfig, make_engine
    from explstm.models.losses import LossConfig
    from explstm.models.spec import ModelSpec, init_weights

    plain_step = {"torch": plain_torch_step, "tensorflow": plain_keras_step}[framework]
    n_series, n_steps, hidden_sizes = SHAPES[shape]
    adam = OptimizerConfig("adam", 0.9, 0.999, 1e-7, 0.0, clip_norm=None)
    steps: dict[str, Callable[[], object]] = {}
    for name, changes in CELLS.items():
        spec = ModelSpec(hidden_sizes=hidden_sizes, **changes)
        batch = draw_batch(spec, n_series, n_steps)
        if name == "LSTM tanh" or (framework == "tensorflow" and spec.cell == "lstm"):
            steps[f"plain {name}"] = plain_step(spec, batch)
        engine = make_engine(framework, spec, init_weights(spec, seed=1))
        engine.compile(adam, LossConfig("pinball", 1.0))
        steps[name] = lambda engine=engine, batch=batch: engine.train_batch(batch, LEARNING_RATE)
    return take_turns(steps, rounds)


def take_turns(steps: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Return the median milliseconds of functions called in turn."""
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(WARM_UP + rounds):
        for name, step in steps.items():
            started = time.perf_counter()
            step()
            if turn >= WARM_UP:
                seconds[name].append(time.perf_counter() - started)
    return {name: 1000 * statistics.median(values) for name, values in seconds.items()}


def draw_batch(spec, n_series: int, n_steps: int):
    """Return random series of equal length; all steps but the first three are origins."""
    from explstm.origins import Batch

    rng = np.random.default_rng(0)
    origins_BT = np.ones((n_series, n_steps), bool)
    origins_BT[:, :3] = False
    shape = (int(origins_BT.sum()), spec.horizon)
    return Batch(
        rng.standard_normal((n_series, n_steps, spec.n_features)).astype(np.float32),
        np.full(n_series, n_steps),
        origins_BT,
        rng.standard_normal(shape).astype(np.float32),
        np.ones(shape, np.float32),
    )


def plain_torch_step(spec, batch) -> Callable[[], float]:
    """Return a step of the network on ``torch.nn.LSTM``, as a user of PyTorch would write it."""
    import torch
    from torch import nn

    from explstm.models.head import order_quantiles

    lstm = nn.LSTM(spec.n_features, spec.hidden_sizes[0], len(spec.hidden_sizes))
    head = nn.Linear(spec.picked_size, spec.horizon * len(spec.quantiles))
    parameters = [*lstm.parameters(), *head.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=LEARNING_RATE)
    features_TBF = torch.from_numpy(np.ascontiguousarray(batch.features_BTF.swapaxes(0, 1)))
    series_R, time_R = np.nonzero(batch.origins_BT)
    rows_R = torch.from_numpy(time_R * len(batch.origins_BT) + series_R)
    targets_RH = torch.from_numpy(batch.targets_RH)
    levels_Q = torch.tensor(spec.quantiles)[:, None, None]

    def step() -> float:
        hidden_TBC, _ = lstm(features_TBF)
        pick = (hidden_TBC, features_TBF)
        x_RC = torch.cat([array.flatten(0, 1).index_select(0, rows_R) for array in pick], 1)
        raw_QRH = head(x_RC).unflatten(1, (spec.horizon, -1)).movedim(-1, 0).contiguous()
        quantiles_QRH = order_quantiles(raw_QRH, spec.median, nn.functional.softplus, torch)
        error_QRH = targets_RH - quantiles_QRH
        loss = torch.maximum(levels_Q * error_QRH, (levels_Q - 1) * error_QRH).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def plain_keras_step(spec, batch) -> Callable[[], float]:
    """Return a compiled step on ``keras.layers.LSTM``, as a user of Keras would write it."""
    import keras
    import tensorflow as tf

    import explstm.models.tensorflow_engine  # noqa: F401  so that TensorFlow keeps quiet
    from explstm.models.head import order_quantiles

    lstms = [
        keras.layers.LSTM(
            size,
            activation=spec.activation,
            recurrent_activation=spec.recurrent_activation,
            return_sequences=True,
        )
        for size in spec.hidden_sizes
    ]
    head = keras.layers.Dense(spec.horizon * len(spec.quantiles))
    optimizer = keras.optimizers.Adam(LEARNING_RATE)
    levels_Q = tf.constant(spec.quantiles)[:, None, None]
    tensors = (batch.features_BTF, np.flatnonzero(batch.origins_BT), batch.targets_RH)
    features_BTF, rows_R, targets_RH = map(tf.constant, tensors)

    def forecast(features_BTF, rows_R):
        hidden_BTC = features_BTF
        for lstm in lstms:
            hidden_BTC = lstm(hidden_BTC)
        pick = (hidden_BTC, features_BTF)
        x_RC = tf.concat(
            [tf.gather(tf.reshape(a, (-1, a.shape[-1])), rows_R) for a in pick], axis=1
        )
        raw_RHQ = tf.reshape(head(x_RC), (-1, spec.horizon, len(spec.quantiles)))
        raw_QRH = tf.transpose(raw_RHQ, (2, 0, 1))
        return order_quantiles(raw_QRH, spec.median, tf.nn.softplus, keras.ops)

    forecast(features_BTF[:1], rows_R[:1])  # builds the layers
    variables = [v for layer in (*lstms, head) for v in layer.trainable_variables]
    optimizer.build(variables)

    @tf.function(
        input_signature=[
            tf.TensorSpec((None, None, spec.n_features), tf.float32),
            tf.TensorSpec((None,), tf.int64),
            tf.TensorSpec((None, spec.horizon), tf.float32),
        ]
    )
    def train(features_BTF, rows_R, targets_RH):
        with tf.GradientTape() as tape:
            error_QRH = targets_RH - forecast(features_BTF, rows_R)
            loss = tf.reduce_mean(tf.maximum(levels_Q * error_QRH, (levels_Q - 1) * error_QRH))
        gradients = tape.gradient(loss, [variable.value for variable in variables])
        optimizer.apply(gradients, variables)
        return loss

    return lambda: float(train(features_BTF, rows_R, targets_RH))


def report(rows: list[dict]) -> None:
    """Print the table."""
    print("| threads | series x steps x hidden | its own LSTM, ms |", end="")
    print(" | ".join(f" {name}" for name in CELLS), "|")
    print("|" + "---|" * (3 + len(CELLS)))
    nn_lstm = {
        (row["threads"], row["shape"]): row["plain LSTM tanh"]
        for row in rows
        if row["framework"] == "torch"
    }
    for row in rows:
        n_series, n_steps, sizes = SHAPES[row["shape"]]
        cells = []
        for name in CELLS:
            plain = row.get(f"plain {name}", row["plain LSTM tanh"])
            cells.append(f"{row[name]:.0f} ms, {plain / row[name]:.2f}")
        both = nn_lstm.get((row["threads"], row["shape"]))
        if row["framework"] == "tensorflow" and both is not None:
            cells[-1] += f" ({both / row['sLSTM']:.2f} of torch.nn.LSTM)"
        shape = f"{row['shape']}: {n_series} x {n_steps} x " + " x ".join(map(str, sizes))
        reference = f"{REFERENCES[row['framework']]}: {row['plain LSTM tanh']:.0f}"
        print(f"| {row['threads']} | {shape} | {reference} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
