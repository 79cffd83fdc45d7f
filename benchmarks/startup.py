"""How long do ``import explstm`` and a forecast from a saved model take, beyond ``import pandas``?

    python benchmarks/startup.py

Every command runs in a fresh process, in turn, and the medians are compared.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from explstm import ExpLSTM
from explstm.datasets import load_air_passengers

ROUNDS = 7


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder:
        model, file = Path(folder, "model"), Path(folder, "air.csv")
        table = load_air_passengers()
        table.to_csv(file, index=False)
        ExpLSTM(backend="torch", init="random", max_steps=2).fit(table, h=12).save(model)
        code = {
            "import pandas": "import pandas",
            "import pandas, explstm": "import pandas, explstm",
            "from explstm import ExpLSTM": "import pandas; from explstm import ExpLSTM",
            "load and forecast in NumPy": (
                "import pandas; from explstm import ExpLSTM;"
                f"ExpLSTM.load({str(model)!r}).predict(pandas.read_csv({str(file)!r}), h=12)"
            ),
        }
        commands = {name: [sys.executable, "-c", program] for name, program in code.items()}
        arguments = ["forecast", str(file), "--horizon", "12", "--model", str(model), "--force"]
        commands["explstm forecast FILE --model DIR"] = [
            *(sys.executable, "-m", "explstm", *arguments, "--out", str(Path(folder, "run")))
        ]
        seconds: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(ROUNDS):
            for name, command in commands.items():
                seconds[name].append(measure(command))
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    print("| whole process | median s | beyond `import pandas` |")
    print("|---|---|---|")
    for name, median in medians.items():
        print(f"| {name} | {median:.2f} | {median - medians['import pandas']:.2f} |")


def measure(command: list[str]) -> float:
    """Return the seconds that a command takes from start to end."""
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
