"""Whether anything is lost or half written when runs are killed at random moments.

    python tools/faults.py                      200 kills of each of fit, tune, report, save, batch
    python tools/faults.py --kills 20 tune      20 kills of tunings

Contract: SIGKILL comes at moments drawn from a seed: every other one at a time within the length
that the run was measured to have, the others at an operation on the run's files, just before it is
done. After each kill the folder holds the version that stood before or the new one, whole
(:mod:`fault_runs`), and after one or two kills the same call, left alone, ends with the very result
of a run that nobody disturbed, and leaves nothing behind. A run that ended before its kill does not
count. Exit code 1 where anything was found.

The runs are tiny, and are forked from a process that has imported everything, as are the workers of
the forecast in parts: this is about files, and ``tests/scaleout/test_kills.py`` kills real ones.
"""

import os

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[name] = "1"  # before NumPy reads it: a process with threads is not forked

import argparse
import faulthandler
import mmap
import re
import resource
import select
import signal
import sys
import tempfile
import time
import traceback
import warnings
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import psutil

from explstm.errors import ExpLSTMError

sys.path.insert(0, str(Path(__file__).parent))
from fault_runs import KINDS, Broken, Kind, prepare

TOUCHES = ("os.rename", "os.mkdir", "os.remove", "os.rmdir", "sqlite3.connect")
REFUSED = 9
SMALLEST, LARGEST = 2**6, 2**18
"""Limits of files where the disk is full, in bytes."""
HANGS_AFTER = 120.0
LOOK_SECONDS = 0.0005
SAYS_SO = re.compile("File too large|disk is full|disk I/O error|No space left")
MOST_IN_A_ROW = 2
MOST_PROBLEMS = 20


@dataclass
class Tally:
    """What came of the kills of one kind of runs.

    Attributes:
        seconds: Length of a run that nobody disturbs.
        touches: Its operations on files.
        parts: Digests of the parts of both versions, where a version comes in parts.
        counts: Kills by how they came, and by what stood there afterwards.
        problems: What was found, in words.
    """

    seconds: float = 0.0
    touches: int = 0
    parts: set[str] = field(default_factory=set)
    counts: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)


@dataclass
class Blow:
    """A kill to come: at a time, or at an operation on files; of a worker, where there is one.

    Or a disk that is full: no file can grow beyond a limit in bytes.
    """

    seconds: float | None = None
    touch: int | None = None
    worker: bool = False
    limit: int | None = None


NEVER = Blow()


class Child:
    """A run in a process of its own.

    Attributes:
        killed: Whether the blow fell before the run had ended.
        told: What the run wrote, where it failed.
        refused: Whether it failed with an error of ours.
        seconds: How long it took.
        touches: Operations on files it came to.
    """

    def __init__(self, kind: Kind, folder: Path, version: int, blow: Blow) -> None:
        self._shared = np.frombuffer(mmap.mmap(-1, 16), np.int64)
        log = folder.with_name("child.log")
        # All processes of the run hold the end that is written to, so that their end is seen.
        alive, held = os.pipe()
        sys.stdout.flush()
        began = time.monotonic()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # NumPy's threads are asleep
            pid = os.fork()
        if pid == 0:
            self._do(kind, folder, version, blow, log)
        os.close(held)
        status = self._wait(pid, began, blow)
        self.seconds = time.monotonic() - began
        self.killed = status == signal.SIGKILL or bool(self._shared[1])
        self.touches = int(self._shared[0])
        self.told = log.read_text()[-2000:] if status not in (0, signal.SIGKILL) else ""
        self.refused = os.waitstatus_to_exitcode(status) == REFUSED
        if not select.select([alive], [], [], HANGS_AFTER)[0]:
            self.told = "a process outlives its run"
        os.close(alive)

    def _wait(self, pid: int, began: float, blow: Blow) -> int:
        """Strike when it is time; the status that the process ends with."""
        ends_at = began + (HANGS_AFTER if blow.seconds is None else blow.seconds)
        while True:
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                return status
            if time.monotonic() >= ends_at:
                if blow.seconds is None:
                    os.kill(pid, signal.SIGABRT)  # it shows where it hangs
                else:
                    self._strike(pid, blow.worker)
                ends_at = began + 2 * HANGS_AFTER
            time.sleep(LOOK_SECONDS)

    def _strike(self, pid: int, worker: bool) -> None:
        workers = psutil.Process(pid).children() if worker else []
        with suppress(psutil.NoSuchProcess, ProcessLookupError):
            if workers:
                workers[0].kill()
                self._shared[1] = 1
            else:
                os.kill(pid, signal.SIGKILL)

    def _do(self, kind: Kind, folder: Path, version: int, blow: Blow, log: Path) -> None:
        """The run, in the child."""
        shared, below = self._shared, str(folder)

        def watch(event: str, arguments: tuple) -> None:
            if event == "open":
                if not str(arguments[0]).startswith(below):
                    return
            elif event not in TOUCHES:
                return
            if shared[0] == blow.touch:
                shared[1] = 1
                os.kill(os.getpid(), signal.SIGKILL)
            shared[0] += 1

        code = 1
        _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
        try:
            told = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(told, 1)
            os.dup2(told, 2)
            faulthandler.enable()
            warnings.simplefilter("ignore")
            sys.addaudithook(watch)
            if blow.limit is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (blow.limit, most))
            kind.run(folder, version)
            code = 0
            if blow is NEVER:
                log.with_name("modules").write_text("\n".join(sys.modules))
        except ExpLSTMError as error:
            resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
            code = REFUSED
            print(error)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)


def main() -> int:
    """Kill runs of all kinds, print what came of it, and say whether anything was found."""
    names = [kind.name for kind in KINDS]
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("kinds", nargs="*", choices=[[], *names], help="fit, tune, ...; all")
    parser.add_argument("--kills", type=int, default=200, help="kills of each kind (200)")
    parser.add_argument("--full", type=int, default=20, help="full disks of each kind (20)")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    _fork_workers()
    tallies = {}
    print("| runs of | seconds | file operations | kills | by time | at an operation |", end=" ")
    print("old one stood | new one stood | neither | full disks refused | enough room | problems |")
    print("|" + "---|" * 12)
    for kind in KINDS:
        if kind.name in (arguments.kinds or names):
            with tempfile.TemporaryDirectory() as folder:
                tally = kill_runs(
                    kind, Path(folder) / "run", arguments.kills, arguments.full, arguments.seed
                )
            tallies[kind.name] = tally
            _show(kind.name, tally)
    for name, tally in tallies.items():
        for problem in tally.problems:
            print(f"\n{name}: {problem}")
    return int(any(tally.problems for tally in tallies.values()))


def kill_runs(kind: Kind, folder: Path, n_kills: int, n_full: int, seed: int) -> Tally:
    """Kill runs of one kind, in one folder, then let the disk be full."""
    folder.mkdir()
    if (pid := os.fork()) == 0:  # what it starts, this process is not to have
        prepare(folder)
        os._exit(0)
    os.waitpid(pid, 0)
    tally = Tally()
    expected, left = _measure(kind, folder, tally)
    version, in_a_row = 0, 0  # version 1 stands there
    for blow in _draw_blows(kind, tally, seed):
        n_done = tally.counts["time"] + tally.counts["touch"]
        if n_done >= n_kills or len(tally.problems) >= MOST_PROBLEMS:
            break
        child = Child(kind, folder, version, blow)
        if child.told:
            tally.problems.append(f"failed before its kill ({blow}): {child.told}")
        if child.killed:
            tally.counts["time" if blow.touch is None else "touch"] += 1
            tally.counts[_judge(kind, folder, expected, version, blow, tally)] += 1
            in_a_row += 1
            if in_a_row < MOST_IN_A_ROW and blow.worker is False and tally.counts.total() % 3:
                continue
            child = Child(kind, folder, version, NEVER)
        in_a_row = 0
        _check_end(kind, folder, child, expected[version], left, blow, tally)
        version = 1 - version
    fill_disks(kind, folder, expected, left, version, n_full, seed, tally)
    return tally


def fill_disks(
    kind: Kind,
    folder: Path,
    expected: list[str | None],
    left: set[str],
    version: int,
    n_full: int,
    seed: int,
    tally: Tally,
) -> None:
    """Run where no file can grow beyond some size: done, or refused in a sentence."""
    rng = np.random.default_rng((seed, 1, zlib.crc32(kind.name.encode())))
    for _ in range(n_full):
        blow = Blow(limit=int(2 ** rng.uniform(np.log2(SMALLEST), np.log2(LARGEST))))
        child = Child(kind, folder, version, blow)
        stands = _judge(kind, folder, expected, version, blow, tally)
        if child.told and not (child.refused and SAYS_SO.search(child.told)):
            tally.problems.append(f"{blow} is not told as such: {child.told}")
        if (stands == "new") == child.refused:
            tally.problems.append(f"{blow}: the {stands} one stands, and it says {child.told!r}")
        tally.counts["refused"] += child.refused
        tally.counts["room"] += not child.refused
        child = Child(kind, folder, version, NEVER)
        _check_end(kind, folder, child, expected[version], left, blow, tally)
        version = 1 - version


def _draw_blows(kind: Kind, tally: Tally, seed: int) -> Iterator[Blow]:
    rng = np.random.default_rng((seed, zlib.crc32(kind.name.encode())))
    while True:
        by_worker = kind.workers and rng.random() < 0.25
        yield Blow(seconds=rng.uniform(0, tally.seconds), worker=by_worker)
        yield Blow(touch=int(rng.integers(tally.touches)))


def _measure(kind: Kind, folder: Path, tally: Tally) -> tuple[list[str | None], set[str]]:
    """What both versions are when nobody disturbs them; version 1 stands there afterwards."""
    looks = []
    for version in (0, 1, 0, 1):
        child = Child(kind, folder, version, NEVER)
        _import_all(folder.with_name("modules").read_text().split())
        if child.told:
            raise SystemExit(f"{kind.name} fails undisturbed: {child.told}")
        tally.seconds = child.seconds
        tally.touches = child.touches
        tally.parts |= kind.parts(folder)
        looks.append(kind.look(folder))
    if looks[:2] != looks[2:] or None in looks or looks[0] == looks[1]:
        raise SystemExit(f"{kind.name} does not end the same twice, or both versions are equal")
    return looks[:2], set(os.listdir(folder))


def _judge(kind: Kind, folder: Path, expected: list, version: int, blow: Blow, tally: Tally) -> str:
    """Which version stands after a kill: "old", "new" or "none"; note what is wrong."""
    try:
        found = kind.look(folder)
        if not kind.parts(folder) <= tally.parts:
            raise Broken("a part is neither of the old version nor of the new one")
    except (Broken, Exception) as error:
        tally.problems.append(f"after {blow}: {type(error).__name__}: {error}")
        return "none"
    if found == expected[version]:
        return "new"
    if found == expected[1 - version]:
        return "old"
    if found is not None or kind.keeps:
        what = "nothing" if found is None else "something else"
        tally.problems.append(f"after {blow}: {what} stands there; {sorted(os.listdir(folder))}")
    return "none"


def _check_end(
    kind: Kind,
    folder: Path,
    child: Child,
    expected: str | None,
    left: set[str],
    blow: Blow,
    tally: Tally,
) -> None:
    """A run that was left alone after kills has made what it was asked for, and nothing else."""
    if child.told:
        tally.problems.append(f"cannot go on after {blow}: {child.told}")
        return
    if kind.look(folder) != expected:
        tally.problems.append(f"ends otherwise after {blow}")
    if more := set(os.listdir(folder)) ^ left:
        tally.problems.append(f"leaves or loses {sorted(more)} after {blow}")


def _import_all(names: list[str]) -> None:
    """Import what a run has imported, so that the next one finds it there."""
    for name in names:
        if name not in sys.modules:
            with suppress(Exception):
                import_module(name)


def _fork_workers() -> None:
    local = import_module("explstm.scaleout.local")
    local.get_context = lambda _: get_context("fork")


def _show(name: str, tally: Tally) -> None:
    counts = tally.counts
    facts = (
        *(name, f"{tally.seconds:.2f}", tally.touches, counts["time"] + counts["touch"]),
        *(counts["time"], counts["touch"], counts["old"], counts["new"], counts["none"]),
        *(counts["refused"], counts["room"], len(tally.problems)),
    )
    print("| " + " | ".join(map(str, facts)) + " |", flush=True)


if __name__ == "__main__":
    sys.exit(main())
