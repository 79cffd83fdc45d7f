"""Where the PyTorch engine computes. On a machine without a GPU the refusals are what is left."""

import numpy as np
import pytest

from explstm.errors import UsageError
from explstm.models.engine import OptimizerConfig, make_engine
from explstm.models.losses import LossConfig
from explstm.models.spec import ModelSpec, init_weights
from explstm.origins import Batch

torch = pytest.importorskip("torch")


@pytest.mark.parametrize(
    ("backend", "device", "says"),
    [
        ("torch", "nowhere", "device='nowhere' cannot be used here"),
        ("torch", "meta", "device='meta' cannot be used here"),
        ("torch", "cuda:99", "device='cuda:99' cannot be used here"),
        ("numpy", "cuda", "is for backend='torch'"),
        ("tensorflow", "cuda", "is for backend='torch'"),
    ],
)
def test_a_device_that_is_not_there_is_refused(backend: str, device: str, says: str) -> None:
    spec = ModelSpec(hidden_sizes=(4,))
    with pytest.raises(UsageError, match=f"DEVICE: .*{says}"):
        make_engine(backend, spec, init_weights(spec, 1), device=device)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("cell", ["lstm", "slstm"])
@pytest.mark.parametrize("options", [{}, {"dropout": 0.0, "dense_sizes": (8,), "batch_norm": True}])
def test_a_gpu_trains_as_the_processor_does(cell: str, options: dict) -> None:
    spec = ModelSpec(cell=cell, hidden_sizes=(16, 16), horizon=4, **options)
    weights, rng = init_weights(spec, 1), np.random.default_rng(0)
    origins_BT = np.ones((6, 20), bool)
    shape = (int(origins_BT.sum()), 4)
    batch = Batch(
        rng.standard_normal((6, 20, spec.n_features)).astype(np.float32),
        np.full(6, 20),
        origins_BT,
        rng.standard_normal(shape).astype(np.float32),
        np.ones(shape, np.float32),
    )
    engines = [make_engine("torch", spec, weights, device=device) for device in ("cpu", "cuda")]
    for engine in engines:
        engine.compile(
            OptimizerConfig("adam", 0.9, 0.999, 1e-3, 0.0, 1.0), LossConfig("pinball", 1)
        )
        for _ in range(5):
            engine.train_batch(batch, 1e-3)
        engine.load_optimizer(engine.dump_optimizer())
        engine.train_batch(batch, 1e-3)
    here, there = (engine.dump_weights() for engine in engines)
    for name in here:
        np.testing.assert_allclose(here[name], there[name], atol=2e-5, err_msg=name)
    forecasts = [engine.predict_origins(batch.features_BTF, origins_BT) for engine in engines]
    np.testing.assert_allclose(*forecasts, atol=1e-4)
