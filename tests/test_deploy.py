"""The examples of a deployment: valid, and of commands, options, paths and ports that exist."""

import configparser
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from typer.main import get_command

from explstm import cli
from explstm.server.security import OPEN_PATHS
from explstm.server.settings import Settings, is_private, read_token

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "deploy"
UNIT = FOLDER / "explstm.service"
README = (FOLDER / "README.md").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PROGRAM = "/opt/explstm/bin/explstm"


def parse_serve(arguments):
    """What the command line makes of arguments of ``explstm serve``; it refuses unknown ones."""
    command = get_command(cli.app).commands["serve"]
    return command.make_context("serve", list(arguments)).params


# -------------------------------------------------------------------------------- the Containerfile


@pytest.fixture(scope="module")
def instructions():
    dockerfile = pytest.importorskip("dockerfile", reason="BuildKit's parser is not installed")
    return dockerfile.parse_file(str(FOLDER / "Containerfile"))


def pick(instructions, name):
    return [found for found in instructions if found.cmd.upper() == name]


def test_what_the_image_is_built_from_exists(instructions):
    for found in pick(instructions, "COPY"):
        if not any(flag.startswith("--from") for flag in found.flags):
            assert all((ROOT / source).exists() for source in found.value[:-1])
    (base,) = {found.value[0] for found in pick(instructions, "FROM")}
    version = re.search(r":(\d+\.\d+)-", base)[1]
    assert SpecifierSet(PROJECT["requires-python"]).contains(f"{version}.1")
    (extras,) = pick(instructions, "ARG")
    assert extras.value == ("EXTRAS=serve",)
    (installed,) = (
        found.value[0] for found in pick(instructions, "RUN") if "pip install" in found.value[0]
    )
    assert ".[${EXTRAS}]" in installed and "constraints.txt" in installed
    for named in re.findall(r"EXTRAS=([a-z,]+)", README):
        assert set(named.split(",")) <= set(PROJECT["optional-dependencies"])


def test_the_container_serves_without_root_and_keeps_only_its_data(instructions):
    (entry,), (command,) = pick(instructions, "ENTRYPOINT"), pick(instructions, "CMD")
    assert entry.json and command.json and entry.value[:2] == ("explstm", "serve")
    assert "explstm" in PROJECT["scripts"]
    asked = parse_serve([*entry.value[2:], *command.value])
    (volume,), (port,) = pick(instructions, "VOLUME"), pick(instructions, "EXPOSE")
    assert volume.value == (str(asked["data"]),)
    assert port.value == (str(asked["port"]),) == (str(Settings().port),)
    assert asked["token_file"] is not None
    (user,) = pick(instructions, "USER")
    assert int(user.value[0]) > 0
    assert f"--uid {user.value[0]} " in " ".join(
        found.value[0] for found in pick(instructions, "RUN")
    )
    assert instructions.index(user) < instructions.index(entry)


def test_the_health_check_asks_what_needs_no_token(instructions):
    (check,) = pick(instructions, "HEALTHCHECK")
    assert check.value[:3] == ("CMD", "python", "-c")
    compile(check.value[3], "check", "exec")
    address = re.search(r"http://127\.0\.0\.1:(\d+)(/\w+)", check.value[3])
    assert int(address[1]) == Settings().port and address[2] in OPEN_PATHS
    assert "127.0.0.1" in Settings(host="0.0.0.0", token="x" * 16).known_hosts


def test_the_container_is_run_with_options_that_exist(instructions):
    (run,) = (line for line in join_lines(README) if line.startswith("podman run"))
    words = shlex.split(run)
    image = words.index("explstm", words.index("--stop-timeout"))  # the first is its name
    options, asked = words[:image], parse_serve(words[image + 1 :])
    (user,) = pick(instructions, "USER")
    assert asked["host"] == "0.0.0.0" and asked["trusted_host"] == ["forecasts.example.org"]
    assert f"explstm-token,uid={user.value[0]},mode=0400" in run
    assert str(asked["token_file"]) == "/run/secrets/explstm-token"
    assert "127.0.0.1:{0}:{0}".format(asked["port"]) in options
    for limit in ("--read-only", "--cap-drop all", "no-new-privileges", "--memory", "--pids-limit"):
        assert limit in run
    assert int(words[words.index("--stop-timeout") + 1]) > Settings().stop_seconds


# -------------------------------------------------------------------------------------- the unit


@pytest.fixture(scope="module")
def unit():
    parser = configparser.RawConfigParser(strict=True, delimiters=("=",), comment_prefixes=("#",))
    parser.optionxform = str
    parser.read_string(UNIT.read_text(encoding="utf-8"))
    return parser


def test_the_unit_starts_what_exists(unit):
    assert unit.sections() == ["Unit", "Service", "Install"]
    program, command, *arguments = shlex.split(unit["Service"]["ExecStart"])
    assert (program, command) == (PROGRAM, "serve")
    asked = parse_serve(arguments)
    assert asked["port"] == Settings().port and asked["trusted_host"] == ["forecasts.example.org"]
    credential, source = unit["Service"]["LoadCredential"].split(":")
    assert str(asked["token_file"]) == f"%d/{credential}"
    assert str(asked["data"]) == f"%S/{unit['Service']['StateDirectory']}"
    for text in (source, PROGRAM.removesuffix("/bin/explstm"), "deploy/explstm.service"):
        assert text in README
    assert int(unit["Service"]["TimeoutStopSec"]) > Settings().stop_seconds


def test_the_unit_gives_away_as_little_as_it_can(unit):
    service = unit["Service"]
    yes = [
        *("DynamicUser", "NoNewPrivileges", "PrivateTmp", "PrivateDevices", "ProtectHome"),
        *("ProtectKernelModules", "ProtectKernelTunables", "ProtectControlGroups"),
        *("RestrictNamespaces", "RestrictSUIDSGID"),
    ]
    assert {name: service[name] for name in yes} == dict.fromkeys(yes, "yes")
    assert service["ProtectSystem"] == "strict" and service["CapabilityBoundingSet"] == ""
    assert service["UMask"] == "0077" and {"MemoryMax", "TasksMax"} <= set(service)


def test_systemd_takes_the_unit(tmp_path):
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed")
    copy = tmp_path / UNIT.name
    text = UNIT.read_text(encoding="utf-8")
    copy.write_text(text.replace(PROGRAM, sys.executable), encoding="utf-8")

    def ask(*arguments):
        done = subprocess.run(
            [analyze, *arguments, str(copy)], capture_output=True, text=True, timeout=60
        )
        return done.returncode, done.stdout + done.stderr

    code, said = ask("verify", "--man=no")
    if re.search("Failed to (connect|initialize)|not supported|booted", said):
        pytest.skip(f"systemd-analyze does not work here: {said[:200]}")
    assert code == 0 and copy.name not in said, said
    if "--threshold" in ask("--help")[1]:
        code, said = ask("security", "--offline=true", "--threshold=15")
        assert code == 0, said


# ------------------------------------------------------------------------------------- the token


@pytest.mark.parametrize(
    ("owner", "mode", "user", "private"),
    [
        (1000, 0o600, 1000, True),
        (1000, 0o400, 1000, True),
        (1000, 0o440, 1000, False),
        (1000, 0o604, 1000, False),
        (0, 0o440, 1000, True),  # systemd's credentials show the mask of their list as a group
        (0, 0o640, 1000, True),
        (0, 0o444, 1000, False),
        (0, 0o460, 1000, False),
        (0, 0o440, 0, False),
        (0, 0o600, 0, True),
        (1001, 0o440, 1000, False),
    ],
)
def test_a_token_file_is_private_to_its_reader_and_root(owner, mode, user, private):
    status = os.stat_result((0o100000 | mode, 1, 1, 1, owner, owner, 32, 0, 0, 0))
    assert is_private(status, user) is private


@pytest.mark.skipif(os.name != "posix", reason="modes are those of POSIX")
def test_the_token_that_the_readme_makes_is_taken(tmp_path):
    (line,) = (line for line in join_lines(README) if line.startswith("(umask"))
    subprocess.run(["sh", "-c", line], cwd=tmp_path, check=True)
    token = read_token(tmp_path / "token")
    assert re.fullmatch("[0-9a-f]{64}", token)
    assert Settings(host="0.0.0.0", token=token).token == token


# ------------------------------------------------------------------------------- a cluster of Ray


def load_yaml(name):
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    return list(yaml.safe_load_all((FOLDER / name).read_text(encoding="utf-8")))


@pytest.fixture
def cluster():
    return load_yaml("ray-cluster.yaml")[0]


def starts(cluster):
    """What `ray start` is called with on the head and on the workers: settings, and arguments."""
    for side in ("head", "worker"):
        (line,) = (one for one in cluster[f"{side}_start_ray_commands"] if " start " in one)
        *_, command = line.split(";")
        words = shlex.split(command)
        at = words.index("start")
        yield side, dict(word.split("=", 1) for word in words[: at - 1]), words[at + 1 :]


def test_ray_takes_the_cluster_file(cluster):
    util = pytest.importorskip("ray.autoscaler._private.util")
    prepared = util.prepare_config(cluster)
    util.validate_config(prepared)  # by Ray's own schema
    (nodes,) = prepared["available_node_types"].values()
    assert nodes["min_workers"] == nodes["max_workers"] == len(cluster["provider"]["worker_ips"])
    with pytest.raises(Exception, match="no_such_key"):
        util.validate_config({**prepared, "no_such_key": 1})


def test_ray_knows_how_the_cluster_is_started(cluster):
    scripts = pytest.importorskip("ray.scripts.scripts")
    for _, _, arguments in starts(cluster):
        asked = scripts.start.make_context("start", list(arguments)).params
        ports = [asked[f"{name}_port"] for name in ("node_manager", "object_manager")]
        assert 0 not in ports and asked["min_worker_port"] < asked["max_worker_port"]


def test_a_cluster_has_a_token_and_no_dashboard(cluster):
    (token,) = cluster["file_mounts"]
    assert f"chmod 600 {token}" in cluster["setup_commands"]
    for side, settings, arguments in starts(cluster):
        assert settings["RAY_AUTH_MODE"] == "token" and settings["RAY_AUTH_TOKEN_PATH"] == token
        assert settings["RAY_USAGE_STATS_ENABLED"] == "0"
        assert ("--include-dashboard=false" in arguments) == (side == "head")
    assert cluster["auth"]["ssh_user"] != "root"
    assert "ray-token" in README and "ray-cluster.yaml" in README


# -------------------------------------------------------------------------------------- Kubernetes


@pytest.fixture
def manifest():
    return {one["kind"]: one for one in load_yaml("kuberay.yaml")}


def pods(manifest):
    spec = manifest["RayCluster"]["spec"]
    for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"]):
        yield group, group["template"]["spec"]


def test_the_manifest_has_what_kuberay_asks_for(manifest):
    """By the reference of ray.io/v1: required fields, and the types that are easily mistaken."""
    assert list(manifest) == ["ServiceAccount", "NetworkPolicy", "RayCluster"]
    cluster = manifest["RayCluster"]
    assert cluster["apiVersion"] == "ray.io/v1"
    assert set(cluster["spec"]) == {
        "rayVersion", "enableInTreeAutoscaling", "headGroupSpec", "workerGroupSpecs",
    }  # fmt: skip
    assert {one["metadata"]["namespace"] for one in manifest.values()} == {"explstm"}
    assert isinstance(cluster["spec"]["rayVersion"], str)
    extra = next(one for one in PROJECT["optional-dependencies"]["ray"] if one.startswith("ray"))
    assert Requirement(extra).specifier.contains(cluster["spec"]["rayVersion"])
    for group, pod in pods(manifest):
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
        (container,) = pod["containers"]
        assert {"name", "image", "env", "resources", "securityContext"} <= set(container)
        mounted = {mount["name"] for mount in container["volumeMounts"]}
        assert mounted == {volume["name"] for volume in pod["volumes"]}
    (workers,) = cluster["spec"]["workerGroupSpecs"]
    assert workers["groupName"] and workers["minReplicas"] <= workers["replicas"]


def test_pods_may_do_nothing_but_compute(manifest):
    assert manifest["ServiceAccount"]["automountServiceAccountToken"] is False
    for _, pod in pods(manifest):
        assert pod["serviceAccountName"] == manifest["ServiceAccount"]["metadata"]["name"]
        assert pod["automountServiceAccountToken"] is False
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
        user = pod["securityContext"]
        assert user["runAsNonRoot"] and user["runAsUser"] > 0
        assert user["seccompProfile"] == {"type": "RuntimeDefault"}
        (container,) = pod["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert {"cpu", "memory"} <= set(container["resources"]["limits"])
        # What KubeRay would ask instead is the dashboard.
        assert {"readinessProbe", "livenessProbe"} <= set(container)


def test_pods_have_the_token_from_a_secret_and_show_no_dashboard(manifest):
    for group, pod in pods(manifest):
        (container,) = pod["containers"]
        values = {one["name"]: one for one in container["env"]}
        assert values["RAY_AUTH_MODE"]["value"] == "token"
        (secret,) = values["RAY_AUTH_TOKEN"]["valueFrom"].values()
        assert f"secret generic {secret['name']} --from-file={secret['key']}=" in README
        secrets = {name for name in values if "TOKEN" in name or "PASSWORD" in name}
        assert all("value" not in values[name] for name in secrets)
        ports = [port["containerPort"] for port in container.get("ports", [])]
        head = "serviceType" in group
        assert ports == ([6379] if head else [])
        assert not head or group["rayStartParams"]["include-dashboard"] == "false"
        assert head == ("PGPASSWORD" in values)
    policy = manifest["NetworkPolicy"]["spec"]
    own = {"podSelector": {"matchLabels": {"ray.io/cluster": "explstm"}}}
    assert policy["podSelector"] == own["podSelector"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert policy["ingress"] == [{"from": [own]}]
    assert manifest["RayCluster"]["metadata"]["name"] == "explstm"


def test_the_commands_of_the_readme_are_those_of_the_command_line():
    lines = [line for line in join_lines(README) if "explstm tune " in line]
    assert len(lines) == 2
    for line in lines:
        words = shlex.split(line)
        words = shlex.split(words[-1]) if "explstm" not in words else words
        command = get_command(cli.app).commands["tune"]
        given = command.make_context("tune", words[words.index("tune") + 1 :]).params
        assert given["engine"] == "ray" and given["storage"].startswith("postgresql://")
        assert "@" in given["storage"] and given["storage"].count(":") == 1  # no password


def join_lines(text):
    """The commands of a page, continued lines as one."""
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    return [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
