"""Whether a pinned version has a known hole: by pip-audit, or without a network by a list of ours.

    python tools/audit.py                        constraints.txt, by the OSV database
    python tools/audit.py --osv-url URL FILE     another file, by another service of its kind

Contract: exit code 0 says that every pin was looked up and none has a known hole; 1 that one has,
with its name; 2 that it could not be found out. A service that does not know a famous hole is none.
Without a service the pins are held against ``advisories.toml``, and 0 says this of the packages in
it; standard error says so, loudly, and names the pins of which it says nothing.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import tomllib
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
LOCK = ROOT / "constraints.txt"
ADVISORIES = Path(__file__).with_name("advisories.toml")
OSV = "https://api.osv.dev/v1/query"
FAMOUS = {"package": {"name": "jinja2", "ecosystem": "PyPI"}, "version": "2.4.1"}
SECONDS = 10
CLEAN, VULNERABLE, UNKNOWN = 0, 1, 2


@dataclass(frozen=True)
class Advisory:
    """A known hole.

    Attributes:
        package: Name of the package.
        affected: Versions that have it, as in a requirement.
        id: Name of the hole.
        source: The advisory that tells of it.
    """

    package: str
    affected: str
    id: str
    source: str

    def concerns(self, name: str, version: str) -> bool:
        """Whether a version of a package has it."""
        same = canonicalize_name(name) == canonicalize_name(self.package)
        return same and SpecifierSet(self.affected).contains(version, prereleases=True)


def load_advisories(path: Path = ADVISORIES) -> tuple[str, list[Advisory]]:
    """The date of our list, and what is in it."""
    content = tomllib.loads(path.read_text(encoding="utf-8"))
    return str(content["as_of"]), [Advisory(**entry) for entry in content["advisories"]]


def load_accepted(path: Path = ADVISORIES) -> list[str]:
    """The holes that are taken, for a reason stated there."""
    return [entry["id"] for entry in tomllib.loads(path.read_text(encoding="utf-8"))["accepted"]]


def read_pins(path: Path) -> list[tuple[str, str]]:
    """The packages and versions that a file of constraints pins, whatever their markers.

    Raises:
        ValueError: A line that is no pin, or a file without any.
    """
    pins = []
    for line in path.read_text(encoding="utf-8").splitlines():
        text = line.partition("#")[0].strip()
        if not text:
            continue
        try:
            wanted = Requirement(text)
        except InvalidRequirement:
            raise ValueError(f"{path.name}: {text!r} is no requirement") from None
        (pin, *more) = wanted.specifier or [None]
        if pin is None or more or pin.operator != "==" or "*" in pin.version:
            raise ValueError(f"{path.name}: {text!r} pins no version")
        pins.append((wanted.name, pin.version))
    if not pins:
        raise ValueError(f"{path.name} pins nothing")
    return pins


def why_silent(url: str) -> str | None:
    """Why a service cannot be asked; None where it can."""
    request = urllib.request.Request(
        url, json.dumps(FAMOUS).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:
            knows = bool(json.load(answer)["vulns"])
    except (OSError, ValueError, LookupError, TypeError) as error:
        return str(error) or type(error).__name__
    return None if knows else "it knows of no hole in jinja2 2.4.1"


def audit_by_service(lock: Path, url: str) -> int:
    """Let pip-audit look up every pin."""
    holes, looked_up = [], 0
    for pins in split_rounds(read_pins(lock)):
        found = ask_service(pins, url)
        if found is None:
            return UNKNOWN
        holes += found
        looked_up += len(pins)
    return tell(holes, f"{looked_up} pinned versions, by {url}")


def split_rounds(pins: list[tuple[str, str]]) -> list[dict[str, str]]:
    """The pins without repetition, each package once in a round: pip-audit takes no more."""
    rounds: list[dict[str, str]] = []
    for name, version in dict.fromkeys((canonicalize_name(name), found) for name, found in pins):
        free = next((pinned for pinned in rounds if name not in pinned), None)
        if free is None:
            rounds.append(free := {})
        free[name] = version
    return rounds


def ask_service(pins: dict[str, str], url: str) -> list[str] | None:
    """The holes of some pins in words; None, with the reason on standard error, if not all told."""
    with tempfile.TemporaryDirectory() as aside:
        # Without markers, for those that concern another system are looked up too.
        plain = Path(aside) / "pins.txt"
        plain.write_text("".join(f"{name}=={pins[name]}\n" for name in pins), encoding="utf-8")
        done = run_pip_audit(plain, url)
    try:
        found = {
            canonicalize_name(entry["name"]): entry["vulns"]
            for entry in json.loads(done.stdout)["dependencies"]
        }
    except (ValueError, LookupError, TypeError):
        print(f"audit: pip-audit failed:\n{done.stderr}", file=sys.stderr)
        return None
    if lacking := set(pins) - set(found):
        print(f"audit: pip-audit left out {', '.join(sorted(lacking))}", file=sys.stderr)
        return None
    holes = [
        f"{name}=={pins[name]}: {hole['id']}, mended in "
        f"{', '.join(hole['fix_versions']) or 'no version'}"
        for name in pins
        for hole in found[name]
    ]
    if not holes and done.returncode != CLEAN:
        print(f"audit: pip-audit failed:\n{done.stderr}", file=sys.stderr)
        return None
    return holes


def run_pip_audit(lock: Path, url: str) -> subprocess.CompletedProcess[str]:
    """Let pip-audit look up a file of pins as it is."""
    asked = (
        *(sys.executable, "-m", "pip_audit", "--requirement", str(lock), "--no-deps"),
        *("--disable-pip", "--strict", "--progress-spinner", "off", "--format", "json"),
        *("--vulnerability-service", "osv", "--osv-url", url),
        *(f"--ignore-vuln={known}" for known in load_accepted()),
    )
    return subprocess.run(asked, capture_output=True, text=True)


def audit_by_list(lock: Path) -> int:
    """Hold every pin against our own list."""
    as_of, advisories = load_advisories()
    pins = list(dict.fromkeys(read_pins(lock)))
    known_of = {canonicalize_name(known.package) for known in advisories}
    unknown = [f"{name}=={at}" for name, at in pins if canonicalize_name(name) not in known_of]
    if unknown:
        print(f"audit: NOT CHECKED ({len(unknown)}): {', '.join(unknown)}", file=sys.stderr)
    holes = [
        f"{name}=={version}: {known.id} ({known.source}), in versions {known.affected}"
        for name, version in pins
        for known in advisories
        if known.concerns(name, version)
    ]
    looked_at = f"{len(pins) - len(unknown)} of {len(pins)} pinned versions"
    return tell(holes, f"{looked_at}, by {len(advisories)} advisories as of {as_of}")


def tell(holes: list[str], looked_at: str) -> int:
    """Say what was found."""
    for hole in holes:
        print(f"audit: VULNERABLE {hole}", file=sys.stderr)
    count = "1 known hole" if len(holes) == 1 else f"{len(holes) or 'no'} known holes"
    print(f"audit: {count} in {looked_at}")
    return VULNERABLE if holes else CLEAN


def main() -> int:
    """Audit the file of constraints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("lock", nargs="?", type=Path, default=LOCK)
    parser.add_argument("--osv-url", default=OSV)
    options = parser.parse_args()
    try:
        read_pins(options.lock)
        silent = why_silent(options.osv_url)
        if silent is None:
            return audit_by_service(options.lock, options.osv_url)
        print(
            f"audit: WARNING: {options.osv_url} CANNOT BE ASKED ({silent}); ONLY THE HOLES IN "
            f"{ADVISORIES.relative_to(ROOT)} ARE LOOKED FOR",
            file=sys.stderr,
        )
        return audit_by_list(options.lock)
    except (OSError, ValueError) as error:
        print(f"audit: {error}", file=sys.stderr)
        return UNKNOWN


if __name__ == "__main__":
    sys.exit(main())
