"""A machine's devcontainers where containers are real, on a real Nomad: their limits, and who ends the allocation."""

from __future__ import annotations

import secrets
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from client_agent import ClientAgent
from harness import LIMIT, Machine, NomadCluster, delete, until

pytestmark = pytest.mark.nomad

PROGRAMS = " ".join(f"-v /{d}:/{d}:ro" for d in ("bin", "lib", "lib64", "usr"))
DAY = "sleep 86399"


@pytest.fixture
def dind(nomad: NomadCluster) -> Machine:
    machine = nomad.machine(NOMAD_DOCKER_MODE="dind", NOMAD_MEMORYMB="400", NOMAD_CPU="300")
    machine.ok("create")
    # nothing is pulled: an empty image, and the machine's own programs in it
    assert machine.command("tar -cT /dev/null | docker import - e2e:1").code == 0
    return machine


def run(machine: Machine, program: str) -> str:
    done = machine.command(f"docker run --detach --init {PROGRAMS} e2e:1 {program}")
    assert done.code == 0, done.err
    return done.out.strip()


def states(machine: Machine) -> dict[str, str]:
    done = machine.command("docker ps -a --no-trunc --format {{.ID}}={{.State}}")
    return dict(row.split("=") for row in done.out.split()) if done.code == 0 else {}


def exit_code(machine: Machine, box: str) -> int:
    return int(machine.command(f"docker inspect {box} --format {{{{.State.ExitCode}}}}").out)


def task_box(machine: Machine) -> str:
    """Docker's container of the task, on the client."""
    alloc = machine.cluster.running(machine.name)["ID"]
    assert isinstance(machine.cluster, NomadCluster)
    (box,) = machine.cluster.docker("ps", "-q", "--no-trunc", f"--filter=name=^machine-{alloc}$").split()
    return box


def cgroups(pid: int) -> dict[str, str]:
    """Of a process of this computer: its cgroup for each controller of cgroup v1, and for "", which is cgroup v2."""
    rows = [row.split(":", 2) for row in Path(f"/proc/{pid}/cgroup").read_text().splitlines()]
    return {name: path for _, names, path in rows for name in names.split(",")}


def test_dind_is_below_the_task(dind: Machine, nomad: NomadCluster) -> None:
    """In the hierarchy of cgroups, so that CPU shares and all other limits of the task's hold for the devcontainers."""
    inner = run(dind, DAY)
    box = task_box(dind)
    rows = nomad.docker("top", box, "-eo", "pid,args").splitlines()
    (pid,) = [int(row.split()[0]) for row in rows if row.split(maxsplit=1)[1] == DAY]
    assert nomad.docker("inspect", box, "--format", "{{.HostConfig.CPUShares}} {{.HostConfig.Memory}}").split() == [
        "300",
        str(400 << 20),
    ]
    below = {name: path for name, path in cgroups(pid).items() if f"/{box}/" in path and path.endswith(f"/{inner}")}
    assert "" in below or {"cpu", "cpuset", "memory", "pids"} <= set(below)


def test_dind_out_of_memory(dind: Machine, nomad: NomadCluster) -> None:
    """A devcontainer that takes more than the machine has is killed; what else runs, inside and outside, is not."""
    beside = run(dind, DAY)
    other = nomad.machine()
    outside = nomad.add_devcontainer(other.dir / "content")
    size = 600 << 20  # more than the machine has, and no harm to a computer whose limits do not hold
    greedy = run(dind, f"sh -c 'head -c {size} /dev/zero | tail -c {size} >/dev/null'")
    until(lambda: states(dind)[greedy] == "exited")
    assert exit_code(dind, greedy) == 137
    assert states(dind)[beside] == "running"
    assert dind.status() == "Running"
    assert nomad.container_state(outside) == "running"


def test_dind_restart(dind: Machine) -> None:
    """A restart of the task, as of a template's change mode: what ran runs again, what was stopped does not."""
    runs, stopped = run(dind, DAY), run(dind, DAY)
    assert dind.command(f"docker stop {stopped}").code == 0
    dind.cluster.restart(dind.cluster.running(dind.name)["ID"])
    until(lambda: states(dind) == {runs: "running", stopped: "exited"})


def kill_1(machine: Machine) -> None:
    machine.command("/bin/kill 1")


def job_stop(machine: Machine) -> None:
    assert isinstance(machine.cluster, NomadCluster)
    assert machine.cluster.http("DELETE", f"/v1/job/{machine.name}")[0] == 200


def our_stop(machine: Machine) -> None:
    machine.ok("stop")


@pytest.mark.parametrize("end", [kill_1, job_stop, our_stop])
def test_dind_ended(dind: Machine, end: Callable[[Machine], None]) -> None:
    """Whoever ends it: the same containers are there at the next start, and they were ended in good order."""
    box = run(dind, DAY)
    end(dind)
    dind.cluster.wait_quiet(dind.name)
    assert dind.status() == "Stopped"
    dind.ok("start")
    assert states(dind) == {box: "exited"}
    assert exit_code(dind, box) == 143  # TERM


def test_kill_1_stops_devcontainers(nomad: NomadCluster) -> None:
    machine, other = nomad.machine(), nomad.machine()
    machine.ok("create")
    ours, theirs = (nomad.add_devcontainer(m.dir / "content") for m in (machine, other))
    kill_1(machine)
    nomad.wait_quiet(machine.name)
    assert (nomad.container_state(ours), nomad.container_state(theirs)) == ("exited", "running")
    machine.ok("start")
    assert nomad.container_state(ours) == "exited"


@pytest.fixture
def clients(nomad: NomadCluster, tmp_path: Path) -> Iterator[list[ClientAgent]]:
    """Two, with a node pool to themselves."""
    pool = f"e2e-{secrets.token_hex(4)}"
    agents = [ClientAgent(nomad, tmp_path, pool) for _ in range(2)]
    yield agents
    nomad.close()  # what runs on them
    nomad.machines.clear()
    for agent in agents:
        agent.close()
    delete(f"{nomad.url}/v1/node/pool/{pool}")


@pytest.mark.parametrize("mode", ["host", "dind"])
def test_drain(clients: list[ClientAgent], nomad: NomadCluster, mode: str) -> None:
    """The machine waits for its node: it is not started elsewhere, and Nomad does not start it by itself."""
    machine = nomad.machine(NOMAD_NODE_POOL=clients[0].pool, NOMAD_DOCKER_MODE=mode)
    machine.ok("create")
    alloc = nomad.running(machine.name)
    client = next(c for c in clients if c.id == alloc["NodeID"])
    box = nomad.add_devcontainer(machine.dir / "content")
    client.drain()
    nomad.wait_quiet(machine.name)
    assert machine.status() == "Stopped"
    # a dind machine has nothing in the client's docker, and leaves what is there alone
    assert nomad.container_state(box) == ("exited" if mode == "host" else "running")
    assert f"are on node {client.name} ({machine.dir}), which takes no jobs now\nhint: " in machine.fails("start")
    client.eligible()
    assert machine.status() == "Stopped"
    told = machine.ok("start").err
    assert f"the machine was stopped on node {client.name}: alloc is being migrated\n" in told
    assert machine.status() == "Running"
    assert nomad.container_state(box)
    assert len([a for a in nomad.allocs(machine.name) if a["ClientStatus"] == "running"]) == 1


@pytest.mark.parametrize("mode", ["host", "dind"])
def test_alloc_stop(clients: list[ClientAgent], nomad: NomadCluster, mode: str) -> None:
    """Nomad starts the machine again at once then, where its data are, and its devcontainers wait for DevPod."""
    machine = nomad.machine(NOMAD_NODE_POOL=clients[0].pool, NOMAD_DOCKER_MODE=mode)
    machine.ok("create")
    alloc = nomad.running(machine.name)
    box = nomad.add_devcontainer(machine.dir / "content")
    request = urllib.request.Request(f"{nomad.url}/v1/allocation/{alloc['ID']}/stop", b"", method="PUT")
    with urllib.request.urlopen(request, timeout=LIMIT):
        until(lambda: len(nomad.allocs(machine.name)) == 2)
    machine.ok("start")
    again = nomad.running(machine.name)
    assert (again["ID"] != alloc["ID"], again["NodeID"]) == (True, alloc["NodeID"])
    assert nomad.container_state(box) == ("exited" if mode == "host" else "running")
