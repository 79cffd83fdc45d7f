"""``explstm export MODEL``: the network of a model as an ONNX file."""

from pathlib import Path
from typing import Any

from explstm.errors import UsageError
from explstm.forecaster import ExpLSTM
from explstm.onnx import check_place, export_onnx
from explstm.pipeline import find_model


def export_model(saved: Path | None, out: str | Path, *, force: bool = False) -> dict[str, Any]:
    """Write the network of a saved model to a file.

    Args:
        saved: A saved model, or a run folder that holds one; the pretrained one by default.
        out: The file to make; a name that ends as one of a folder is refused.
        force: Replace an older file.

    Returns:
        What the file says of itself.

    Raises:
        UsageError: The place is taken or cannot be written.
        ModelFileError: There is no such model.
        BusyError: Another process is writing the file.
    """
    if check_place(out).exists() and not force:
        raise UsageError(
            "OUTPUT_EXISTS",
            f"--out {out} exists; add --force to replace it, or choose another place.",
        )
    model = ExpLSTM() if saved is None else ExpLSTM.load(find_model(saved))
    return export_onnx(model, out)
