"""What is said of files that are too large or damaged, whatever their kind.

Contract: one sentence; what a library says of damage stands in it, on one line and cut.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from explstm.errors import DataError
from explstm.plain_text import shorten

LONGEST_REASON = 200


@contextmanager
def damage_told(name: str) -> Iterator[None]:
    """Turn what pyarrow raises over damaged bytes into a sentence.

    Raises:
        DataError: The file is damaged.
        MemoryError: It needs more than the process may have.
    """
    import pyarrow as pa

    try:
        yield
    except DataError:
        raise
    except MemoryError:  # of which one kind is pyarrow's own
        raise MemoryError from None
    except (
        pa.ArrowException,
        OSError,
        EOFError,
        ArithmeticError,
        LookupError,
        ValueError,
    ) as error:
        raise damaged(name, " ".join(str(error).split())) from None


def damaged(name: str, reason: str) -> DataError:
    """A file that cannot be read."""
    text = shorten(reason, LONGEST_REASON)
    return DataError("DATA_CORRUPT", f"{name} is damaged: {text}; export it again.")


def too_large(name: str, found: str, limit: int, remedy: str = "split it by series") -> DataError:
    """A file beyond a limit."""
    return DataError("DATA_TOO_LARGE", f"{name} has {found}, more than {limit:,}; {remedy}.")
