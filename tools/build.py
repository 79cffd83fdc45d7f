"""Build the wheel and the source distribution twice, compare them, and say what goes with them.

    python tools/build.py              into dist/, with SHA256SUMS and a bill of materials
    python tools/build.py --extras serve,torch    what these bring is on the bill as well
    python tools/build.py --no-sbom    without the bill, for which packages are installed

Contract: the second build is of a copy of the files in another folder, of another age, for another
user; exit code 1 says that its bytes differ. ``SOURCE_DATE_EPOCH``, unless it is set, is when the
last commit was made. The bill of materials (CycloneDX, JSON) lists what the wheel brings when it is
installed with the versions of ``constraints.txt``; it holds no date, and comes out the same too.
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
UNKNOWN_DATE = "1580601600"
"""What hatchling takes where there is neither a date nor a repository."""


def main() -> int:
    """Build, compare, and write what goes with the packages."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=ROOT / "dist")
    parser.add_argument("--no-sbom", action="store_true")
    parser.add_argument("--extras", default="", help="such as serve,torch")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        first, second = (Path(folder, name) for name in ("first", "second"))
        build(ROOT, first)
        build(copy_aged(Path(folder, "elsewhere", "copy")), second, umask=0o077)
        sums, again = hash_files(first), hash_files(second)
        if sums != again:
            changed = sorted(name for name in sums | again if sums.get(name) != again.get(name))
            print(f"not reproducible: {', '.join(changed)}", file=sys.stderr)
            return 1
        shutil.rmtree(arguments.out, ignore_errors=True)
        shutil.copytree(first, arguments.out)
    if not arguments.no_sbom:
        [wheel] = arguments.out.glob("*.whl")
        with tempfile.TemporaryDirectory() as folder:
            python = install(wheel, arguments.extras, Path(folder))
            write_sbom(python, wheel.name.split("-")[1], arguments.out)
        sums |= hash_files(arguments.out)
    lines = [f"{digest}  {name}\n" for name, digest in sorted(sums.items())]
    (arguments.out / "SHA256SUMS").write_text("".join(lines))
    print("".join(lines), end="")
    return 0


def build(root: Path, out: Path, umask: int = 0o022) -> None:
    """Build both packages of the files in a folder."""
    command = [sys.executable, "-m", "hatchling", "build", "--directory", str(out)]
    environment = {**os.environ, "SOURCE_DATE_EPOCH": find_date()}
    subprocess.run(
        command, cwd=root, env=environment, umask=umask, check=True, stdout=subprocess.DEVNULL
    )


def find_date() -> str:
    """When what is built was last changed, in seconds since 1970."""
    if date := os.environ.get("SOURCE_DATE_EPOCH"):
        return date
    command = ["git", "-C", str(ROOT), "log", "-1", "--format=%ct"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return UNKNOWN_DATE


def copy_aged(to: Path) -> Path:
    """Copy what goes into the packages; every file is as old as 2001."""
    content = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    names = content["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
    to.mkdir(parents=True)
    for name in (*names, "pyproject.toml", ".gitignore"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, to / name)
    for path in to.rglob("*"):
        os.utime(path, (10**9, 10**9))
    return to


def hash_files(folder: Path) -> dict[str, str]:
    """SHA-256 of every file of a folder, by name."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def install(wheel: Path, extras: str, folder: Path) -> Path:
    """Install a wheel, extras and what they bring, and nothing else; the Python that has them."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
    lock = ["--disable-pip-version-check", "--constraint", str(ROOT / "constraints.txt")]
    subprocess.run([*pip, *lock, f"{wheel}[{extras}]"], check=True)
    return python


def write_sbom(python: Path | str, version: str, out: Path) -> None:
    """List what is installed for a Python, as what a version of our package comes with."""
    path = out / f"explstm-{version}.cdx.json"
    command = [sys.executable, "-m", "cyclonedx_py", "environment", str(python)]
    about = ["--pyproject", str(ROOT / "pyproject.toml"), "--mc-type", "library"]
    subprocess.run(
        [*command, *about, "--output-reproducible", "--of", "JSON", "-o", str(path)], check=True
    )
    bill = json.loads(path.read_bytes())
    bill["metadata"]["component"]["version"] = version  # it stands elsewhere than in pyproject.toml
    path.write_text(json.dumps(bill, indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main())
