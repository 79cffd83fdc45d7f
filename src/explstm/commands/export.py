"""``explstm export MODEL``: the network of a model as an ONNX file."""

from pathlib import Path
from typing import Any

from explstm.errors import UsageError
from explstm.forecaster import ExpLSTM
from explstm.onnx import export_onnx
from explstm.pipeline import find_model


def export_model(saved: Path | None, out: Path, *, force: bool = False) -> dict[str, Any]:
    """Write the network of a saved model to a file.

    Args:
        saved: A saved model, or a run folder that holds one; the pretrained one by default.
        out: The file to make.
        force: Replace an older file.

    Returns:
        What the file says of itself.

    Raises:
        UsageError: The place is taken or cannot be written.
        ModelFileError: There is no such model.
    """
    if out.is_dir() or (out.exists() and not force):
        remedy = "choose a file" if out.is_dir() else "add --force to replace it"
        raise UsageError("OUTPUT_EXISTS", f"--out {out} exists; {remedy}, or choose another place.")
    model = ExpLSTM() if saved is None else ExpLSTM.load(find_model(saved))
    return export_onnx(model, out)
