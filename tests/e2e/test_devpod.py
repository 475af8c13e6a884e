"""The real DevPod with the real Nomad: up, ssh, stop, up, delete, with each DevPod of DPN_DEVPOD."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import IMAGE, LIMIT, Machine, NomadCluster, until
from release import Release, copy_project

UP_LIMIT = 300.0
SLOTS = ("first", "second")


def executable(slot: str) -> Path:
    """The DevPod in this place of DPN_DEVPOD (a list with colons; without it, devpod on PATH)."""
    named = os.environ.get("DPN_DEVPOD", "") or shutil.which("devpod") or ""
    paths = [p for p in named.split(":") if p]
    at = SLOTS.index(slot)
    if at >= len(paths):
        pytest.skip(f"there is no {slot} DevPod: DPN_DEVPOD names {len(paths)}")
    if not os.access(paths[at], os.X_OK):
        pytest.fail(f"DPN_DEVPOD: {paths[at]} is no program")
    return Path(paths[at])


class DevPod:
    """One DevPod with a home of its own, and an image that holds its agent, so that nothing is downloaded."""

    def __init__(self, path: Path, tmp: Path) -> None:
        self.path = path
        self.tmp = tmp
        self.tag = f"e2e-devpod-{hashlib.sha256(str(path).encode()).hexdigest()[:12]}:1"
        self.env = {
            **{k: v for k, v in os.environ.items() if k == "PATH" or k.startswith("NOMAD_")},
            "HOME": str(tmp),
            "DEVPOD_HOME": str(tmp / "devpod"),
            "DEVPOD_DISABLE_TELEMETRY": "true",
        }

    def run(self, *args: str, timeout: float = UP_LIMIT) -> str:
        """Its stdout; exit code 0 is checked."""
        done = subprocess.run(
            [self.path, *args],
            env=self.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert done.returncode == 0, f"devpod {' '.join(args)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def build_image(self) -> None:
        context = self.tmp / "image"
        context.mkdir()
        os.link(self.path, context / "devpod") if self._linkable(context) else shutil.copy(
            self.path, context / "devpod"
        )
        (context / "Dockerfile").write_text(f"FROM {IMAGE}\nCOPY devpod /usr/local/bin/devpod\n")
        subprocess.run(
            ["docker", "build", "--quiet", f"--tag={self.tag}", str(context)],
            env={**os.environ, "DOCKER_BUILDKIT": "0"},
            check=True,
            capture_output=True,
            timeout=UP_LIMIT,
        )

    def remove_image(self) -> None:
        subprocess.run(["docker", "rmi", "--force", self.tag], capture_output=True, check=False, timeout=LIMIT)

    def _linkable(self, context: Path) -> bool:
        return self.path.stat().st_dev == context.stat().st_dev


@pytest.fixture
def release(tmp_path: Path) -> Release:
    made = copy_project(tmp_path / "project")
    done = made.build("--dev", RELEASE_VERSION="0.0.1-dev")
    assert done.returncode == 0, done.stderr
    return made


@pytest.fixture(params=SLOTS)
def devpod(request: pytest.FixtureRequest, nomad: NomadCluster, tmp_path: Path) -> Iterator[DevPod]:
    one = DevPod(executable(request.param), tmp_path)
    one.build_image()
    yield one
    one.remove_image()
    # a test that failed: the provider's own delete is what may be broken, so NomadCluster.close() does the rest
    for folder in (tmp_path / "devpod").glob("contexts/*/machines/*"):
        nomad.machine(folder.name)


@pytest.mark.nomad
@pytest.mark.devpod
def test_up_ssh_stop_up_delete(devpod: DevPod, nomad: NomadCluster, release: Release, tmp_path: Path) -> None:
    devpod.run("provider", "add", "--name", "nomad", "--use", str(release.yaml))

    folder = tmp_path / "e2e-ws"
    (folder / ".devcontainer").mkdir(parents=True)
    (folder / ".devcontainer" / "devcontainer.json").write_text(json.dumps({"image": devpod.tag}))
    (folder / "README").write_text("uploaded\n")
    options = {"NOMAD_IMAGE": devpod.tag, "AGENT_PATH": "/usr/local/bin/devpod"}
    given = [f"--provider-option={k}={v}" for k, v in options.items()]
    name = folder.name

    def ssh(command: str) -> str:
        return devpod.run("ssh", name, "--command", command)

    devpod.run("up", str(folder), "--provider", "nomad", "--ide", "none", *given)
    (machine,) = [
        Machine(nomad, nomad.provider, p.name, p) for p in (tmp_path / "devpod").glob("contexts/*/machines/*")
    ]
    nomad.machines.append(machine)
    assert ssh("cat README").endswith("uploaded\n")
    ssh("echo kept >file && echo root >/root/file")
    boxes = devcontainers(nomad, machine)
    assert list(boxes.values()) == ["running"]

    devpod.run("stop", name)
    assert machine.status() == "Stopped"
    assert devcontainers(nomad, machine) == dict.fromkeys(boxes, "exited")

    devpod.run("up", name, "--ide", "none")
    assert machine.status() == "Running"
    assert ssh("cat file /root/file README").splitlines()[-3:] == ["kept", "root", "uploaded"]
    assert devcontainers(nomad, machine) == boxes

    devpod.run("delete", name)
    for job in (machine.name, machine.cleanup):
        assert nomad.http("GET", f"/v1/job/{job}")[0] == 404
        nomad.wait_quiet(job)
    until(lambda: not nomad.containers(machine.dir), LIMIT)
    assert [b for b in boxes if nomad.container_state(b)] == []
    assert not machine.dir.exists()
    assert "e2e-ws" not in devpod.run("list", "--output", "json")


def devcontainers(nomad: NomadCluster, machine: Machine) -> dict[str, str]:
    """Those of the machine that are not Nomad's own."""
    label = "com.hashicorp.nomad.alloc_id"
    own = nomad.docker("ps", "-aq", "--no-trunc", f"--filter=label={label}").split()
    return {i: s for i, s in nomad.containers(machine.dir).items() if i not in own}
