"""The real DevPod with the real Nomad, each DevPod of DPN_DEVPOD in each mode: up, ssh, stops of all kinds, up, delete."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from devpod import SLOTS, DevPod, Image, Workspace, executable
from harness import NomadCluster, delete, until
from release import Release, copy_project

pytestmark = [pytest.mark.nomad, pytest.mark.devpod]

MODES = {
    "host": {},
    "dind": {"NOMAD_DOCKER_MODE": "dind"},
    "csi": {"NOMAD_STORAGE_MODE": "persistent", "NOMAD_CSI_PARAMETERS_JSON": "{}"},
    "volume": {"NOMAD_STORAGE_MODE": "persistent", "NOMAD_STORAGE_TYPE": "host"},
}


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    made = copy_project(tmp_path_factory.mktemp("release") / "project")
    done = made.build("--dev", RELEASE_VERSION="0.0.1-dev")
    assert done.returncode == 0, done.stderr
    return made


@pytest.fixture(scope="module", params=SLOTS)
def image(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    made = Image(executable(request.param), tmp_path_factory.mktemp("image") / "context")
    yield made
    made.remove()


@pytest.fixture
def devpod(image: Image, nomad: NomadCluster, release: Release, tmp_path: Path) -> Iterator[DevPod]:
    one = DevPod(image.devpod, tmp_path)
    one.run("provider", "add", "--name", "nomad", "--use", str(release.yaml))
    yield one
    # a test that failed: the provider's own delete is what may be broken, so NomadCluster.close() does the rest
    for folder in one.machines():
        nomad.machine(folder.name)


@pytest.fixture
def make_workspace(devpod: DevPod, nomad: NomadCluster, image: Image) -> Callable[[str], Workspace]:
    return lambda mode: Workspace(devpod, nomad, image, f"e2e-{mode}", MODES[mode])


def by_devpod(workspace: Workspace) -> None:
    workspace.devpod.run("stop", workspace.name)


def by_nomad(workspace: Workspace) -> None:
    """nomad job stop, and the dead job is collected."""
    delete(f"{workspace.nomad.url}/v1/job/{workspace.machine.name}")
    workspace.nomad.wait_quiet(workspace.machine.name)
    workspace.nomad.gc()
    until(lambda: workspace.nomad.job(workspace.machine.name) is None)


def by_inactivity(workspace: Workspace) -> None:
    """Nobody has used it since 1970."""
    used = "$DEVPOD_MACHINE_DIR/agent/data/*/*/workspaces/*/workspace.json"
    assert workspace.machine.command(f"touch -d @0 {used}").code == 0
    workspace.nomad.wait_alloc(workspace.machine.name, "complete")


@pytest.mark.parametrize("mode", MODES)
def test_whole_life(make_workspace: Callable[[str], Workspace], mode: str) -> None:
    """What was written is there after each stop, in the same devcontainer; after delete nothing is left."""
    workspace = make_workspace(mode)
    workspace.options["INACTIVITY_TIMEOUT"] = "1h"
    workspace.configure({"image": workspace.image})
    workspace.create()
    machine, nomad = workspace.machine, workspace.nomad
    assert workspace.ssh("cat README")[-1:] == ["uploaded"]
    workspace.ssh("echo kept >file && echo root >/root/file && echo volume >/volume/file")
    boxes = workspace.devcontainers()
    assert list(boxes.values()) == ["running"]
    (box,) = boxes
    anonymous = workspace.docker("volume ls -q").split()
    volume = nomad.volume(machine.volume)
    assert (volume is not None) == (mode in ("csi", "volume"))

    for stop in (by_devpod, by_nomad, by_inactivity):
        stop(workspace)
        assert machine.status() == "Stopped"
        assert workspace.inside or workspace.devcontainers() == {box: "exited"}
        workspace.up()
        assert machine.status() == "Running"
        kept = workspace.ssh("cat file /root/file /volume/file README")
        assert kept[-4:] == ["kept", "root", "volume", "uploaded"], stop
        assert workspace.devcontainers() == boxes, stop

    workspace.devpod.run("delete", workspace.name)
    machine.nothing_left()
    assert nomad.container_state(box) == ""
    assert not set(anonymous) & set(nomad.docker("volume", "ls", "-q").split())
    assert volume is None or not nomad.backing(volume)
    assert workspace.name not in workspace.devpod.run("list", "--output", "json")


COMPOSE_FILE = """
services:
  app:
    image: {image}
    command: sleep infinity
    init: true
    volumes: [named:/named, /anonymous, ..:/workspaces/e2e]
  database:
    image: {image}
    command: sleep infinity
    init: true
    volumes: [/anonymous]
volumes:
  named:
"""


def test_compose(make_workspace: Callable[[str], Workspace], nomad: NomadCluster) -> None:
    """Two services, their network, a named volume and anonymous ones, in the client's docker: delete leaves nothing."""
    if not shutil.which("docker-compose"):
        pytest.skip("no docker-compose on PATH: none for the machine")
    workspace = make_workspace("host")
    compose = {"dockerComposeFile": "compose.yml", "service": "app", "workspaceFolder": "/workspaces/e2e"}
    workspace.configure(compose)
    (workspace.folder / ".devcontainer" / "compose.yml").write_text(COMPOSE_FILE.format(image=workspace.image))
    workspace.create()
    workspace.ssh("echo named >/named/file && echo root >/root/file")
    (box, *_) = workspace.devcontainers()
    project = nomad.docker("inspect", box, "--format", '{{index .Config.Labels "com.docker.compose.project"}}').strip()
    label = f"--filter=label=com.docker.compose.project={project}"
    boxes = set(nomad.docker("ps", "-aq", "--no-trunc", label).split())
    assert len(boxes) == 2
    mounts = "{{range .Mounts}}{{.Name}} {{end}}"
    volumes = set(nomad.docker("inspect", *boxes, "--format", mounts).split())
    assert len(volumes) == 5  # /anonymous and the image's /volume in both, /named
    networks = nomad.docker("network", "ls", "-q", label).split()
    assert len(networks) == 1

    workspace.devpod.run("stop", workspace.name)
    assert {nomad.container_state(b) for b in boxes} == {"exited"}
    workspace.up()
    assert workspace.ssh("cat /named/file /root/file")[-2:] == ["named", "root"]
    assert {nomad.container_state(b) for b in boxes} == {"running"}

    workspace.devpod.run("delete", workspace.name)
    workspace.machine.nothing_left()
    assert {nomad.container_state(b) for b in boxes} == {""}
    assert not volumes & set(nomad.docker("volume", "ls", "-q").split())
    assert not nomad.docker("network", "ls", "-q", label).split()


def test_inactivity_timeout(make_workspace: Callable[[str], Workspace]) -> None:
    """Without it DevPod's agent takes 20 minutes, and the machine runs on. A short one stops it, and up brings it back."""
    workspace = make_workspace("host")
    workspace.configure({"image": workspace.image})
    workspace.create()
    machine, nomad = workspace.machine, workspace.nomad
    agent = machine.dir / "agent"
    (used,) = agent.glob("**/workspaces/*/workspace.json")
    os.utime(used, (0, 0))
    until(lambda: any("ran command" in log.read_text() for log in agent.glob("**/agent-daemon.log")))
    assert machine.status() == "Running"

    workspace.up(INACTIVITY_TIMEOUT="10s")
    nomad.wait_alloc(machine.name, "complete")
    assert machine.status() == "Stopped"
    workspace.up(INACTIVITY_TIMEOUT="")
    assert machine.status() == "Running"
    assert workspace.ssh("cat README")[-1:] == ["uploaded"]
