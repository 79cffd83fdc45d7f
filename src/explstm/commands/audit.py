"""``explstm audit``: whether anything here depends on the future of the series of a file.

audit.csv    check, alteration, unique_id, cutoff, change, leaks
audit.json   the sentence, whether anything leaks, the checks, and those that do, in order
"""

from pathlib import Path
from typing import Any

from explstm.config import BackendName
from explstm.leakage import LeakageReport
from explstm.options import DataOptions
from explstm.pipeline import write_record
from explstm.runfolder import open_run
from explstm.stages import audit_product


def audit_file(
    file: Path,
    horizon: int,
    out: Path,
    data: DataOptions,
    *,
    windows: int = 3,
    step_size: int = 1,
    backend: BackendName = "numpy",
    growth: str = "auto",
    seed: int = 1,
    tolerance: float = 0.0,
    force: bool = False,
) -> LeakageReport:
    """Audit every stage of the package on the series of a file.

    The run folder is written whether or not a leak is found.

    Args:
        file: CSV or Parquet.
        horizon: Steps of a window.
        out: The run folder to make.
        data: How to read the file.
        windows: Cutoffs of each series, counted back from its end.
        step_size: Steps from one to the next.
        backend: The engine; torch and tensorflow also train, a few steps each time.
        growth: Curve between data units and levels.
        seed: Of the altered futures, and of the training.
        tolerance: Relative change that is let pass; 0 asks for the same bits.
        force: Replace an older run folder.

    Raises:
        UsageError: An argument that cannot be used.
        DataError: Data that cannot be used.
    """
    arguments: dict[str, Any] = dict(locals())
    with open_run(out, force=force) as run:
        panel = data.read(file)
        report = audit_product(
            panel,
            horizon,
            backend=backend,
            growth=growth,
            season_length=data.season_length,
            n_windows=windows,
            step_size=step_size,
            seed=seed,
            tolerance=tolerance,
        )
        run.write_table("audit.csv", report.table)
        facts = {
            "sentence": report.sentence,
            "leaks": report.leaks,
            "leaking": list(report.leaking),
            "checks": list(report.checks),
        }
        run.write_json("audit.json", facts)
        write_record(run, "audit", arguments)
    return report
