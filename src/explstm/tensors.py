"""Arrays to and from safetensors bytes, with a header parser of our own.

The safetensors library checks offsets, but accepts repeated names and leaves the choice of types
to the file. What is read here may come from anywhere, so every claim of the header is checked
before an array is made, and the memory used is that of the bytes given.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from explstm.errors import ModelFileError
from explstm.storage import parse_json

MAX_HEADER_BYTES = 1 << 20
MAX_DIMENSIONS = 8
DTYPES: dict[str, np.dtype[Any]] = {
    "F32": np.dtype("<f4"),
    "F64": np.dtype("<f8"),
    "I32": np.dtype("<i4"),
    "I64": np.dtype("<i8"),
    "U8": np.dtype("u1"),
    "U32": np.dtype("<u4"),
    "U64": np.dtype("<u8"),
    "BOOL": np.dtype("?"),
}


def dump_tensors(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Write arrays as safetensors bytes; equal arrays give equal bytes."""
    from safetensors.numpy import save

    return save({name: np.array(array, order="C") for name, array in arrays.items()})


def load_tensors(data: bytes, source: str) -> dict[str, np.ndarray]:
    """Read arrays from safetensors bytes.

    Args:
        data: The whole file.
        source: Name used in messages.

    Returns:
        Arrays that own their memory, by name.

    Raises:
        ModelFileError: The header is too large, repeats a name, uses another type, or does not
            cover the bytes exactly, without gap or overlap.
    """
    start = 8 + int.from_bytes(data[:8], "little")
    if len(data) < 8 or start > min(len(data), 8 + MAX_HEADER_BYTES):
        raise _damaged(source, "its header is cut off or too large")
    header = parse_json(data[8:start], f"the header of {source}")
    header.pop("__metadata__", None)
    spans = sorted((*_check_entry(entry, source), name) for name, entry in header.items())
    position = 0
    arrays = {}
    for begin, end, dtype, shape, name in spans:
        if begin != position:
            raise _damaged(source, f"{name!r} leaves a gap or overlaps")
        position = end
        if start + end > len(data):
            raise _damaged(source, f"{name!r} ends beyond the file")
        flat = np.frombuffer(data, DTYPES[dtype], math.prod(shape), start + begin)
        arrays[name] = flat.reshape(shape).copy()
    if start + position != len(data):
        raise _damaged(source, "bytes are left over at its end")
    return arrays


def _check_entry(entry: Any, source: str) -> tuple[int, int, str, tuple[int, ...]]:
    """Begin, end, type and shape of one tensor, each of the right kind and in agreement."""
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise _damaged(source, "an entry of its header is malformed")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise _damaged(source, f"it holds the type {str(dtype)[:20]!r}, which no model uses")
    if not _are_counts(shape) or not _are_counts(offsets):
        raise _damaged(source, "a shape or offset in its header is not a list of counts")
    if len(shape) > MAX_DIMENSIONS or len(offsets) != 2:
        raise _damaged(source, "a shape or offset in its header has too many entries")
    if offsets[1] - offsets[0] != math.prod(shape) * DTYPES[dtype].itemsize:
        raise _damaged(source, "a shape in its header disagrees with its bytes")
    return offsets[0], offsets[1], dtype, tuple(shape)


def _are_counts(values: Any) -> bool:
    return isinstance(values, list) and all(type(value) is int and value >= 0 for value in values)


def _damaged(source: str, finding: str) -> ModelFileError:
    return ModelFileError(
        "MODEL_CORRUPT", f"{source} is damaged: {finding}; copy or save the model again."
    )
