"""The bad are found among the good, with few questions."""

import pytest

from explstm.errors import DataError
from explstm.scaleout.sifting import sift


@pytest.mark.parametrize("bad", [(), (0,), (99,), (3, 4, 50), tuple(range(100))])
def test_the_bad_are_found_and_the_rest_is_complete(bad):
    asked = []

    def ask(begin, end):
        asked.append((begin, end))
        found = [i for i in range(begin, end) if i in bad]
        if found:
            raise DataError("BAD", f"{found[0]} is bad")
        return list(range(begin, end))

    refused, good = [], []
    for begin, end, got in sift(0, 100, ask):
        if isinstance(got, DataError):
            assert (end - begin, got.message) == (1, f"{begin} is bad")
            refused.append(begin)
        else:
            good += got
    assert tuple(refused) == bad and good == [i for i in range(100) if i not in bad]
    assert len(asked) <= 1 + 2 * 7 * len(bad)


def test_nothing_is_asked_of_nothing():
    assert list(sift(5, 5, lambda begin, end: 1 / 0)) == []
