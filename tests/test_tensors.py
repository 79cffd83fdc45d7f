"""Arrays to and from safetensors bytes; hostile headers are refused."""

import json

import numpy as np
import pytest
import safetensors.numpy

from explstm.errors import ModelFileError
from explstm.tensors import dump_tensors, load_tensors

ARRAYS = {
    "matrix": np.arange(6, dtype=np.float32).reshape(2, 3),
    "column": np.arange(6, dtype=np.float32).reshape(2, 3).T,
    "scalar": np.array(7, dtype=np.int64),
    "none": np.zeros((0, 4), dtype=np.float32),
    "bytes": np.arange(5, dtype=np.uint8),
}


def file_of(header: object, body: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + body


def entry(dtype: object = "F32", shape: object = (2,), offsets: object = (0, 8)) -> dict:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


def test_arrays_survive_with_shape_type_and_order():
    loaded = load_tensors(dump_tensors(ARRAYS), "weights")
    assert set(loaded) == set(ARRAYS)
    for name, array in ARRAYS.items():
        assert loaded[name].dtype == array.dtype
        np.testing.assert_array_equal(loaded[name], array, strict=True)
        loaded[name][...] = 0  # they own their memory


def test_the_bytes_are_those_of_the_safetensors_library():
    loaded = safetensors.numpy.load(dump_tensors(ARRAYS))
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(loaded[name], array)


def test_equal_arrays_give_equal_bytes_whatever_their_order():
    backwards = dict(reversed(ARRAYS.items()))
    assert dump_tensors(backwards) == dump_tensors(ARRAYS)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "cut off"),
        (b"\x01\x02", "cut off"),
        ((1 << 60).to_bytes(8, "little") + b"{}", "cut off or too large"),
        (file_of(b" " * (1 << 20) + b"{}"), "too large"),
        (file_of(b"\x80\x04pickle"), "not valid JSON"),
        (file_of([]), "not a JSON object"),
        (file_of(b'{"a":1,"a":2}'), "repeated key"),
        (file_of({"a": entry(shape=[2, 1 << 70])}, bytes(8)), "disagrees"),
        (file_of({"a": entry(shape=[2.0])}, bytes(8)), "not a list of counts"),
        (file_of({"a": entry(shape=[True, 2])}, bytes(8)), "not a list of counts"),
        (file_of({"a": entry(shape=[-1, -2])}, bytes(8)), "not a list of counts"),
        (file_of({"a": entry(shape=[1] * 50 + [2])}, bytes(8)), "too many"),
        (file_of({"a": entry(offsets=[0, 4, 8])}, bytes(8)), "too many"),
        (file_of({"a": entry(dtype="BF16")}, bytes(8)), "which no model uses"),
        (file_of({"a": entry(dtype=["F32"])}, bytes(8)), "which no model uses"),
        (file_of({"a": {"dtype": "F32"}}, bytes(8)), "malformed"),
        (file_of({"a": entry()}, bytes(7)), "beyond the file"),
        (file_of({"a": entry()}, bytes(9)), "left over"),
        (file_of({"a": entry(offsets=[4, 12])}, bytes(12)), "gap or overlaps"),
        (file_of({"a": entry(), "b": entry(offsets=[4, 12])}, bytes(12)), "gap or overlaps"),
    ],
)
def test_a_damaged_or_hostile_file_is_refused(data, words):
    with pytest.raises(ModelFileError, match=words) as caught:
        load_tensors(data, "weights")
    assert caught.value.code == "MODEL_CORRUPT"


def test_random_damage_gives_our_error_or_arrays_of_the_same_size():
    sound = dump_tensors(ARRAYS)
    rng = np.random.default_rng(0)
    for _ in range(2000):
        data = bytearray(sound)
        for _ in range(rng.integers(1, 4)):
            data[rng.integers(len(data))] = rng.integers(256)
        try:
            loaded = load_tensors(bytes(data), "weights")
        except ModelFileError:
            continue
        assert sum(array.nbytes for array in loaded.values()) <= len(sound)
