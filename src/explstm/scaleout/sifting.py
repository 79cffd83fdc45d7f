"""The series that cannot be forecast, found among those that can.

Contract: what is asked of many series at once is asked of ever smaller ranges where it is refused,
until a refusal concerns one series. A refusal costs some ten calls more, however many series there
are; where nothing is refused, there is one call.
"""

from collections.abc import Callable, Iterator
from typing import TypeVar

from explstm.errors import DataError

Result = TypeVar("Result")
Ask = Callable[[int, int], Result]
"""Takes the first series of a range and the one after its last."""


def sift(begin: int, end: int, ask: Ask[Result]) -> Iterator[tuple[int, int, Result | DataError]]:
    """Yield ranges of series in their order, each with what was got, or with one refusal."""
    if begin == end:
        return
    try:
        got = ask(begin, end)
    except DataError as error:
        if end - begin == 1:
            yield begin, end, error
        else:
            middle = (begin + end) // 2
            yield from sift(begin, middle, ask)
            yield from sift(middle, end, ask)
    else:
        yield begin, end, got
