"""A registry whose certificate is its own CA's, and machines that get it from their node: `REGISTRY` is its host and port,
and this computer, the node, trusts it at the two places of docs/registries.md."""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import tarfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import Machine, NomadCluster

pytestmark = pytest.mark.nomad

CERTS_DIR = Path("/etc/docker/certs.d")
CA_CERT = Path("/usr/local/share/ca-certificates/registry.cluster.crt")
UNTRUSTED = 60
"""curl's exit code."""


@pytest.fixture
def registry(nomad: NomadCluster) -> str:
    name = os.environ.get("REGISTRY", "")
    if not name:
        pytest.skip("REGISTRY is not set: no registry with a certificate of its own")
    for path in (CERTS_DIR / name / "ca.crt", CA_CERT):
        if not path.is_file():
            pytest.fail(f"{path} is not there: this computer does not trust the registry (docs/registries.md)")
    return name


@pytest.fixture
def image(registry: str, nomad: NomadCluster) -> Iterator[str]:
    """A small one, in the registry only."""
    name = f"{registry}/e2e-{os.getpid()}:1"
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("file"))
    subprocess.run(["docker", "import", "-", name], input=layer.getvalue(), check=True, capture_output=True)
    nomad.docker("push", "--quiet", name)
    nomad.docker("rmi", name)
    yield name
    url = f"https://{registry}/v2/{name.removeprefix(f'{registry}/').partition(':')[0]}/manifests/"
    digest = re.search(r"(?mi)^docker-content-digest: (\S+)", curl("--head", f"{url}1"))
    assert digest
    curl("--request", "DELETE", url + digest[1])


def curl(*words: str) -> str:
    """On this computer; the registry's certificate is none of Python's."""
    manifest = "application/vnd.docker.distribution.manifest.v2+json"
    command = ["curl", "-fsS", "--cacert", str(CA_CERT), "--header", f"Accept: {manifest}", *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def asks(machine: Machine, registry: str) -> int:
    """curl's exit code, in the machine."""
    return machine.command(f"curl -fsS -o /dev/null https://{registry}/v2/").code


def log(nomad: NomadCluster, machine: Machine) -> str:
    alloc = nomad.running(machine.name)["ID"]
    url = f"{nomad.url}/v1/client/fs/logs/{alloc}?task=machine&type=stdout&plain=true"
    with urllib.request.urlopen(url, timeout=10) as reply:
        text: str = reply.read().decode()
    return text


def test_programs_trust_it(nomad: NomadCluster, registry: str) -> None:
    """With the defaults; and not where they are off."""
    machine = nomad.machine()
    machine.ok("create")
    assert asks(machine, registry) == 0
    other = nomad.machine(NOMAD_REGISTRY_CA_CERT="none")
    other.ok("create")
    assert asks(other, registry) == UNTRUSTED
    assert "warning" not in log(nomad, other)
    # both are mounted read-only
    for path in (CERTS_DIR / registry / "ca.crt", CA_CERT):
        assert machine.command(f"test -s {path} && ! touch {path} 2>/dev/null").code == 0


def test_from_other_places(nomad: NomadCluster, registry: str, tmp_path: Path) -> None:
    """Wherever they are on the node."""
    shutil.copytree(CERTS_DIR, tmp_path / "certs")
    shutil.copy(CA_CERT, tmp_path / "ca.pem")
    machine = nomad.machine(
        NOMAD_REGISTRY_CERTS_DIR=str(tmp_path / "certs"), NOMAD_REGISTRY_CA_CERT=str(tmp_path / "ca.pem")
    )
    machine.ok("create")
    assert asks(machine, registry) == 0
    assert machine.command(f"test -s {CERTS_DIR}/{registry}/ca.crt").code == 0


def test_a_directory_in_its_place_is_told(nomad: NomadCluster, registry: str, tmp_path: Path) -> None:
    """Docker makes one of a file that the node does not have. The machine works all the same."""
    machine = nomad.machine(NOMAD_REGISTRY_CA_CERT=str(tmp_path / "none.crt"))
    machine.ok("create")
    assert (tmp_path / "none.crt").is_dir()
    assert (
        f"warning: the client has no file {CA_CERT}, docker made a directory of it: the registry's certificate is not "
        "trusted\n"
    ) in log(nomad, machine)
    assert asks(machine, registry) == UNTRUSTED
    assert machine.command("echo works").out == "works\n"


@pytest.mark.parametrize(
    ("certs", "ca"), [("", "none"), ("none", ""), ("none", "none")], ids=["certs-dir", "trust-store", "off"]
)
def test_docker_in_the_machine_trusts_it(nomad: NomadCluster, image: str, certs: str, ca: str) -> None:
    """By either: dockerd looks into the trust store, too."""
    machine = nomad.machine(NOMAD_DOCKER_MODE="dind", NOMAD_MEMORYMB="1024")
    machine.env.update(NOMAD_REGISTRY_CERTS_DIR=certs, NOMAD_REGISTRY_CA_CERT=ca)
    machine.ok("create")
    pulled = machine.command(f"docker pull --quiet {image}")
    if certs == ca == "none":
        assert pulled.code == 1
        assert "x509: certificate signed by unknown authority" in pulled.err
    else:
        assert (pulled.code, pulled.out.strip()) == (0, image), pulled.err
