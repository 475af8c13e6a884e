"""Whose machine it is, and where its data are: what start, create and delete do about it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from harness import Cluster, Machine, SimCluster, foreign_job

MakeSim = Callable[..., SimCluster]
WAYS_OUT = "or give the data up: devpod delete, then devpod up\n"


@pytest.fixture
def nodes(make_sim: MakeSim) -> SimCluster:
    return make_sim(nodes=[{"name": n} for n in "abc"])


def on_node(sim: SimCluster, node: str) -> Machine:
    """A machine that has run on this node and is stopped."""
    machine = sim.machine()
    constraint = f'[{{"attribute":"${{node.unique.name}}","value":"{node}"}}]'
    machine.ok("create", env={"NOMAD_CONSTRAINTS_JSON": constraint})
    (machine.dir / "file").write_text("kept")
    machine.ok("stop")
    return machine


# -- the state file


def test_state_file(created: Machine) -> None:
    """Node and directory, nothing secret; gone after delete."""
    alloc = created.cluster.running(created.name)
    assert json.loads(created.state.read_text()) == {
        "version": 1,
        "storage": "ephemeral",
        "docker": "host",
        "ready": True,
        "node_id": alloc["NodeID"],
        "node_name": alloc["NodeName"],
        "alloc_id": alloc["ID"],
        "dir": str(created.dir),
    }
    created.ok("delete")
    assert list(created.folder.iterdir()) == []


def test_no_machine_folder(sim: SimCluster) -> None:
    """By hand, without MACHINE_FOLDER: everything works as long as Nomad remembers."""
    machine = sim.machine(MACHINE_FOLDER="")
    for command in ("create", "stop", "start", "delete"):
        machine.ok(command)
    machine.nothing_left()


BROKEN = {
    "": "",
    "{": "",
    "[]": "not a state file of this provider's version",
    '{"version":2,"node_id":"x","dir":"/x"}': "not a state file of this provider's version",
    '{"version":1}': "not a state file of this provider's version",
}


def test_broken_state_file(sim: SimCluster) -> None:
    """Named, with what to do; nothing is guessed."""
    machine = sim.machine()
    for text, error in BROKEN.items():
        machine.state.write_text(text)
        for command in ("status", "start", "create", "stop", "delete"):
            told = machine.fails(command)
            assert f"{machine.state}: {error}" in told and "\nhint: " in told
    assert sim.requests == []


def test_lost_state_file(created: Machine) -> None:
    """As long as Nomad remembers the job, the file is not needed."""
    (created.dir / "file").write_text("kept")
    created.ok("stop")
    created.state.unlink()
    assert created.status() == "Stopped"
    created.ok("start")
    assert created.command("cat $DEVPOD_MACHINE_DIR/file").out == "kept"


# -- garbage collection


def test_start_after_gc(nodes: SimCluster) -> None:
    """Nomad has forgotten the job: Stopped, and start finds the data."""
    machine = on_node(nodes, "c")
    nodes.gc()
    assert machine.status() == "Stopped"
    assert machine.ok("start").err.splitlines()[1] == "placed on node c"
    assert machine.command("cat $DEVPOD_MACHINE_DIR/file").out == "kept"


def test_delete_after_gc(nodes: SimCluster) -> None:
    machine = on_node(nodes, "b")
    box = nodes.add_container("b", mounts=[{"Source": f"{machine.dir}/content", "Destination": "/w"}])
    nodes.gc()
    machine.ok("delete")
    machine.nothing_left()
    assert nodes.container_state(box) == ""


def test_create_after_gc(nodes: SimCluster) -> None:
    """create of a machine whose data are still there starts it, on their node."""
    machine = on_node(nodes, "c")
    nodes.gc()
    done = machine.ok("create")
    assert done.err == f"machine '{machine.name}' exists, starting it\nplaced on node c\n"
    assert (machine.dir / "file").read_text() == "kept"


# -- nodes


def test_start_on_its_node(nodes: SimCluster) -> None:
    for node in "abc":
        machine = on_node(nodes, node)
        assert machine.ok("start").err.splitlines()[1] == f"placed on node {node}"


def test_start_with_its_node_away(nodes: SimCluster) -> None:
    """Never empty elsewhere; says the ways out, and registers nothing."""
    away = {"which is down": {"status": "down"}, "which is disconnected": {"status": "disconnected"}}
    away["which takes no jobs now"] = {"eligibility": "ineligible"}
    machine = on_node(nodes, "b")
    ident = nodes.node_id("b")
    for why, state in away.items():
        nodes.set_node("b", **state)
        nodes.clear_requests()
        assert machine.fails("start") == (
            f"start machine '{machine.name}': the machine's data are on node b ({machine.dir}), {why}\n"
            f"hint: bring the node back (nomad node status {ident}; nomad node eligibility -enable), {WAYS_OUT}"
        )
        assert not [r for r in nodes.asked() if not r.startswith("GET ")]
        assert machine.status() == "Stopped"
        nodes.set_node("b", status="ready", eligibility="eligible")
    machine.ok("start")
    assert (machine.dir / "file").read_text() == "kept"


def test_start_with_its_node_gone(nodes: SimCluster) -> None:
    machine = on_node(nodes, "b")
    nodes.call(lambda c: c.store.nodes.pop(c.node("b").id))
    error = machine.fails("start")
    assert error.startswith(
        f"start machine '{machine.name}': the machine's data are on node b ({machine.dir}), "
        "which Nomad no longer knows\n"
    )
    assert error.endswith(WAYS_OUT)


def set_up_anew(sim: SimCluster, name: str) -> None:
    """The node's agent lost its data directory: Nomad forgets the old ID and knows the node by another."""
    sim.call(lambda c: c.store.nodes.pop(c.node(name).id))
    sim.add_node(name)


def test_node_replaced_under_its_name(nodes: SimCluster) -> None:
    """Its disk may be the same: looked for there, and found."""
    machine = on_node(nodes, "b")
    set_up_anew(nodes, "b")
    done = machine.ok("start")
    assert f"node b has another ID now ({nodes.node_id('b')[:8]}): looking for the machine's data there\n" in done.err
    assert "placed on node b\n" in done.err
    assert machine.command("cat $DEVPOD_MACHINE_DIR/file").out == "kept"
    machine.ok("stop")
    set_up_anew(nodes, "b")
    machine.ok("delete")
    machine.nothing_left()


def test_data_are_not_there(nodes: SimCluster) -> None:
    """Neither on a node of the same name nor on its own: never started empty; where they are again, it starts."""
    for replace in (True, False):
        machine = on_node(nodes, "b")
        aside = machine.dir.with_name("aside")
        machine.dir.rename(aside)
        if replace:
            set_up_anew(nodes, "b")
        for _ in range(2):
            error = machine.fails("start")
            assert f"machine: error: {machine.dir} on this node is empty: the machine's data are not here" in error
            assert machine.status() == "Stopped"
        machine.dir.rmdir()
        aside.rename(machine.dir)
        machine.ok("start")
        assert machine.command("cat $DEVPOD_MACHINE_DIR/file").out == "kept"
        machine.ok("delete")
        machine.nothing_left()


def test_moved_by_hand(nodes: SimCluster) -> None:
    """Somebody moved the directory and had Nomad run the job there: that node counts from now on, and it is told."""
    machine = on_node(nodes, "b")
    job = nodes.job(machine.name)
    assert job is not None
    for constraint in job["Constraints"]:
        if constraint["LTarget"] == "${node.unique.id}":
            constraint["RTarget"] = nodes.node_id("c")
    job["Constraints"] = [c for c in job["Constraints"] if c["LTarget"] != "${node.unique.name}"]
    job["Meta"]["devpod_start"] = "by-hand"
    job["Stop"] = False
    nodes.put_job(job)
    nodes.wait_alloc(machine.name, "running")
    moved = f"machine '{machine.name}' was on node b and ran on c since: its data are taken to be there\n"
    done = machine.ok("stop")
    assert moved in done.err
    assert "placed on node c\n" in machine.ok("start").err
    assert moved not in machine.ok("stop").err
    machine.ok("delete")
    machine.nothing_left()


def test_create_finds_earlier_data(sim: SimCluster) -> None:
    """Job and state file are lost, the directory is there: it is taken, and a create that fails leaves it."""
    machine = sim.machine()
    machine.ok("create")
    (machine.dir / "file").write_text("kept")
    machine.ok("stop")
    sim.gc()
    machine.state.unlink()
    assert machine.status() == "NotFound"
    rule = sim.rule("^GET /v1/client/fs/logs/", "delay", delay=86400)
    assert rule
    assert "not ready within NOMAD_START_TIMEOUT" in machine.fails("create", env={"NOMAD_START_TIMEOUT": "1s"})
    sim.clear_faults()
    assert machine.status() == "NotFound"
    assert (machine.dir / "file").read_text() == "kept"
    machine.ok("create")
    assert machine.command("cat $DEVPOD_MACHINE_DIR/file").out == "kept"
    machine.ok("delete")
    machine.nothing_left()


def test_directory_of_another_version(small: Machine) -> None:
    """A newer layout is not touched; a directory of a version that wrote none is taken."""
    small.ok("stop")
    layout = small.dir / ".layout"
    text = layout.read_text()
    layout.write_text("layout 2\ndocker host\n")
    error = small.fails("start")
    assert f"machine: error: {small.dir} has layout 2, this provider knows 1: use the newer provider" in error
    assert layout.read_text() == "layout 2\ndocker host\n"
    (small.dir / "agent").mkdir()
    layout.unlink()
    small.ok("start")
    assert layout.read_text().splitlines()[:2] == text.splitlines()[:2]


# -- why it ended


def test_preempted(sim: SimCluster) -> None:
    """Another job took its place. Nomad would bring it back some time; start says why it ended, and waits for room."""
    machine = sim.machine()
    machine.ok("create")
    alloc = sim.running(machine.name)["ID"]
    hog = sim.hog(memory=16384)
    sim.preempt(alloc)
    sim.wait_done(alloc)
    assert machine.status() == "Stopped"
    told = "the machine had to make room on node node-0: Preempted by "
    done = machine.run("start", env={"NOMAD_PLACEMENT_TIMEOUT": "0s"})
    assert (done.code, told in done.err) == (1, True)
    assert "no node has room now: memory " in done.error
    sim.unhog(hog)
    machine.ok("start")
    assert machine.status() == "Running"


def test_out_of_memory(sim: SimCluster) -> None:
    machine = sim.machine()
    machine.ok("create")
    alloc = sim.running(machine.name)["ID"]
    sim.oom_kill(alloc)
    sim.wait_done(alloc)
    assert machine.status() == "Stopped"
    done = machine.ok("start")
    assert "the machine ended: task 'machine' on node node-0 ended with exit code 137 (out of memory)" in done.err


def test_start_where_its_node_is_full(nodes: SimCluster) -> None:
    """Waits for its own node, though the others are free."""
    machine = on_node(nodes, "b")
    nodes.hog("b", memory=16384)
    error = machine.fails("start", env={"NOMAD_PLACEMENT_TIMEOUT": "1s"})
    assert error.startswith(f"start machine '{machine.name}': not placed within 1 s: no node has room now: memory ")
    assert machine.status() == "Stopped"
    assert (machine.dir / "file").read_text() == "kept"


def test_delete_with_its_node_away(nodes: SimCluster) -> None:
    """Success; what stays there is told."""
    away = {"is down": {"status": "down"}}
    away["takes no jobs (it is ineligible or drains)"] = {"eligibility": "ineligible"}
    for why, state in away.items():
        machine = on_node(nodes, "b")
        nodes.set_node("b", **state)
        assert machine.ok("delete").err == (
            f"deleting machine '{machine.name}'\n"
            f"warning: node b {why}: the directory {machine.dir} and the devcontainers of this machine stay there\n"
        )
        assert nodes.job(machine.name) is None
        assert machine.status() == "NotFound"
        nodes.set_node("b", status="ready", eligibility="eligible")


def test_its_node_goes_down_while_it_runs(nodes: SimCluster) -> None:
    """It is not started empty on another node: DevPod would take the empty workspace for good."""
    machine = nodes.machine()
    machine.ok("create")
    (machine.dir / "file").write_text("kept")
    node = nodes.running(machine.name)["NodeName"]
    nodes.set_node(node, status="down")
    nodes.wait_for(lambda c: all(e["Status"] != "pending" for e in c.store.evals.values()))
    assert [a["NodeName"] for a in nodes.allocs(machine.name)] == [node]
    assert machine.status() in ("Busy", "Stopped")
    nodes.set_node(node, status="ready")
    machine.ok("start")
    assert machine.command("cat $DEVPOD_MACHINE_DIR/file").out == "kept"


def test_stopped_while_its_node_is_down(nodes: SimCluster) -> None:
    """Nomad would start it again when the node is back (measured): a stop holds all the same."""
    machine = nodes.machine()
    machine.ok("create")
    node = nodes.running(machine.name)["NodeName"]
    nodes.set_node(node, status="down")
    nodes.wait_for(lambda c: all(e["Status"] != "pending" for e in c.store.evals.values()))
    machine.ok("stop")
    nodes.set_node(node, status="ready")
    nodes.wait_for(lambda c: all(e["Status"] != "pending" for e in c.store.evals.values()))
    assert machine.status() == "Stopped"
    assert len(nodes.allocs(machine.name)) == 1


def test_delete_while_its_node_is_down(sim: SimCluster) -> None:
    machine = sim.machine()
    machine.ok("create")
    sim.set_node(status="down")
    done = machine.ok("delete")
    assert f"warning: node node-0 is down: the directory {machine.dir} " in done.err
    assert sim.job(machine.name) is None


def test_start_elsewhere_asked_for(nodes: SimCluster) -> None:
    """Options of now that exclude the data's node: an error, not another node."""
    machine = on_node(nodes, "b")
    constraint = '[{"attribute":"${node.unique.name}","value":"a"}]'
    error = machine.fails("start", env={"NOMAD_CONSTRAINTS_JSON": constraint})
    assert error.startswith(f"start machine '{machine.name}': no node fits: filtered out by constraint: ")
    assert machine.status() == "Stopped"


def test_host_dir_changed(created: Machine, tmp_path: Path) -> None:
    """The directory of the first time stays the machine's."""
    created.ok("stop")
    created.ok("start", env={"NOMAD_HOST_DIR": f"{tmp_path}/other"})
    assert created.command("echo $DEVPOD_MACHINE_DIR").out == f"{created.dir}\n"
    created.ok("delete", env={"NOMAD_HOST_DIR": f"{tmp_path}/other"})
    created.nothing_left()


def test_failed_start_keeps_data(created: Machine) -> None:
    """start that fails leaves it stopped, with all it has."""
    (created.dir / "file").write_text("kept")
    created.ok("stop")
    error = created.fails("start", env={"NOMAD_IMAGE": "127.0.0.1:1/no-such:1"})
    assert "did not start: Failed to pull `127.0.0.1:1/no-such:1`" in error
    assert created.status() == "Stopped"
    assert (created.dir / "file").read_text() == "kept"
    created.ok("start")
    assert created.status() == "Running"


def test_delete_with_a_broken_image(created: Machine) -> None:
    """The clean-up does not need the image that cannot be had any more."""
    created.ok("stop")
    done = created.ok("delete", env={"NOMAD_IMAGE": "127.0.0.1:1/no-such:1"})
    assert "trying it with the image ubuntu:22.04" in done.err
    created.nothing_left()


def test_delete_never_placed(sim: SimCluster) -> None:
    """A machine that waits for a place."""
    machine = sim.machine()
    sim.hog(memory=16384)
    with machine.popen("create") as process:
        sim.wait_for(lambda c: any(e["Status"] == "blocked" for e in c.store.evals.values()))
        process.kill()
        process.wait()
    assert machine.status() == "Busy"
    machine.ok("delete")
    machine.nothing_left()


def test_delete_after_a_killed_create(sim: SimCluster) -> None:
    """SIGKILL leaves what it leaves; delete finds it without a state file."""
    machine = sim.machine()
    sim.rule("GET /v1/client/fs/logs", "delay", delay=86400)
    with machine.popen("create") as process:
        sim.wait_request("GET /v1/client/fs/logs")
        process.kill()
        process.wait()
    sim.clear_faults()
    assert machine.status() == "Running" and not machine.state.exists()
    machine.ok("delete")
    machine.nothing_left()


# -- whose it is


def test_foreign_job(cluster: Cluster) -> None:
    """A job of that name that is not ours is left alone by every command."""
    machine = cluster.machine()
    cluster.put_job(foreign_job(machine.name))
    alloc = cluster.wait_alloc(machine.name, "running")["ID"]
    wanted = (
        f"job '{machine.name}' exists in Nomad and is not a machine of this provider\n"
        f"hint: give the workspace another name, or look at it with: nomad job status {machine.name}\n"
    )
    for command in ("create", "start", "stop", "delete"):
        assert machine.fails(command) == f"{command} machine '{machine.name}': {wanted}"
    assert machine.fails("status") == wanted
    assert cluster.running(machine.name)["ID"] == alloc


def test_command_in_a_foreign_job(sim: SimCluster) -> None:
    """Nor is anything run in it, though it has a task of the right name."""
    machine = sim.machine()
    job = foreign_job(machine.name)
    job["TaskGroups"][0]["Tasks"][0]["Name"] = "machine"
    sim.put_job(job)
    sim.wait_alloc(machine.name, "running")
    done = machine.command("echo inside")
    assert (done.code, done.out) == (1, "")
    assert f"job '{machine.name}' exists in Nomad and is not a machine of this provider\n" in done.error


def test_foreign_cleanup_job(sim: SimCluster) -> None:
    machine = sim.machine()
    machine.ok("create")
    sim.put_job(foreign_job(machine.cleanup))
    sim.wait_alloc(machine.cleanup, "running")
    error = machine.fails("delete")
    assert f"job '{machine.cleanup}' exists in Nomad and is not ours\n" in error
    assert sim.running(machine.cleanup)
    assert machine.dir.is_dir()


def test_other_owner(sim: SimCluster) -> None:
    """create of somebody else's machine of the same name is refused; alive or dead."""
    machine = sim.machine()
    meta = {
        "devpod_provider": "devpod-provider-nomad",
        "devpod_machine": machine.name,
        "devpod_owner": "eve@elsewhere",
    }
    sim.put_job(foreign_job(machine.name, **meta))
    sim.wait_alloc(machine.name, "running")
    wanted = (
        f"create machine '{machine.name}': a machine of that name exists and belongs to eve@elsewhere\n"
        "hint: give the workspace another name, or use another NOMAD_NAMESPACE\n"
    )
    assert machine.fails("create") == wanted
    sim.call(lambda c: c.deregister("default", machine.name, purge=False))
    sim.wait_alloc(machine.name, "complete", "failed")
    assert machine.fails("create") == wanted


def test_adopts_one_that_starts(sim: SimCluster) -> None:
    """create beside a create that was cut short: waits for the same machine."""
    machine = sim.machine()
    sim.client.pull_delay = 0.5
    with machine.popen("create", env={"NOMAD_IMAGE": "slow:1"}) as process:
        sim.wait_alloc(machine.name, "pending")
        process.kill()
        process.wait()
    assert machine.ok("create").err.splitlines()[0] == f"machine '{machine.name}' runs already"
    assert machine.status() == "Running"
    assert len(sim.allocs(machine.name)) == 1
    assert machine.state.exists()


def test_create_of_a_dead_one(created: Machine) -> None:
    created.ok("stop")
    assert created.ok("create").err.startswith(f"machine '{created.name}' exists, starting it\nplaced on node ")
    assert created.status() == "Running"


def test_two_creates_at_once(cluster: Cluster) -> None:
    """One machine, and both are told that it is ready."""
    machine = cluster.machine()
    both = [machine.popen("create") for _ in range(2)]
    ends = [machine.provider.finish(p) for p in both]
    assert [e.code for e in ends] == [0, 0], [e.err for e in ends]
    assert len(cluster.allocs(machine.name)) == 1
    assert machine.status() == "Running"


def test_two_deletes_at_once(created: Machine) -> None:
    both = [created.popen("delete") for _ in range(2)]
    ends = [created.provider.finish(p) for p in both]
    assert 0 in [e.code for e in ends], [e.err for e in ends]
    created.ok("delete")
    created.nothing_left()


def test_start_while_it_stops(sim: SimCluster) -> None:
    """start waits until it has stopped, then starts it."""
    machine = sim.machine()
    machine.ok("create")
    sim.stand_in("curl", "sleep 0.5; echo '[]'; echo 200")
    with machine.popen("stop") as process:
        sim.wait_request(f"DELETE /v1/job/{machine.name}")
        done = machine.ok("start")
        assert "waiting until the machine has stopped\n" in done.err
        machine.provider.finish(process)
    assert machine.status() == "Running"
