"""Whether a pinned version has a known hole: by pip-audit, or without a network by a list of ours.

    python tools/audit.py                        constraints.txt, by the OSV database
    python tools/audit.py --osv-url URL FILE     another file, by another service of its kind

Contract: exit code 0 says that every pin was looked up and none has a known hole; 1 that one has,
with its name; 2 that it could not be found out. A service that does not know a famous hole is none.
Without a service the pins are held against ``advisories.toml``, which one line on standard error
says, loudly.
"""

import argparse
import json
import subprocess
import sys
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


def read_pins(path: Path) -> dict[str, str]:
    """The versions that a file of constraints pins, by package.

    Raises:
        ValueError: A line that is no pin, or a file without any.
    """
    pins = {}
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
        pins[wanted.name] = pin.version
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
    asked = (
        *(sys.executable, "-m", "pip_audit", "--requirement", str(lock), "--no-deps"),
        *("--disable-pip", "--strict", "--progress-spinner", "off", "--format", "json"),
        *("--vulnerability-service", "osv", "--osv-url", url),
        *(f"--ignore-vuln={known}" for known in load_accepted()),
    )
    done = subprocess.run(asked, capture_output=True, text=True)
    try:
        found = {entry["name"]: entry["vulns"] for entry in json.loads(done.stdout)["dependencies"]}
    except (ValueError, LookupError, TypeError):
        print(f"audit: pip-audit failed:\n{done.stderr}", file=sys.stderr)
        return UNKNOWN
    lacking = {canonicalize_name(name) for name in read_pins(lock)} - {
        canonicalize_name(name) for name in found
    }
    if lacking:
        print(f"audit: pip-audit left out {', '.join(sorted(lacking))}", file=sys.stderr)
        return UNKNOWN
    holes = [
        f"{name}: {hole['id']}, mended in {', '.join(hole['fix_versions']) or 'no version'}"
        for name, vulns in found.items()
        for hole in vulns
    ]
    if not holes and done.returncode != CLEAN:
        print(f"audit: pip-audit failed:\n{done.stderr}", file=sys.stderr)
        return UNKNOWN
    return tell(holes, f"{len(found)} pinned versions, by {url}")


def audit_by_list(lock: Path) -> int:
    """Hold every pin against our own list."""
    as_of, advisories = load_advisories()
    pins = read_pins(lock)
    holes = [
        f"{name}=={version}: {known.id} ({known.source}), in versions {known.affected}"
        for name, version in pins.items()
        for known in advisories
        if known.concerns(name, version)
    ]
    return tell(
        holes, f"{len(pins)} pinned versions, by {len(advisories)} advisories as of {as_of}"
    )


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
