"""status: one word, or an error; never NotFound for what cannot be told."""

from __future__ import annotations

from harness import SimCluster


def test_busy_while_it_pulls(sim: SimCluster) -> None:
    machine = sim.machine()
    sim.client.pull_delay = 1
    with machine.popen("create", env={"NOMAD_IMAGE": "slow:1"}) as process:
        sim.wait_alloc(machine.name, "pending")
        assert machine.status() == "Busy"
        assert machine.provider.finish(process).code == 0
    assert machine.status() == "Running"


def test_busy_while_it_stops(sim: SimCluster) -> None:
    machine = sim.machine()
    machine.ok("create")
    sim.stand_in("curl", "exec sleep 1")  # what the task `stopped` calls
    with machine.popen("stop") as process:
        sim.wait_request(f"DELETE /v1/job/{machine.name}")
        assert machine.status() == "Busy"
        machine.provider.finish(process)
    assert machine.status() == "Stopped"


def test_failed_is_stopped(sim: SimCluster) -> None:
    """A machine that died: its data are there, start brings it back."""
    machine = sim.machine()
    machine.ok("create")
    sim.oom_kill(sim.running(machine.name)["ID"])
    sim.wait_alloc(machine.name, "failed")
    assert machine.status() == "Stopped"
    machine.ok("start")
    assert machine.status() == "Running"


def test_garbage_collected(sim: SimCluster) -> None:
    """404 and a state file: Stopped; without the file nothing is known any more."""
    machine = sim.machine()
    machine.ok("create")
    machine.ok("stop")
    sim.gc()
    assert sim.job(machine.name) is None
    assert machine.status() == "Stopped"
    machine.state.unlink()
    assert machine.status() == "NotFound"


def test_api_error(sim: SimCluster) -> None:
    machine = sim.machine()
    for status, body in ((500, "No cluster leader"), (429, "slow down"), (502, "")):
        sim.clear_faults()
        sim.rule("^GET /v1/job/", status=status, body=body)
        wanted = f"HTTP {status}: {body}" if body else f"HTTP {status}"
        assert machine.fails("status") == f"GET /v1/job/{machine.name}: {wanted}\n"


def test_not_found_is_nomads_own(sim: SimCluster) -> None:
    """A 404 that is not Nomad's (a proxy's, another server's) says nothing about the machine."""
    machine = sim.machine()
    machine.ok("create")
    sim.rule("^GET /v1/job/", status=404, body="<html>nginx: no such page</html>")
    assert machine.fails("status").startswith(f"GET /v1/job/{machine.name}: HTTP 404: ")


def test_nobody_there(sim: SimCluster) -> None:
    machine = sim.machine(NOMAD_ADDR="http://127.0.0.1:1")
    error = machine.fails("status")
    assert error.startswith(f"GET /v1/job/{machine.name}: http://127.0.0.1:1: ")
    assert error.endswith("\nhint: no Nomad answers at http://127.0.0.1:1: set NOMAD_ADDR to your cluster's address\n")


def test_disconnected(sim: SimCluster) -> None:
    """Its node is out of reach: not NotFound, not Running."""
    machine = sim.machine()
    machine.ok("create")
    sim.set_node(status="disconnected")
    assert machine.status() in ("Busy", "Stopped")
    sim.set_node(status="ready")
    sim.wait_alloc(machine.name, "running")


def test_changes_nothing(sim: SimCluster) -> None:
    machine = sim.machine()
    machine.ok("create")
    sim.clear_requests()
    machine.status()
    assert {r.split(" ")[0] for r in sim.asked()} == {"GET"}
