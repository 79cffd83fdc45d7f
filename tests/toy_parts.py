"""A forecast in parts as a child to kill: python toy_parts.py DATA OUT ENGINE.

Prints the stage and the number of tasks done after every task, then "done".
"""

import sys
from pathlib import Path

from explstm.scaleout import forecast
from part_data import LEVEL, H

ROWS_PER_PART = 1000


def forecast_toy(data: Path, out: Path, engine: str, **options):
    options = {"workers": 2, "rows_per_part": ROWS_PER_PART, **options}
    return forecast(data, out, H, LEVEL, engine=engine, **options)


if __name__ == "__main__":
    forecast_toy(
        Path(sys.argv[1]),
        Path(sys.argv[2]),
        sys.argv[3],
        on_progress=lambda now: print(now.stage, now.done, flush=True),
    )
    print("done", flush=True)
