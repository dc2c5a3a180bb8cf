"""The configuration of the image, and the examples for Kubernetes and podman, agree with the program.

tests/static runs the image.
"""

import configparser
import os
import re
import shutil
import subprocess

import pytest

from harness import ROOT, run_ackd
from prom import is_built

yaml = pytest.importorskip("yaml", reason="python3-yaml is not installed")

KUBERNETES = ROOT / "packaging/kubernetes/ackd.yaml"
QUADLET = ROOT / "packaging/podman/ackd.container"
IMAGE = ROOT / "packaging/image/ackd.conf"
GENERATOR = "/usr/lib/systemd/system-generators/podman-system-generator"
DOCKER_STOP_S = 10
UNITS = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30}


@pytest.fixture(autouse=True)
def with_metrics(config_file):
    if not is_built(config_file):
        pytest.skip("this build has no metrics")


def documents(kind):
    found = [x for x in yaml.safe_load_all(KUBERNETES.read_text()) if x["kind"] == kind]
    assert found
    return found


def settings(path):
    """Returns the settings that are numbers, from ackd -T: durations in seconds, sizes in bytes."""
    done = run_ackd("-T", "-c", path)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    units = {"": 1, "s": 1, "min": 60, "h": 3600, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
    return {name: int(number) * units[unit] for name, number, unit in
            re.findall(r'^\s*(\w+) = "?(\d+)([a-zA-Z]*)"?;', done.stdout, re.M)}


@pytest.fixture
def pod_settings(config_file):
    return settings(config_file(documents("ConfigMap")[0]["data"]["ackd.conf"]))


def pod():
    return documents("Deployment")[0]["spec"]["template"]


def container():
    only, = pod()["spec"]["containers"]
    return only


def test_image_drains_before_docker_kills():
    assert settings(IMAGE)["drain_timeout"] < DOCKER_STOP_S


def test_version_is_that_of_the_program():
    version = run_ackd("--version").stdout.split()[1]
    assert container()["image"] == f"localhost/ackd:{version}"
    assert f"\nImage=localhost/ackd:{version}\n" in QUADLET.read_text()
    assert f"ackd-{version}.tar" in QUADLET.read_text()


def test_pods_drain_within_their_grace_period(pod_settings):
    delay, drain = pod_settings["drain_delay"], pod_settings["drain_timeout"]
    assert delay + drain < pod()["spec"]["terminationGracePeriodSeconds"]
    ready, alive = container()["readinessProbe"], container()["livenessProbe"]
    assert ready["periodSeconds"] * ready["failureThreshold"] < delay
    assert alive["periodSeconds"] * alive["failureThreshold"] > delay + drain


def test_memory_and_workers_fit_the_resources(pod_settings):
    limits = container()["resources"]["limits"]
    number, unit = re.fullmatch(r"(\d+)(\w+)", limits["memory"]).groups()
    assert pod_settings["max_memory"] < int(number) * UNITS[unit]
    assert pod_settings["workers"] == int(limits["cpu"])


def test_ports_and_labels_agree():
    text = documents("ConfigMap")[0]["data"]["ackd.conf"]
    configured = dict(re.findall(r'name = "(\w+)"; port = (\d+)', text))
    configured["metrics"] = re.search(r"metrics = .*port = (\d+)", text)[1]
    ports = {x["name"]: str(x["containerPort"]) for x in container()["ports"]}
    assert ports == configured
    labels = pod()["metadata"]["labels"]
    for service in documents("Service"):
        assert service["spec"]["selector"] == labels
        assert {x["targetPort"] for x in service["spec"]["ports"]} <= ports.keys()
    for name in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container()[name]["httpGet"] == {"path": "/healthz", "port": "metrics"}
    assert documents("PodDisruptionBudget")[0]["spec"]["selector"] == {"matchLabels": labels}
    assert documents("Deployment")[0]["spec"]["selector"] == {"matchLabels": labels}


def test_pods_have_no_rights():
    spec = pod()["spec"]
    assert spec["securityContext"]["runAsNonRoot"] and spec["securityContext"]["runAsUser"] == 65534
    assert not spec["automountServiceAccountToken"]
    assert container()["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def read_unit():
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str
    unit.read(QUADLET)
    return unit


def test_quadlet_stops_as_the_image_needs():
    unit = read_unit()
    stop = int(re.search(r"--stop-timeout=(\d+)", unit["Container"]["PodmanArgs"])[1])
    assert settings(IMAGE)["drain_timeout"] < stop < int(unit["Service"]["TimeoutStopSec"])
    assert unit["Container"]["ReadOnly"] == "true" and unit["Container"]["DropCapability"] == "all"
    assert unit["Service"]["RestartPreventExitStatus"] == "64 78"  # as in ackd.service


def test_quadlet_leaves_the_health_check_to_the_image():
    """podman runs HealthCmd= in a shell, which the image lacks: each check would fail, and end ackd."""
    assert [x for x in read_unit()["Container"] if x.startswith("Health")] == ["HealthOnFailure"]
    assert "--healthcheck \"CMD /usr/bin/ackc ping " in (ROOT / "packaging/build-image").read_text()


def test_quadlet_is_understood_by_podman(tmp_path):
    """podman makes a service of it, which systemd accepts."""
    if not os.access(GENERATOR, os.X_OK):
        pytest.skip("no podman that makes units, as that of Debian 13: packaging/install-missing containers")
    done = subprocess.run([GENERATOR, tmp_path, tmp_path, tmp_path], check=False, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          env={"QUADLET_UNIT_DIRS": str(QUADLET.parent), "PATH": "/usr/bin"})
    assert done.returncode == 0, done.stdout
    service = tmp_path / "ackd.service"
    start, = re.findall(r"^ExecStart=.*", service.read_text(), re.M)
    for option in ("--read-only ", "--read-only-tmpfs=false ", "--cap-drop all ", "--health-on-failure kill ",
                   "--security-opt=no-new-privileges ", "--stop-timeout=25 ", "--publish 10080:10080 "):
        assert option in start
    if shutil.which("systemd-analyze"):
        done = subprocess.run(["systemd-analyze", "verify", service], check=False, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert (done.returncode, done.stdout) == (0, "")
