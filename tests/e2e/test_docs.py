"""Each command of these documents runs, in bash, as it stands there."""

from __future__ import annotations

import itertools
import json
import os
import shlex
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from docs import blocks, members
from harness import LIMIT, PROJECT, NomadCluster, Provider, SimCluster, until
from test_registry import CA_CERT, image, registry  # noqa: F401 the fixtures
from test_vault import Vault, vault, workspace  # noqa: F401 the fixtures

# Each `sh` block, in order: what it is run with. "options": what it gives to devpod is taken by the provider.
RUN = {
    "vault.md": ["own vault", "vault", "options", "vault"],
    "registries.md": ["sudo", "registry", "registry", "options", "sudo"],
    "gpu.md": ["options", "gpu"],
    "storage.md": ["options"] * 6,
    # the second one needs an image of each architecture
    "machine-image.md": ["registry", "not run", "options"],
}
OPTIONS = [(d, i) for d, kinds in RUN.items() for i, kind in enumerate(kinds) if kind == "options"]
PROVIDER = "devpod-provider-nomad"


def sh(document: str, number: int, **replaced: str) -> str:
    """A block, with what its reader fills in."""
    text = blocks(document, "sh")[number]
    for word, by in replaced.items():
        assert word in text
        text = text.replace(word, by)
    return text


class Shell:
    """A directory, and programs that are found before the computer's own."""

    def __init__(self, tmp: Path, provider: Provider) -> None:
        self.dir = tmp / "shell"
        self.bin = tmp / "bin"
        self.dir.mkdir()
        self.bin.mkdir()
        (self.bin / PROVIDER).symlink_to(provider.path)
        self.provider = provider

    def program(self, name: str, script: str) -> None:
        (self.bin / name).write_text(f"#!/bin/sh\n{script}\n")
        (self.bin / name).chmod(0o755)

    def run(self, script: str, code: int = 0, /, **env: str) -> str:
        """Its stdout and stderr."""
        done = subprocess.run(
            ["bash", "-eu", "-o", "pipefail", "-c", script],
            env={**self.provider.environment(env), "PATH": f"{self.bin}:{os.environ['PATH']}"},
            cwd=self.dir,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=5 * LIMIT,
            check=False,
        )
        assert done.returncode == code, f"{script}\n{done.stdout}"
        return done.stdout


@pytest.fixture
def shell(tmp_path: Path, provider: Provider) -> Shell:
    return Shell(tmp_path, provider)


def given(words: list[str]) -> dict[str, str]:
    """The provider's options of a call of devpod."""
    flags = ("-o", "--option", "--provider-option")
    return dict(value.split("=", 1) for flag, value in itertools.pairwise(words) if flag in flags)


def calls_of_devpod(shell: Shell, script: str, **env: str) -> list[list[str]]:
    """The words of each."""
    shell.program("devpod", f'for word do printf "%s\\0" "$word"; done >>{shell.dir}/words; echo >>{shell.dir}/words')
    shell.run(script, **env)
    return [line.split("\0")[:-1] for line in (shell.dir / "words").read_text().splitlines()]


def test_all_are_known() -> None:
    assert {document: len(blocks(document, "sh")) for document in RUN} == {d: len(kinds) for d, kinds in RUN.items()}


@pytest.mark.parametrize(("document", "number"), OPTIONS, ids=[f"{d[:-3]}-{i}" for d, i in OPTIONS])
def test_options(sim: SimCluster, shell: Shell, document: str, number: int) -> None:
    """All that a call of devpod names are known and good together."""
    known = (PROJECT / "docs" / "options.md").read_text()
    address = "http://127.0.0.1:1"
    calls = calls_of_devpod(shell, sh(document, number), VAULT_ADDR=address, REGISTRY="registry.example:5000")
    for words in calls:
        options = given(words)
        assert options and words[:3] in (["provider", "set-options", "nomad"], ["up", "FOLDER_OR_REPO", "--provider"])
        assert [name for name in options if f"`{name}`" not in known] == []
        assert sim.machine(VAULT_ADDR=address).run("status", env=options).out == "NotFound\n"


def test_json_is_of_devcontainers() -> None:
    assert list(members("vault.md")) == ["postCreateCommand", "remoteEnv"]
    assert list(members("gpu.md")) == ["hostRequirements"]


@pytest.mark.parametrize("document", ["vault.md", "gpu.md"])
def test_hcl_is_formatted(document: str) -> None:
    if shutil.which("nomad") is None:
        pytest.skip("there is no nomad on PATH to format HCL")
    for block in blocks(document, "hcl"):
        done = subprocess.run(["nomad", "fmt", "-"], input=block, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (0, block), done.stderr


def test_gpu_init(sim: SimCluster, shell: Shell) -> None:
    """It says what the nodes lack."""
    assert "healthy GPU(s) of nvidia where 1 are asked for" in shell.run(sh("gpu.md", 1), 1, **sim.env)


def test_registry_files(shell: Shell) -> None:
    """Where they get on a client; here below a directory."""
    shell.program(
        "sudo",
        f'root={shell.dir}\nfor word do\n\tshift\n\tcase $word in /*) word=$root$word ;; esac\n\tset -- "$@" "$word"\ndone\n"$@"',
    )
    (shell.dir / "ca.crt").write_text("CERTIFICATE\n")
    shell.run(sh("registries.md", 0), REGISTRY="registry.example:5000")
    docker_reads = shell.dir / "etc/docker/certs.d/registry.example:5000/ca.crt"
    programs_read = shell.dir / str(CA_CERT)[1:]
    assert docker_reads.read_text() == programs_read.read_text() == "CERTIFICATE\n"
    programs_read.unlink()
    programs_read.mkdir()
    shell.run(sh("registries.md", 4))
    assert not programs_read.exists()


@pytest.mark.nomad
def test_registry(nomad: NomadCluster, shell: Shell, registry: str, image: str) -> None:  # noqa: F811
    said = shell.run(sh("registries.md", 1, IMAGE=image.removeprefix(f"{registry}/")), REGISTRY=registry)
    nomad.docker("rmi", image)
    assert "{}" in said and image in said
    machine = nomad.machine()
    machine.ok("create")
    script = sh("registries.md", 2, **{"MACHINE_ID=MACHINE ": f"MACHINE_ID={machine.name} "})
    env = {**machine.env, "REGISTRY": registry}
    del env["MACHINE_ID"]
    assert shell.run(script, **env).strip() == "{}"


@pytest.mark.nomad
def test_machine_image(nomad: NomadCluster, shell: Shell, image: str, registry: str) -> None:  # noqa: F811
    """From a base that lacks nothing, under a name of the test's own."""
    name = image.removeprefix(f"{registry}/")
    script = sh(
        "machine-image.md", 0, **{"devpod-machine:1": name, "docker build ": "docker build --build-arg BASE=$BASE "}
    )
    shell.run(f"cd {PROJECT}\n{script}", REGISTRY=registry, BASE=nomad.env["NOMAD_IMAGE"], DOCKER_BUILDKIT="0")
    machine = nomad.machine(NOMAD_IMAGE=image)
    machine.ok("create")
    machine.ok("delete")
    nomad.docker("rmi", "--force", image)


@pytest.fixture
def own_vault(shell: Shell, nomad: NomadCluster) -> Iterator[dict[str, str]]:
    """An OpenBao or Vault of the test's own, with nothing in it; what its clients need in the environment."""
    program = shutil.which("vault") or shutil.which("bao")
    if program is None:
        pytest.skip("there is neither vault nor bao on PATH to run a Vault with")
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    words = ["server", "-dev", "-dev-no-store-token", "-dev-root-token-id=own", f"-dev-listen-address=127.0.0.1:{port}"]
    with (shell.dir / "vault.log").open("wb") as said:
        process = subprocess.Popen([program, *words], stdout=said, stderr=said, stdin=subprocess.DEVNULL)
    env = {
        "VAULT_ADDR": address,
        "BAO_ADDR": address,
        "VAULT_TOKEN": "own",
        "BAO_TOKEN": "own",
        "NOMAD_ADDR": nomad.url,
    }
    shell.program("vault", f'exec {shlex.quote(program)} "$@"')
    try:
        until(lambda: not subprocess.run([program, "status"], env=env, capture_output=True, check=False).returncode)
        yield env
    finally:
        process.terminate()
        process.wait()


@pytest.mark.nomad
def test_vault_once(shell: Shell, own_vault: dict[str, str]) -> None:
    """Vault takes the set-up, and looks for Nomad's keys where it says."""
    shell.run(sh("vault.md", 0), **own_vault)
    role = json.loads(shell.run("vault read -format=json auth/jwt-nomad/role/nomad-workloads", **own_vault))["data"]
    assert (role["bound_audiences"], role["token_policies"]) == (["vault.io"], ["devpod-secrets"])
    assert "secret/data/*" in shell.run("vault policy read devpod-secrets", **own_vault)


@pytest.mark.nomad
def test_vault_secret(nomad: NomadCluster, vault: Vault, shell: Shell) -> None:  # noqa: F811
    """From the secret to the variable in the workspace."""
    program = shutil.which("vault") or shutil.which("bao")
    if program is None:
        pytest.skip("there is neither vault nor bao on PATH")
    shell.program("vault", f'exec {shlex.quote(program)} "$@"')
    env = {"VAULT_ADDR": vault.addr, "BAO_ADDR": vault.addr, "VAULT_TOKEN": vault.token, "BAO_TOKEN": vault.token}
    shell.run(sh("vault.md", 1), **env)
    try:
        (words,) = calls_of_devpod(shell, sh("vault.md", 2), **env)
        machine = nomad.machine(**given(words))
        machine.ok("create")
        root = workspace(machine, "w")
        until((root / ".vault-secrets").exists)
        assert machine.command(f"cd {root}\n{sh('vault.md', 3)}").out == "AKIA123\n"
        assert machine.command('printf %s "$AWS_SECRET_ACCESS_KEY"').out == 's3cr3t "with" $signs'
        machine.ok("delete")
    finally:
        vault.call("DELETE", "secret/metadata/aws")
