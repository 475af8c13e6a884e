"""hack/machine-image: built without a network where its base has all of it, and a machine of it installs nothing."""

from __future__ import annotations

import os
import secrets
import subprocess
from collections.abc import Iterator

import pytest

from harness import IMAGE, PROJECT, NomadCluster

BUILD_LIMIT = 600.0


@pytest.fixture
def image(nomad: NomadCluster) -> Iterator[str]:
    tag = f"e2e-machine-image:{secrets.token_hex(4)}"
    file = PROJECT / "hack" / "machine-image" / "Dockerfile"
    subprocess.run(
        ["docker", "build", "--quiet", "--network=none", f"--build-arg=BASE={IMAGE}", f"--file={file}", f"--tag={tag}"]
        + [str(PROJECT / "src" / "spec")],
        env={**os.environ, "DOCKER_BUILDKIT": "0"},
        check=True,
        capture_output=True,
        timeout=BUILD_LIMIT,
    )
    yield tag
    nomad.docker("rmi", "--force", tag)


@pytest.mark.nomad
@pytest.mark.parametrize("mode", ["host", "dind"])
def test_machine_of_the_image(nomad: NomadCluster, image: str, mode: str) -> None:
    machine = nomad.machine(NOMAD_IMAGE=image, NOMAD_DOCKER_MODE=mode)
    for command in ("create", "stop", "start"):
        assert "installing" not in machine.ok(command).err
    done = machine.command("git --version && curl --version && docker info && command -v dockerd")
    assert done.code == 0, done.err
    machine.ok("delete")
    machine.nothing_left()
