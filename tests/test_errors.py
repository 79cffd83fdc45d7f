"""Errors say what happened, to people, to machines, and across processes."""

import pickle

import pytest

from explstm import errors

KINDS = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, errors.ExpLSTMError)
]
EXIT_CODES = {
    "ExpLSTMError": 1,
    "UsageError": 2,
    "BackendNotInstalledError": 2,
    "DataError": 3,
    "ModelFileError": 4,
    "TrainingError": 5,
    "TrainingStopped": 6,
    "BusyError": 7,
}


def test_exit_codes_are_those_promised():
    assert {kind.__name__: kind.exit_code for kind in KINDS} == EXIT_CODES


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_crosses_processes_whole(kind):
    again = pickle.loads(pickle.dumps(kind("SOME_CODE", "a sentence.")))
    assert type(again) is kind
    assert (again.code, again.message, str(again)) == (
        "SOME_CODE",
        "a sentence.",
        "SOME_CODE: a sentence.",
    )


def test_builtin_kinds_catch_ours():
    assert issubclass(errors.UsageError, ValueError)
    assert issubclass(errors.DataError, ValueError)
    assert issubclass(errors.BackendNotInstalledError, ImportError)
