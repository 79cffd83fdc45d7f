"""A fitted model as an ONNX file: its network, and in words how series get in and forecasts out.

Contract: the file holds the graph of :mod:`explstm.models.onnx_graph` and, as its metadata, what a
program around it needs to know: the entry ``explstm`` is a JSON object with ``version``, ``spec``
(the network), ``features`` (their names in order), ``quantiles`` (probabilities), ``horizon``, and
``preprocessing`` (:class:`explstm.prediction.Preprocessing`). Growth space itself stays outside;
docs/how-to/export.md tells it in steps. Equal models give equal bytes.

Needs the extra ``onnx``.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from explstm import __version__
from explstm.errors import UsageError
from explstm.features import FEATURES
from explstm.forecaster import ExpLSTM
from explstm.models.onnx_graph import build_onnx
from explstm.storage import dump_json, replace_file

METADATA = "explstm"


def export_onnx(model: ExpLSTM, path: str | Path) -> dict[str, Any]:
    """Write the network of a model to an ONNX file; one that stands there is replaced as a whole.

    Args:
        model: Fitted or loaded, or one that forecasts at once.
        path: The file.

    Returns:
        What the file says of itself.

    Raises:
        BackendNotInstalledError: ONNX is not installed.
        UsageError: The model has no weights, or the place cannot be written.
    """
    model.require_fitted()
    about = describe_network(model)
    network = build_onnx(model.spec_, model.weights_, {METADATA: dump_json(about).decode("ascii")})
    try:
        replace_file(Path(path), network.SerializeToString(deterministic=True))
    except OSError as error:
        raise UsageError(
            "OUTPUT_UNWRITABLE",
            f"--out: {path} cannot be written ({error.strerror or error}); choose a place with "
            "space where you may write.",
        ) from None
    return about


def describe_network(model: ExpLSTM) -> dict[str, Any]:
    """What a program around the network needs to know."""
    spec = model.spec_
    return {
        "version": __version__,
        "spec": spec.model_dump(mode="json"),
        "features": list(FEATURES[: spec.n_features]),
        "quantiles": list(spec.quantiles),
        "horizon": spec.horizon,
        "preprocessing": asdict(model.preprocessing_),
    }
