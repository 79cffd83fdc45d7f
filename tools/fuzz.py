"""Fuzz the readers of what strangers send, guided by what code the inputs reach.

    pip install 'explstm[fuzz]'                       # atheris
    python tools/fuzz.py --seconds 600                # 200 s for each of csv, model, configuration
    python tools/fuzz.py csv --seconds 60 --keep      # new inputs go into the corpus

Contract: starts from ``tests/fuzz/corpus``, which the tests run through too. A finding ends the
fuzzing of its target with exit code 1, is written into ``--findings``, and belongs into the corpus
when it is mended. One gigabyte of memory and ten seconds are allowed for an input.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
CORPUS = ROOT / "tests" / "fuzz" / "corpus"
NAMES = ("csv", "model", "configuration")
LONGEST = {"csv": 2000, "model": 6000, "configuration": 2000}
INSIDE = "inside"
MEMORY_MB, INPUT_SECONDS = 1024, 60


def main() -> int:
    """Fuzz the targets, each in a process of its own; say whether anything was found."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("targets", nargs="*", choices=[[], *NAMES], help="csv, model, ...; all")
    parser.add_argument("--seconds", type=int, default=60, help="for all targets together (60)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--findings", type=Path, default=Path("fuzz-findings"))
    parser.add_argument("--keep", action="store_true", help="add new inputs to the corpus")
    if sys.argv[1:2] == [INSIDE]:
        return _fuzz(*sys.argv[2:])
    arguments = parser.parse_args()
    if arguments.seconds < 1:
        parser.error(f"--seconds {arguments.seconds} is no time to fuzz in; give at least 1")
    arguments.findings.mkdir(exist_ok=True)
    targets = arguments.targets or NAMES
    each = max(1, arguments.seconds // len(targets))  # 0 would be without end
    with tempfile.TemporaryDirectory() as aside:
        for name in targets:
            Path(aside, name).mkdir(exist_ok=True)
        codes = [
            subprocess.call(
                [
                    *(sys.executable, __file__, INSIDE, name),
                    # The first folder takes the new inputs.
                    *([] if arguments.keep else [str(Path(aside, name))]),
                    str(CORPUS / name),
                    f"-max_total_time={each}",
                    f"-seed={arguments.seed}",
                    f"-max_len={LONGEST[name]}",
                    f"-rss_limit_mb={MEMORY_MB}",
                    f"-timeout={INPUT_SECONDS}",
                    f"-artifact_prefix={arguments.findings}/{name}-",
                    "-print_final_stats=1",
                ]
            )
            for name in targets
        ]
    if not any(codes) and not any(arguments.findings.iterdir()):
        arguments.findings.rmdir()
    return int(any(codes))


def _fuzz(name: str, *rest: str) -> int:
    """Fuzz a target in this process, as libFuzzer is told."""
    try:
        import atheris
    except ModuleNotFoundError:
        print("fuzzing needs atheris; run pip install 'explstm[fuzz]'.", file=sys.stderr)
        return 2
    with atheris.instrument_imports(include=["explstm", "fuzz_targets", "json"]):
        from fuzz_targets import TARGETS
    atheris.Setup([sys.argv[0], *rest], TARGETS[name])
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    sys.exit(main())
