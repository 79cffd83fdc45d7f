"""Saved models: a sealed folder of ``config.json``, ``weights.safetensors`` and ``manifest.json``.

``config.json`` holds the specification of the network and the settings of the forecaster;
``manifest.json`` the format and package version, sizes, SHA-256 and the fingerprint of the data.
Nothing else is ever read, and nothing in the folder is ever executed. Equal models give equal
bytes. Trained in one framework, a model loads in any engine.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explstm.errors import ModelFileError, UsageError
from explstm.models.engine import check_weights
from explstm.models.spec import ModelSpec
from explstm.storage import (
    MAX_JSON_BYTES,
    Sealed,
    dump_json,
    parse_json,
    read_sealed,
    tell_versions,
    write_sealed,
)
from explstm.tensors import MAX_HEADER_BYTES, dump_tensors, load_tensors

CONFIG = "config.json"
WEIGHTS = "weights.safetensors"
PRETRAINED_FOLDER = "pretrained"
KIND = "model"

Weights = dict[str, NDArray[np.floating]]


@dataclass(frozen=True)
class Bundle:
    """A saved model in memory.

    Attributes:
        spec: The network.
        weights: Its weights by canonical name, float32.
        config: Settings of the forecaster, as saved.
        manifest: Versions, sizes, SHA-256 and data fingerprint, as saved.
    """

    spec: ModelSpec
    weights: Weights
    config: dict[str, Any]
    manifest: dict[str, Any]


def save_bundle(
    path: str | Path,
    spec: ModelSpec,
    weights: Mapping[str, NDArray[np.floating]],
    config: Mapping[str, Any],
    *,
    data_fingerprint: str,
) -> None:
    """Save a model; one that stands at ``path`` is replaced as a whole or not at all.

    Args:
        path: The folder; created, with its parents, for the owner only.
        spec: The network.
        weights: Its weights.
        config: Settings of the forecaster: JSON values only.
        data_fingerprint: Says which data the model was trained on.

    Raises:
        ModelFileError: The weights do not belong to the network or are not finite, the settings are
            not JSON, the folder holds something else, or the place cannot be written.
        BusyError: Another process is saving to the same place.
    """
    check_weights(spec, weights)
    arrays = {name: np.asarray(array, dtype=np.float32) for name, array in weights.items()}
    try:
        settings = dump_json({"spec": spec.model_dump(mode="json"), "settings": dict(config)})
    except (TypeError, ValueError) as error:
        raise ModelFileError(
            "MODEL_CONFIG",
            f"the settings of the model are not JSON ({error}); use numbers, text, lists and "
            "dictionaries only.",
        ) from None
    files = {CONFIG: settings, WEIGHTS: dump_tensors(arrays)}
    write_sealed(Path(path), files, {"kind": KIND, "data_fingerprint": data_fingerprint})


def load_bundle(path: str | Path) -> Bundle:
    """Load a model.

    No more memory is used than twice what the network in ``config.json`` needs.

    Raises:
        ModelFileError: Missing, damaged, hostile, or from a newer version.
        BusyError: The folder was being replaced each time it was read.
    """
    return read_sealed(Path(path), (CONFIG, WEIGHTS), _parse)


def load_pretrained() -> Bundle:
    """Load the model that comes with the package.

    Raises:
        ModelFileError: The package is damaged.
    """
    with as_file(files("explstm") / PRETRAINED_FOLDER) as folder:
        return load_bundle(folder)


def _parse(sealed: Sealed) -> Bundle:
    if sealed.manifest.get("kind") != KIND:
        raise ModelFileError(
            "MODEL_CORRUPT", f"{sealed.path} is a {sealed.manifest.get('kind')!r}, not a model."
        )
    spec, config = _parse_config(sealed)
    source = str(sealed.path / WEIGHTS)
    n_bytes = 4 * sum(parameter.size for parameter in spec.parameters)
    weights = load_tensors(sealed.read(WEIGHTS, n_bytes + MAX_HEADER_BYTES + 8), source)
    for name, array in weights.items():
        if array.dtype != np.float32:
            raise ModelFileError(
                "MODEL_WEIGHTS", f"{source}: {name!r} is {array.dtype}, not float32; save it again."
            )
    check_weights(spec, weights)
    return Bundle(spec, weights, config, sealed.manifest)


def _parse_config(sealed: Sealed) -> tuple[ModelSpec, dict[str, Any]]:
    source = str(sealed.path / CONFIG)
    content = parse_json(sealed.read(CONFIG, MAX_JSON_BYTES), source)
    spec, settings = content.get("spec"), content.get("settings")
    if set(content) != {"spec", "settings"} or not (
        isinstance(spec, dict) and isinstance(settings, dict)
    ):
        raise ModelFileError(
            "MODEL_CORRUPT", f"{source} does not hold 'spec' and 'settings'; save the model again."
        )
    try:
        return ModelSpec(**spec), settings
    except (UsageError, TypeError, ValueError) as error:
        reason = error.message if isinstance(error, UsageError) else str(error)
        raise ModelFileError(
            "MODEL_CONFIG",
            f"{source} describes no network that this version knows "
            f"({reason}); {tell_versions(sealed.manifest)}.",
        ) from None
