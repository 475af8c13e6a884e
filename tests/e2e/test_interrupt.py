"""SIGINT and SIGTERM at many moments: the right exit code, and nothing half done."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable

import pytest

from harness import LIMIT, Done, Machine, SimCluster

SIGNALS = [pytest.param(signal.SIGINT, id="int"), pytest.param(signal.SIGTERM, id="term")]


def interrupt(machine: Machine, process: subprocess.Popen[bytes], number: int) -> Done:
    process.send_signal(number)
    done = machine.provider.finish(process)
    assert done.code == 128 + number, done.err
    assert f"interrupted ({signal.Signals(number).name})\n" in done.error
    return done


MOMENTS = (
    "^GET /v1/job/[^/]*$",
    "^PUT /v1/jobs",
    "^GET /v1/evaluation/",
    "^GET /v1/job/[^/]*/allocations",
    "^GET /v1/allocation/",
    "^GET /v1/client/fs/logs/",
)


@pytest.mark.parametrize("number", SIGNALS)
def test_create_waiting_for_an_answer(sim: SimCluster, number: int) -> None:
    """The answer to one request does not come; the machine may be there or not."""
    for match in MOMENTS:
        sim.clear_faults()
        sim.clear_requests()
        machine = sim.machine()
        sim.rule(match, "delay", delay=86400, times=1)
        with machine.popen("create") as process:
            sim.wait_request(match)
            interrupt(machine, process, number)
        machine.nothing_left()


def test_create_after_each_request(sim: SimCluster) -> None:
    """At the moment when the n-th request arrives, whichever it is."""
    machine = sim.machine()
    machine.ok("create")
    count = len(sim.asked())
    machine.ok("delete")
    for n in range(count):
        sim.clear_requests()
        machine = sim.machine()
        with machine.popen("create") as process:
            sim.wait_for_requests(n + 1)
            process.send_signal(signal.SIGINT)
            done = machine.provider.finish(process)
        assert done.code in (0, 130), (n, done)
        if done.code == 0:  # it was ready already
            assert machine.status() == "Running"
            machine.ok("delete")
        machine.nothing_left()


def test_create_while_it_pulls(sim: SimCluster) -> None:
    machine = sim.machine()
    sim.client.pull_delay = 3  # a pull cannot be ended: nothing_left() waits for it
    with machine.popen("create", env={"NOMAD_IMAGE": "slow:1"}) as process:
        sim.wait_for(lambda c: any("Downloading" in e["DisplayMessage"] for e in events(c, machine.name)))
        sim.wait_request("GET /v1/allocation/.*index=")
        done = interrupt(machine, process, signal.SIGINT)
    assert f"taking back machine '{machine.name}'\n" in done.err
    machine.nothing_left()


def events(cluster: object, name: str) -> list[dict[str, str]]:
    allocs = cluster.store.allocs_of("default", name)  # type: ignore[attr-defined]
    return [e for a in allocs for t in (a.task_states or {}).values() for e in t["Events"]]


def test_create_while_it_waits_for_room(sim: SimCluster) -> None:
    machine = sim.machine()
    sim.hog(memory=16384)
    with machine.popen("create") as process:
        assert process.stderr is not None
        lines = [process.stderr.readline() for _ in range(2)]
        assert lines[1].endswith(b"waiting up to 60 s\n")
        interrupt(machine, process, signal.SIGTERM)
    machine.nothing_left()


def test_create_while_it_installs(machine: Machine) -> None:
    """On both: from the moment it is placed."""
    with machine.popen("create") as process:
        assert process.stderr is not None
        while not process.stderr.readline().startswith(b"placed on node "):
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        done = machine.provider.finish(process)
    assert done.code in (0, 130), done
    if done.code == 0:
        machine.ok("delete")
    machine.nothing_left()


def test_create_twice_interrupted(sim: SimCluster) -> None:
    """A second signal ends the taking back too; delete does the rest."""
    machine = sim.machine()
    sim.rule("^GET /v1/client/fs/logs/", "delay", delay=86400)
    sim.rule("^DELETE /v1/job/", "delay", delay=86400, times=1)
    with machine.popen("create") as process:
        sim.wait_request("^GET /v1/client/fs/logs/")
        process.send_signal(signal.SIGINT)
        sim.wait_request("^DELETE /v1/job/")
        done = interrupt(machine, process, signal.SIGINT)
    assert f"; try: nomad job stop -purge {machine.name}\n" in done.err
    sim.clear_faults()
    machine.ok("delete")
    machine.nothing_left()


def test_create_adopted_is_not_taken_back(sim: SimCluster) -> None:
    """What this call did not make stays."""
    machine = sim.machine()
    machine.ok("create")
    sim.rule("^GET /v1/client/fs/logs/", "delay", delay=86400)
    sim.clear_requests()
    with machine.popen("create") as process:
        sim.wait_request("^GET /v1/client/fs/logs/")
        interrupt(machine, process, signal.SIGINT)
    assert machine.status() == "Running"


def test_start(sim: SimCluster) -> None:
    """It is stopped again, with its data."""
    machine = sim.machine()
    machine.ok("create")
    (machine.dir / "file").write_text("kept")
    machine.ok("stop")
    sim.clear_requests()
    sim.rule("^GET /v1/client/fs/logs/", "delay", delay=86400, times=1)
    with machine.popen("start") as process:
        sim.wait_request("^GET /v1/client/fs/logs/")
        interrupt(machine, process, signal.SIGINT)
    assert machine.status() == "Stopped"
    assert (machine.dir / "file").read_text() == "kept"
    machine.ok("start")


def test_stop(sim: SimCluster) -> None:
    for match in (r"^DELETE /v1/job/[^?]*$", "^GET /v1/job/[^/]*/allocations"):
        machine = sim.machine()
        machine.ok("create")
        sim.clear_requests()
        sim.rule(match, "delay", delay=86400, times=1)
        with machine.popen("stop") as process:
            sim.wait_request(match)
            interrupt(machine, process, signal.SIGTERM)
        machine.ok("stop")
        assert machine.status() == "Stopped"


def test_delete(sim: SimCluster) -> None:
    """It can be done again; the clean-up job does not stay."""
    purge = r"^DELETE /v1/job/devpod-cleanup.*\?purge"
    for match in (r"^DELETE /v1/job/[^?]*$", "^PUT /v1/jobs", "^GET /v1/allocation/", purge):
        machine = sim.machine()
        machine.ok("create")
        sim.clear_requests()
        sim.rule(match, "delay", delay=86400, times=1)
        with machine.popen("delete") as process:
            sim.wait_request(match)
            interrupt(machine, process, signal.SIGINT)
        machine.ok("delete")
        machine.nothing_left()


@pytest.mark.parametrize("number", SIGNALS)
def test_command(created: Machine, number: int) -> None:
    """It ends at once, without a word of what the command would have said."""
    with created.popen("command", "echo one; exec sleep 86400") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"one\n"
        interrupt(created, process, number)
    assert created.command("echo two").out == "two\n"


def test_status_and_init(sim: SimCluster) -> None:
    machine = sim.machine()
    sim.rule("^GET /v1/", "delay", delay=86400)
    for command in ("status", "init"):
        sim.clear_requests()
        with machine.popen(command) as process:
            sim.wait_request("^GET /v1/")
            interrupt(machine, process, signal.SIGINT)


def test_ignored_stays_ignored(sim: SimCluster) -> None:
    """Below nohup, SIGHUP does not end a create."""
    machine = sim.machine()
    sim.client.pull_delay = 0.3
    ignore: Callable[[], object] = lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)  # noqa: E731
    with machine.popen("create", env={"NOMAD_IMAGE": "slow:1"}, preexec_fn=ignore) as process:
        sim.wait_request("^GET /v1/allocation/")
        process.send_signal(signal.SIGHUP)
        assert machine.provider.finish(process, timeout=LIMIT).code == 0
    assert machine.status() == "Running"
