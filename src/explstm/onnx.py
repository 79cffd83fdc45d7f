"""A fitted model as an ONNX file: its network, and in words how series get in and forecasts out.

Contract: the file holds the graph of :mod:`explstm.models.onnx_graph` and, as its metadata, what a
program around it needs to know: the entry ``explstm`` is a JSON object with ``version``, ``spec``
(the network), ``features`` (their names in order), ``quantiles`` (probabilities), ``horizon``, and
``preprocessing`` (:class:`explstm.prediction.Preprocessing`). Growth space itself stays outside;
docs/how-to/export.md tells it in steps. Equal models give equal bytes.

Needs the extra ``onnx``.
"""

import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from explstm import __version__
from explstm.errors import UsageError
from explstm.features import FEATURES
from explstm.forecaster import ExpLSTM
from explstm.models.onnx_graph import build_onnx
from explstm.storage import dump_json, is_replaceable, replace_file

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
        BusyError: Another process is writing the file.
    """
    place = check_place(path)
    model.require_fitted()
    about = describe_network(model)
    network = build_onnx(model.spec_, model.weights_, {METADATA: dump_json(about).decode("ascii")})
    try:
        replace_file(place, network.SerializeToString(deterministic=True))
    except OSError as error:
        raise _refuse_unwritable(place, error) from None
    return about


def check_place(path: str | Path) -> Path:
    """A place for a file: where there is nothing, or a regular file.

    Raises:
        UsageError: Something else has the name, or it is one of a folder.
    """
    name, place = os.path.basename(os.fspath(path)), Path(path)
    if name in ("", ".", "..") or os.path.isdir(place):
        raise UsageError("OUTPUT_FOREIGN", f"--out {path} is the name of a folder; choose a file.")
    try:
        replaceable = is_replaceable(place)
    except OSError as error:
        raise _refuse_unwritable(place, error) from None
    if not replaceable:
        raise UsageError(
            "OUTPUT_FOREIGN",
            f"--out {path} exists and is no regular file; choose another place.",
        )
    return place


def _refuse_unwritable(path: Path, error: OSError) -> UsageError:
    return UsageError(
        "OUTPUT_UNWRITABLE",
        f"--out: {path} cannot be written ({error.strerror or error}); choose a place with "
        "space where you may write.",
    )


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
