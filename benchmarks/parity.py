"""How far apart are the three engines on the same network?

    python benchmarks/parity.py

For every activation, for one to three layers, with and without dense layers, batch normalisation
and dropout: the largest absolute difference of the forward pass (each framework against NumPy in
double precision), and between the frameworks of the gradients and of the weights after ten matched
Adam steps under the squared error. Weights and batches are random with fixed seeds. Dropout draws
its own noise in each framework, so with it only the forward pass is compared.
"""

import numpy as np

from explstm.models.engine import Engine, OptimizerConfig, make_engine
from explstm.models.losses import LossConfig
from explstm.models.numpy_engine import NumpyEngine
from explstm.models.spec import ACTIVATIONS, ModelSpec, init_weights
from explstm.origins import Batch

FRAMEWORKS = ("torch", "tensorflow")
ADAM = OptimizerConfig("adam", 0.9, 0.999, 1e-8, 0.0, clip_norm=None)
MSE = LossConfig("mse", 1.0)
STEPS, LEARNING_RATE = 10, 1e-3

NETWORKS = {
    **{f"cell and dense {name}": {"activation": name} for name in ACTIVATIONS},
    **{f"gates {name}": {"recurrent_activation": name} for name in ("hard_sigmoid", "softsign")},
    "1 layer": {"hidden_sizes": (16,)},
    "3 layers": {"hidden_sizes": (16, 8, 12)},
    "no dense layer, no skip": {"dense_sizes": (), "residual": False},
    "batch normalisation": {"batch_norm": True},
    "dropout": {"dropout": 0.3},
}


def main() -> None:
    """Print the table."""
    print("| network | forward | gradients | ten Adam steps |")
    print("|---|---|---|---|")
    worst = np.zeros(3)
    for name, changes in NETWORKS.items():
        figures = compare(make_spec(changes))
        worst = np.fmax(worst, figures)
        print(f"| {name} | " + " | ".join(_cell(figure) for figure in figures) + " |")
    print("| **largest** | " + " | ".join(f"**{figure:.1e}**" for figure in worst) + " |")


def make_spec(changes: dict) -> ModelSpec:
    """Return the base network, two layers and one dense, with some parts changed."""
    base = {"hidden_sizes": (16, 12), "dense_sizes": (8,), "horizon": 4}
    activation = {"dense_activation": changes["activation"]} if "activation" in changes else {}
    return ModelSpec(**{**base, **activation, **changes})


def compare(spec: ModelSpec) -> tuple[float, float, float]:
    """Return the largest differences: forward, gradients, weights after ten steps."""
    weights = init_weights(spec, seed=1)
    batches = [draw_batch(spec, seed) for seed in range(STEPS)]
    first = batches[0]
    truth = NumpyEngine(spec, weights, dtype=np.float64)
    outputs_RHQ = truth.predict_origins(first.features_BTF, first.origins_BT)
    engines = [make_engine(framework, spec, weights) for framework in FRAMEWORKS]
    forward = max(
        float(np.abs(e.predict_origins(first.features_BTF, first.origins_BT) - outputs_RHQ).max())
        for e in engines
    )
    if spec.dropout:
        return forward, np.nan, np.nan
    for engine in engines:
        engine.compile(ADAM, MSE)
    gradients = _largest_difference(*(engine.gradients(first) for engine in engines))
    return forward, gradients, _largest_difference(*(_train(e, batches) for e in engines))


def _train(engine: Engine, batches: list[Batch]) -> dict[str, np.ndarray]:
    for batch in batches:
        engine.train_batch(batch, LEARNING_RATE)
    return engine.dump_weights()


def _largest_difference(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> float:
    return max(float(np.abs(ours[name] - theirs[name]).max()) for name in ours)


def draw_batch(spec: ModelSpec, seed: int) -> Batch:
    """Return eight random series of up to 24 steps, every step from the fourth an origin."""
    rng = np.random.default_rng(seed)
    lengths_B = rng.integers(8, 25, 8)
    inside_BT = np.arange(lengths_B.max()) < lengths_B[:, None]
    features_BTF = rng.standard_normal((*inside_BT.shape, spec.n_features)) * inside_BT[..., None]
    origins_BT = inside_BT & (np.arange(inside_BT.shape[1]) >= 3)
    targets_RH = rng.standard_normal((int(origins_BT.sum()), spec.horizon))
    return Batch(
        features_BTF.astype(np.float32),
        lengths_B,
        origins_BT,
        targets_RH.astype(np.float32),
        np.ones(targets_RH.shape, np.float32),
    )


def _cell(figure: float) -> str:
    return "" if np.isnan(figure) else f"{figure:.1e}"


if __name__ == "__main__":
    main()
