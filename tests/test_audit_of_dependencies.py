"""The audit of the pinned versions: it fails on a known hole, and never passes in silence."""

import http.server
import json
import subprocess
import sys
import threading
import tomllib
from contextlib import contextmanager
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tools"))
import audit  # noqa: E402

NOWHERE = "http://127.0.0.1:9/v1/query"
FAMOUS = {("jinja2", "2.4.1")}


@contextmanager
def serve_osv(vulnerable, status=200):
    """A service that knows holes of some versions, in the format of OSV."""

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            name = asked["package"]["name"]
            hole = {
                "id": "TEST-1",
                "affected": [
                    {
                        "package": {"name": name, "ecosystem": "PyPI"},
                        "ranges": [{"type": "ECOSYSTEM", "events": [{"fixed": "99.0"}]}],
                    }
                ],
            }
            known = {"vulns": [hole]} if (name, asked["version"]) in vulnerable else {}
            body = json.dumps(known).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1/query"
        finally:
            server.shutdown()


@pytest.fixture
def lock(tmp_path):
    path = tmp_path / "constraints.txt"
    path.write_text("# pins\nJinja2==3.1.6\nidna==3.20  # why\n")
    return path


def run_audit(lock, url):
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "audit.py"), "--osv-url", url, str(lock)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "Traceback" not in done.stderr or done.returncode == audit.UNKNOWN
    return done.returncode, done.stdout, done.stderr


def test_the_service_decides_where_it_can_be_asked(lock):
    with serve_osv(FAMOUS) as url:
        code, said, complaint = run_audit(lock, url)
        assert (code, complaint) == (0, "")
        assert said == f"audit: no known holes in 2 pinned versions, by {url}\n"
    with serve_osv(FAMOUS | {("idna", "3.20")}) as url:
        code, _, complaint = run_audit(lock, url)
    assert code == 1 and complaint == "audit: VULNERABLE idna==3.20: TEST-1, mended in 99.0\n"


@pytest.mark.parametrize(
    ("bad", "markers"), [("3.1.5", ("<", ">=")), ("3.1.6", (">=", "<"))], ids=["first", "second"]
)
def test_every_version_of_a_package_is_looked_up_whatever_its_marker(tmp_path, bad, markers):
    lock = tmp_path / "c.txt"
    versions = ("3.1.5", "3.1.6")
    lines = [
        f"{name}=={version}; python_version {marker} '3.0'\n"
        for name, version, marker in zip(("Jinja2", "jinja2"), versions, markers, strict=True)
    ]
    lock.write_text("".join(lines) + "idna==3.20\n")
    with serve_osv(FAMOUS | {("jinja2", bad)}) as url:
        code, said, complaint = run_audit(lock, url)
    assert code == 1 and complaint.count("VULNERABLE") == 1 and f"=={bad}: TEST-1" in complaint
    assert said == f"audit: 1 known hole in 3 pinned versions, by {url}\n"
    code, said, complaint = run_audit(lock, NOWHERE)  # our list knows of 3.1.5
    assert code == 1 and "VULNERABLE Jinja2==3.1.5: CVE-2025-27516" in complaint
    assert "in 3 of 3 pinned versions" in said


@pytest.mark.parametrize("silence", ["no server", "knows nothing", "error"])
def test_without_a_service_it_says_so_and_looks_into_the_list(lock, silence):
    if silence == "no server":
        code, said, complaint = run_audit(lock, NOWHERE)
    else:
        with serve_osv(set(), 200 if silence == "knows nothing" else 503) as url:
            code, said, complaint = run_audit(lock, url)
    assert code == 0 and "no known holes in 2 of 2 pinned versions, by " in said
    assert complaint.count("\n") == 1 and "CANNOT BE ASKED" in complaint
    lock.write_text("Jinja2==3.1.5\nidna==3.20\n")
    code, _, complaint = run_audit(lock, NOWHERE)
    assert code == 1 and "VULNERABLE Jinja2==3.1.5: CVE-2025-27516" in complaint


def test_without_a_service_it_names_the_pins_that_it_can_say_nothing_of(lock):
    lock.write_text("Jinja2==3.1.6\nAbsl_py==2.1\nnarwhals==2.0; python_version > '3'\n")
    code, said, complaint = run_audit(lock, NOWHERE)
    assert code == 0 and "no known holes in 1 of 3 pinned versions, by " in said
    assert "audit: NOT CHECKED (2): Absl_py==2.1, narwhals==2.0\n" in complaint


def test_a_service_that_falls_silent_midway_is_no_success(lock, monkeypatch, capsys):
    monkeypatch.setattr(audit, "why_silent", lambda url: None)
    monkeypatch.setattr(sys, "argv", ["audit", "--osv-url", NOWHERE, str(lock)])
    assert audit.main() == audit.UNKNOWN
    assert "pip-audit failed" in capsys.readouterr().err


@pytest.mark.parametrize(("accepted", "code"), [(["TEST-1"], 0), (["TEST-2"], 1)])
def test_only_a_hole_that_is_taken_for_a_reason_is_let_through(lock, monkeypatch, accepted, code):
    monkeypatch.setattr(audit, "load_accepted", lambda: accepted)
    with serve_osv(FAMOUS | {("idna", "3.20")}) as url:
        monkeypatch.setattr(sys, "argv", ["audit", "--osv-url", url, str(lock)])
        assert audit.main() == code


@pytest.mark.parametrize("text", ["", "jinja2>=3\n", "jinja2==3.*\n", "jinja2\n", "%%\n"])
def test_what_pins_nothing_is_no_success(tmp_path, text):
    (tmp_path / "c.txt").write_text(text)
    code, said, complaint = run_audit(tmp_path / "c.txt", NOWHERE)
    assert (code, said) == (2, "") and "c.txt" in complaint
    assert run_audit(tmp_path / "missing.txt", NOWHERE)[0] == 2


def test_our_own_pins_have_no_hole_of_the_list():
    code, said, complaint = run_audit(ROOT / "constraints.txt", NOWHERE)
    assert code == 0, complaint
    checked, of, pins = said.split()[5:8]
    assert of == "of" and int(pins) > 150
    (unknown,) = (line for line in complaint.splitlines() if "NOT CHECKED" in line)
    assert unknown.count("==") == int(pins) - int(checked)
    for name in ("tensorflow-cpu", "keras", "torch", "onnx", "protobuf", "ray", "starlette"):
        assert f" {name}==" not in unknown


def test_the_list_is_well_formed_and_concerns_what_we_install():
    _, advisories = audit.load_advisories()
    pins = {audit.canonicalize_name(name) for name, _ in audit.read_pins(ROOT / "constraints.txt")}
    for known in advisories:
        assert known.package in pins and SpecifierSet(known.affected)
        assert known.id.startswith("CVE-") and known.source
    names = [(known.package, known.id) for known in advisories]
    assert len(set(names)) == len(names)


def test_no_lowest_version_that_we_allow_has_a_hole_of_the_list():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    allowed = [*project["dependencies"], *(text for extra in extras.values() for text in extra)]
    _, advisories = audit.load_advisories()
    for wanted in map(Requirement, allowed):
        lowest = [one.version for one in wanted.specifier if one.operator == ">="]
        for known in advisories:
            assert not (lowest and known.concerns(wanted.name, lowest[0])), (wanted.name, known)


def test_make_check_audits():
    recipe = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert "check: $(TESTS) audit" in recipe and "$(BIN)/python tools/audit.py" in recipe
