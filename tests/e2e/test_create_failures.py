"""create that cannot succeed: at once where Nomad knows, with the reason, and nothing is left."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from harness import IMAGE, LIMIT, Cluster, Machine, NomadCluster, SimCluster

NO_IMAGE = "127.0.0.1:1/no-such:1"


def lines(error: str) -> list[str]:
    return error.splitlines()


def test_bad_image(machine: Machine) -> None:
    message, hint = lines(machine.fails("create", env={"NOMAD_IMAGE": NO_IMAGE}))
    head, _, reason = message.partition(f" did not start: Failed to pull `{NO_IMAGE}`: Error response from daemon: ")
    assert head.startswith(f"create machine '{machine.name}': task 'machine' on node ")
    assert reason in (
        f"manifest for {NO_IMAGE} not found: manifest unknown: manifest unknown",
        'Get "http://127.0.0.1:1/v2/": dial tcp 127.0.0.1:1: connect: connection refused',
    )
    assert hint == f"hint: is NOMAD_IMAGE '{NO_IMAGE}' right, and can the node reach its registry?"
    machine.nothing_left()


def test_impossible_constraint(machine: Machine) -> None:
    env = {"NOMAD_CONSTRAINTS_JSON": '[{"attribute": "${attr.kernel.name}", "value": "plan9"}]'}
    done = machine.run("create", env=env)
    assert (done.code, done.out) == (1, "")
    assert done.err == (
        f"creating machine '{machine.name}'\n"
        f"taking back machine '{machine.name}'\n"
        f"error: create machine '{machine.name}': no node fits: filtered out by constraint: "
        "${attr.kernel.name} = plan9: 1 node(s)\n"
        "hint: look at NOMAD_CONSTRAINTS_JSON, and at the nodes' attributes: nomad node status -verbose NODE\n"
    )
    machine.nothing_left()


TOO_LARGE = {
    "NOMAD_MEMORYMB": ("67108864", "memory", "MB", 16384),
    "NOMAD_CPU": ("1000000", "cpu", "MHz", 8000),
    "NOMAD_CORES": ("4096", "cores", "cores", 4),
    "NOMAD_DISKMB": ("67108864", "disk", "MB", 100_000),
}


def test_too_large(sim: SimCluster) -> None:
    for option, (value, name, unit, capacity) in TOO_LARGE.items():
        machine = sim.machine()
        assert machine.fails("create", env={option: value}) == (
            f"create machine '{machine.name}': no node is large enough: {name} exhausted on 1 node(s) ({value} {unit} "
            f"asked, the largest node in reach, node-0, has {capacity} {unit} in all)\nhint: lower {option}\n"
        )
        machine.nothing_left()


def test_too_much_memory(machine: Machine) -> None:
    message, hint = lines(machine.fails("create", env={"NOMAD_MEMORYMB": "67108864"}))
    assert message.startswith(
        f"create machine '{machine.name}': no node is large enough: memory exhausted on 1 node(s) (67108864 MB asked, "
        "the largest node in reach, "
    )
    assert hint == "hint: lower NOMAD_MEMORYMB"
    machine.nothing_left()


REFUSED = {
    ("NOMAD_NODE_POOL", "nope"): 'job "{}" is in nonexistent node pool "nope"',
    ("NOMAD_NAMESPACE", "nope"): 'job "{}" is in nonexistent namespace "nope"',
    ("NOMAD_PRIORITY", "101"): "job priority must be between [1, 100]",
}


def test_refused_by_the_server(cluster: Cluster) -> None:
    for (option, value), reason in REFUSED.items():
        machine = cluster.machine()
        error = machine.fails("create", env={option: value})
        assert lines(error)[0] == (
            f"create machine '{machine.name}': PUT /v1/jobs: HTTP 500: {reason.format(machine.name)}"
        )
        machine.nothing_left()


def test_unknown_region(machine: Machine) -> None:
    error = machine.fails("create", env={"NOMAD_REGION": "nope"})
    assert lines(error)[0] == (
        f"create machine '{machine.name}': GET /v1/job/{machine.name}: HTTP 500: No path to region"
    )


def test_no_datacenter(machine: Machine) -> None:
    assert machine.fails("create", env={"NOMAD_DATACENTERS": "nowhere"}) == (
        f"create machine '{machine.name}': no ready and eligible node in datacenters 'nowhere' and node pool "
        "'default'\nhint: look at NOMAD_DATACENTERS and NOMAD_NODE_POOL, and at: nomad node status\n"
    )
    machine.nothing_left()


def test_host_path(machine: Machine, tmp_path: Path) -> None:
    """A host directory that cannot be made: the path is named, and nothing is left."""
    (tmp_path / "file").write_text("")
    error = machine.fails("create", env={"NOMAD_HOST_DIR": f"{tmp_path}/file/x"})
    assert f"{tmp_path}/file/x/{machine.name}" in error
    assert (tmp_path / "file").read_text() == ""
    machine.nothing_left()


def test_no_privileged(sim: SimCluster) -> None:
    machine = sim.machine()
    sim.set_node(privileged_enabled=False)
    assert machine.fails("create") == (
        f"create machine '{machine.name}': task 'machine' on node node-0 did not start: Failed to create container "
        f'configuration for image "{IMAGE}" ("sha256:{"0" * 64}"): Docker privileged mode is disabled on this Nomad '
        "agent\nhint: the client's docker plugin must have allow_privileged = true\n"
    )
    machine.nothing_left()


def test_no_volumes(sim: SimCluster) -> None:
    machine = sim.machine()
    sim.set_node(volumes_enabled=False)
    assert machine.fails("create") == (
        f"create machine '{machine.name}': task 'machine' on node node-0 did not start: Failed to create container "
        f'configuration for image "{IMAGE}" ("sha256:{"0" * 64}"): volumes are not enabled; cannot mount host path: '
        '"/var/run/docker.sock:/var/run/docker.sock"\n'
        "hint: the client's docker plugin must have volumes { enabled = true }\n"
    )
    machine.nothing_left()


def test_exit_code_and_last_lines(sim: SimCluster) -> None:
    """A machine that ends before it is ready: its exit code and its last 20 lines, without control characters."""
    machine = sim.machine()
    script = 'i=1; while [ $i -le 30 ]; do printf "line %s \\033[1m\\n" $i; i=$((i+1)); done; exit 1'
    sim.stand_in("chmod", script)
    error = lines(machine.fails("create"))
    assert error[0] == (
        f"create machine '{machine.name}': task 'machine' on node node-0 ended with exit code 1; its last lines:"
    )
    said = [f"line {i} ?[1m" for i in range(12, 31)] + [
        f"machine: error: the machine's directory {machine.dir} cannot be made"
    ]
    assert len(error) == 21
    assert error[1:] == [f"  | {line}" for line in said]
    machine.nothing_left()


@pytest.mark.nomad
def test_not_installable(nomad: NomadCluster) -> None:
    """An image without curl, and no network to get it from: says which."""
    machine = nomad.machine()
    tag = f"{machine.name}:1"
    text = f"FROM {IMAGE}\nRUN rm -f /usr/bin/curl /usr/bin/apt-get\n"
    build = ["docker", "build", "--quiet", "--network=none", f"--tag={tag}", "-"]
    subprocess.run(build, input=text.encode(), capture_output=True, check=True, timeout=LIMIT)
    try:
        error = lines(machine.fails("create", env={"NOMAD_IMAGE": tag}))
        machine.nothing_left()
    finally:
        subprocess.run(["docker", "rmi", "--force", tag], capture_output=True, check=False, timeout=LIMIT)
    assert error[0].endswith("ended with exit code 1; its last lines:")
    assert error[-1] == (
        "  | machine: error: the image lacks: curl, and it could not be installed; use an image that has it, or "
        "give the machine a network"
    )


def test_out_of_memory(sim: SimCluster) -> None:
    machine = sim.machine()
    sim.rule("GET /v1/client/fs/logs", "delay", delay=86400, times=1)
    with machine.popen("create") as process:
        sim.wait_request("GET /v1/client/fs/logs")
        sim.oom_kill(sim.running(machine.name)["ID"])
        done = machine.provider.finish(process)
    assert done.code == 1
    assert done.error.startswith(
        f"create machine '{machine.name}': task 'machine' on node node-0 ended with exit code 137 (out of memory)"
    )
    assert done.error.endswith("\nhint: give it more memory: NOMAD_MEMORYMB\n")
    machine.nothing_left()


def test_ends_before_ready(sim: SimCluster) -> None:
    """Exit code 0 before it said ready is a failure too."""
    machine = sim.machine()
    sim.stand_in("chmod", "kill -TERM $PPID; exec sleep 1")
    error = machine.fails("create")
    assert error.startswith(f"create machine '{machine.name}': task 'machine' on node node-0 ended with exit code 0")
    machine.nothing_left()


def test_start_timeout(sim: SimCluster) -> None:
    machine = sim.machine()
    sim.client.pull_delay = 1.5
    assert machine.fails("create", env={"NOMAD_START_TIMEOUT": "1s", "NOMAD_IMAGE": "slow:1"}) == (
        f"create machine '{machine.name}': not ready within NOMAD_START_TIMEOUT (1 s)\n"
        "hint: Nomad's last word on it: Downloading image\n"
    )
    machine.nothing_left()


def test_stopped_while_it_starts(sim: SimCluster) -> None:
    """Somebody deregisters the job meanwhile."""
    machine = sim.machine()
    sim.client.pull_delay = 0.5
    with machine.popen("create", env={"NOMAD_IMAGE": "slow:1"}) as process:
        sim.wait_for(lambda c: any(a.client == "pending" for a in c.store.allocs_of("default", machine.name)))
        sim.wait_request("GET /v1/allocation/.*index=")
        sim.call(lambda c: c.deregister("default", machine.name, purge=False))
        done = machine.provider.finish(process)
    assert done.code == 1
    assert done.error.startswith(f"create machine '{machine.name}': ")
    machine.nothing_left()


def test_progress(sim: SimCluster) -> None:
    """What Nomad and the machine say comes while it happens, on stderr."""
    machine = sim.machine()
    sim.stand_in("chmod", "echo working; exec sleep 1")
    sim.client.pull_delay = 0.1
    with machine.popen("create", env={"NOMAD_IMAGE": "slow:1"}) as process:
        assert process.stderr is not None
        seen = [process.stderr.readline().decode() for _ in range(4)]
        assert process.poll() is None
        done = machine.provider.finish(process)
    assert (done.code, done.out) == (0, "")
    assert seen == [
        f"creating machine '{machine.name}'\n",
        "placed on node node-0\n",
        "Downloading image\n",
        "working\n",
    ]
