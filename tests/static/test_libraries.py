"""packaging/static-libraries and the archives of source packages, here one of files with empty packages."""

import hashlib
import os
import re
import subprocess

import pytest

from conftest import ROOT

SCRIPT = ROOT / "packaging/static-libraries"
DATE = "Sat, 01 Jan 2022 00:00:00 UTC"
CONFIG = """Dir::Etc::SourceList "{0}/sources.list";
Dir::Etc::SourceParts "-";
Dir::State "{0}/state";
Dir::Cache "{0}/cache";
APT::Sandbox::User "";
APT::Get::AllowUnauthenticated "true";
Acquire::AllowInsecureRepositories "true";
Acquire::Languages "none";
"""


def pins():
    found = re.findall(r"^\t\t([\w-]+) (\S+) ([0-9a-f]{64})$", SCRIPT.read_text(), re.M)
    assert len(found) == 5
    return found


@pytest.fixture
def archive(tmp_path):
    """archive({name: [(version, is_there)]}) makes an archive, and returns an environment that uses it."""
    def sha256(path):
        return hashlib.sha256(path.read_bytes()).hexdigest()

    def add(name, version, is_there):
        """Returns the entry of a version; its files are missing unless @is_there."""
        stem = f"{name}_{version.rpartition(':')[2]}"
        files = [pool / f"{stem}.dsc", pool / f"{stem}.tar.xz"]
        entry = f"Package: {name}\nFormat: 1.0\nVersion: {version}\nDirectory: pool\nChecksums-Sha256:\n"
        for path in files:
            path.write_text(path.name)
            entry += f" {sha256(path)} {path.stat().st_size} {path.name}\n"
            if not is_there:
                path.unlink()
        return entry

    def make(versions):
        indexes = {"main/source/Sources": "\n".join(
            add(name, *version) for name, found in versions.items() for version in found)}
        architecture = subprocess.run(["dpkg", "--print-architecture"], check=True, text=True,
                                      stdout=subprocess.PIPE).stdout.strip()
        any_package = f"Package: any\nVersion: 1\nArchitecture: {architecture}\n"
        indexes[f"main/binary-{architecture}/Packages"] = any_package
        release = (f"Origin: Debian\nCodename: test\nDate: {DATE}\nComponents: main\n"
                   f"Architectures: {architecture}\nSHA256:\n")
        for name, text in indexes.items():
            path = tmp_path / "dists/test" / name
            path.parent.mkdir(parents=True)
            path.write_text(text)
            release += f" {sha256(path)} {len(text)} {name}\n"
        (tmp_path / "dists/test/Release").write_text(release)
        (tmp_path / "sources.list").write_text(f"deb file:{tmp_path} test main\n")
        (tmp_path / "apt.conf").write_text(CONFIG.format(tmp_path))
        environment = {**os.environ, "APT_CONFIG": str(tmp_path / "apt.conf"), "LC_ALL": "C"}
        subprocess.run(["apt-get", "-q", "update"], check=True, env=environment, stdout=subprocess.DEVNULL)
        return environment

    pool = tmp_path / "pool"
    pool.mkdir()
    for name in "state", "cache":
        (tmp_path / name).mkdir()
    return make


def test_newest_versions_whose_files_exist(archive):
    """A mirror may list a version before it has its files."""
    names = [name for name, _, _ in pins()]
    versions = {name: [("1.9-1", True), ("1.10-1", True), ("1.10~rc1-1", True)] for name in names}
    versions["openssl"] += [("1:0.1-1~deb12u2", True), ("1:0.2-1", False)]
    done = subprocess.run([SCRIPT, "--newest"], check=False, env=archive(versions), text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert done.returncode == 0, done.stderr
    found = {line.split()[0]: line.split()[1] for line in done.stdout.splitlines()}
    assert found == {**dict.fromkeys(names, "1.10-1"), "openssl": "1:0.1-1~deb12u2"}
    assert re.fullmatch(r"static-libraries: openssl 1:0\.2-1 is listed, but: .*\n", done.stderr)


def test_package_without_a_version(archive):
    first, second, *_ = [name for name, _, _ in pins()]
    done = subprocess.run([SCRIPT, "--newest"], check=False, env=archive({first: [("1.9-1", True)]}),
                          text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert done.returncode != 0
    assert done.stderr.endswith(f"static-libraries: the archive has no version of {second}\n")
