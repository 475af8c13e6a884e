"""Where a machine lands, and what is only taken at the moment."""

from __future__ import annotations

from collections.abc import Callable

from harness import Json, SimCluster

MakeSim = Callable[..., SimCluster]


def three(make_sim: MakeSim) -> SimCluster:
    nodes: list[Json] = [
        {"name": "a", "datacenter": "dc1"},
        {"name": "b", "datacenter": "dc2", "meta": {"kind": "big"}},
        {"name": "c", "datacenter": "dc2", "pool": "gpu"},
    ]
    return make_sim(nodes=nodes)


WHERE: list[tuple[dict[str, str], str]] = [
    ({"NOMAD_DATACENTERS": "dc1"}, "a"),
    ({"NOMAD_DATACENTERS": "dc9, dc2"}, "b"),
    ({"NOMAD_DATACENTERS": "*2"}, "b"),
    ({"NOMAD_NODE_POOL": "gpu"}, "c"),
    ({"NOMAD_CONSTRAINTS_JSON": '[{"attribute":"${meta.kind}","operator":"=","value":"big"}]'}, "b"),
]


def test_where(make_sim: MakeSim) -> None:
    sim = three(make_sim)
    for env, node in WHERE:
        machine = sim.machine(**env)
        machine.ok("init")
        assert machine.ok("create").err.splitlines()[1] == f"placed on node {node}", env


def test_waits_for_room(sim: SimCluster) -> None:
    """What is only taken is waited for, saying so, and used as soon as it is free."""
    machine = sim.machine()
    hog = sim.hog(memory=16384)
    with machine.popen("create") as process:
        assert process.stderr is not None
        assert process.stderr.readline().decode() == f"creating machine '{machine.name}'\n"
        assert process.stderr.readline().decode() == (
            "no node has room now: memory exhausted on 1 node(s) (512 MB asked, the largest node in reach, node-0, has "
            "16384 MB in all); waiting up to 60 s\n"
        )
        assert machine.status() == "Busy"
        sim.unhog(hog)
        assert machine.provider.finish(process).code == 0
    assert machine.status() == "Running"


def test_waits_no_longer_than_told(sim: SimCluster) -> None:
    machine = sim.machine()
    sim.hog(memory=16384)
    assert machine.fails("create", env={"NOMAD_PLACEMENT_TIMEOUT": "1s"}) == (
        f"create machine '{machine.name}': not placed within 1 s: no node has room now: memory exhausted on 1 node(s) "
        "(512 MB asked, the largest node in reach, node-0, has 16384 MB in all)\n"
        "hint: lower NOMAD_MEMORYMB, or stop something on the cluster\n"
    )
    machine.nothing_left()


def test_zero_timeout(sim: SimCluster) -> None:
    """0s: not even a moment."""
    machine = sim.machine()
    sim.hog(cpu=8000)
    error = machine.fails("create", env={"NOMAD_PLACEMENT_TIMEOUT": "0s"})
    assert error.startswith(f"create machine '{machine.name}': not placed within 0 s: no node has room now: cpu ")
    machine.nothing_left()


def test_reason_per_constraint(make_sim: MakeSim) -> None:
    """Each constraint with the number of nodes it filtered."""
    sim = make_sim(
        nodes=[
            {"name": "a", "meta": {"x": "1"}},
            {"name": "b"},
            {"name": "c", "meta": {"x": "2"}, "docker_healthy": False},
        ]
    )
    machine = sim.machine()
    constraint = '[{"attribute":"${meta.x}","operator":"is_set"},{"attribute":"${meta.x}","value":"2"}]'
    error = machine.fails("create", env={"NOMAD_CONSTRAINTS_JSON": constraint})
    head, _, rest = error.splitlines()[0].partition("filtered out by constraint: ")
    assert head == f"create machine '{machine.name}': no node fits: "
    assert sorted(rest.split("; ")) == sorted(
        ["${meta.x} = 2: 1 node(s)", "${meta.x} is_set: 1 node(s)", "missing drivers: 1 node(s)"]
    )
    machine.nothing_left()


def test_all_ineligible(sim: SimCluster) -> None:
    machine = sim.machine()
    sim.set_node(eligibility="ineligible")
    error = machine.fails("create")
    assert error.startswith(f"create machine '{machine.name}': no ready and eligible node in datacenters '*'")
    machine.nothing_left()


def test_size_in_the_job(sim: SimCluster) -> None:
    """What is asked for is what is registered."""
    machine = sim.machine(
        NOMAD_CORES="2", NOMAD_MEMORYMB="300", NOMAD_MEMORY_MAX_MB="600", NOMAD_DISKMB="400", NOMAD_PRIORITY="70"
    )
    machine.ok("create")
    job = sim.job(machine.name)
    assert job is not None
    group = job["TaskGroups"][0]
    resources = group["Tasks"][0]["Resources"]
    assert {k: resources[k] for k in ("Cores", "MemoryMB", "MemoryMaxMB")} == {
        "Cores": 2,
        "MemoryMB": 300,
        "MemoryMaxMB": 600,
    }
    assert (group["EphemeralDisk"]["SizeMB"], job["Priority"]) == (400, 70)
