"""Servers that answer wrong, late or not at all: the right message and exit code, and nothing is left behind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from harness import Machine, SimCluster

GARBAGE = "\x00\x01 this is no HTTP \xff"


@dataclass(frozen=True)
class Endpoint:
    """A request of a command, by the pattern that finds it, and what comes before an error of it."""

    name: str
    match: str


STOP = Endpoint("stop", "^DELETE /v1/job/[^?]*$")
ENDPOINTS = {
    "create": [
        Endpoint("job", "^GET /v1/job/[^/]*$"),
        Endpoint("register", "^PUT /v1/jobs"),
    ],
    "start": [
        Endpoint("job", "^GET /v1/job/[^/]*$"),
        Endpoint("allocations", "^GET /v1/job/[^/]*/allocations"),
        Endpoint("node", "^GET /v1/node/"),
        Endpoint("register", "^PUT /v1/jobs"),
    ],
    "stop": [
        Endpoint("job", "^GET /v1/job/[^/]*$"),
        Endpoint("allocations", "^GET /v1/job/[^/]*/allocations"),
        STOP,
    ],
    "delete": [
        Endpoint("job", "^GET /v1/job/[^/]*$"),
        Endpoint("allocations", "^GET /v1/job/[^/]*/allocations"),
        STOP,
        Endpoint("node", "^GET /v1/node/"),
        Endpoint("cleanup", "^GET /v1/job/devpod-cleanup"),
        Endpoint("register", "^PUT /v1/jobs"),
    ],
    "status": [Endpoint("job", "^GET /v1/job/[^/]*$"), Endpoint("allocations", "^GET /v1/job/[^/]*/allocations")],
}

FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "500": ({"status": 500, "body": "rpc error: no leader"}, "HTTP 500: rpc error: no leader"),
    "429": ({"status": 429, "body": "Too many requests"}, "HTTP 429: Too many requests"),
    "403": ({"status": 403, "body": "Permission denied"}, "HTTP 403: Permission denied"),
    "html": ({"status": 200, "body": "<html>login</html>"}, "the reply: "),
    "garbage": ({"action": "garbage", "body": GARBAGE}, ""),
    "cut": ({"action": "cut"}, ""),
    "cut-body": ({"action": "cut_body", "after": 10}, ""),
}


def times(endpoint: Endpoint, command: str, fault: str) -> int | None:
    """How often it goes wrong: for ever, but for what a good command asks again."""
    if endpoint.name == "allocations" and command in ("stop", "delete"):
        return 2 if fault == "cut" else 1  # curl itself tries again where a kept connection breaks
    if endpoint.name == "register" and command == "create" and fault == "cut-body":
        return 1  # the job is there; to take it back needs the same request
    return None


def clean_after(machine: Machine, command: str) -> None:
    """After the trouble: a create has left nothing, everything else can be done again."""
    sim = machine.cluster
    assert isinstance(sim, SimCluster)
    sim.clear_faults()
    if command == "create":
        machine.nothing_left()
    machine.ok("delete")
    machine.nothing_left()


@pytest.mark.parametrize("fault", FAULTS)
def test_every_endpoint(sim: SimCluster, fault: str) -> None:
    """One request after the other of each command's own goes wrong."""
    fields, text = FAULTS[fault]
    for command, endpoint in ((c, e) for c, endpoints in ENDPOINTS.items() for e in endpoints):
        machine = sim.machine()
        if command != "create":
            machine.ok("create")
        if command == "start":
            machine.ok("stop")
        sim.rule(endpoint.match, times=times(endpoint, command, fault), **fields)
        done = machine.run(command)
        where = f"{command}/{endpoint.name}"
        assert (done.code, done.out) == (1, ""), where
        assert text in done.error, f"{where}: {done.err}"
        assert "/v1/" in done.error, f"{where} names no request: {done.err}"
        assert not set(done.stderr) & (set(range(32)) - {10}), where
        clean_after(machine, command)


def test_refused_everywhere(sim: SimCluster) -> None:
    """A token that may nothing: each command says where it came from and what it needs."""
    machine = sim.machine(NOMAD_TOKEN="5ecret")
    sim.rule("", status=403, body="Permission denied")
    prefix = {"create": "create machine '{}': ", "start": "start machine '{}': ", "stop": "stop machine '{}': "}
    prefix["delete"], prefix["status"] = "delete machine '{}': ", ""
    for command, head in prefix.items():
        assert machine.fails(command) == (
            f"{head.format(machine.name)}GET /v1/job/{machine.name}: HTTP 403: Permission denied\n"
            "hint: the token came from NOMAD_TOKEN; it needs read-job\n"
        )
    assert machine.fails("command", "true") == (
        f"GET /v1/job/{machine.name}: HTTP 403: Permission denied\n"
        "hint: the token came from NOMAD_TOKEN; it needs read-job\n"
    )


@pytest.mark.parametrize(
    "match",
    ["evaluation/", "job/[^/]*/allocations", "allocation/", "client/fs/logs/"],
    ids=["evaluation", "allocations", "allocation", "logs"],
)
def test_trouble_during_create_passes(sim: SimCluster, match: str) -> None:
    """A server that restarts is no failure of the machine: it is asked again."""
    machine = sim.machine()
    sim.rule(f"^GET /v1/{match}", status=500, body="No cluster leader", times=1)
    sim.rule(f"^GET /v1/{match}", "cut", times=1)
    machine.ok("create")
    assert machine.status() == "Running"
    sim.clear_faults()
    machine.ok("delete")
    machine.nothing_left()


def test_registered_without_an_answer(sim: SimCluster) -> None:
    """The job may be there although the answer never came: it is taken back, or waited for."""
    for action in ("cut", "cut_body", "garbage"):
        machine = sim.machine()
        sim.rule("^PUT /v1/jobs", action, after=3, body=GARBAGE, times=1)
        done = machine.run("create")
        if done.code == 0:
            assert machine.status() == "Running"
            machine.ok("delete")
        else:
            assert done.error.startswith(f"create machine '{machine.name}': PUT /v1/jobs: ")
        machine.nothing_left()


def test_refused_while_it_waits(sim: SimCluster) -> None:
    """A token that is revoked on the way: an error at once, and what could not be taken back is told."""
    machine = sim.machine()
    sim.rule("^(GET /v1/(evaluation|allocation|job)|DELETE)", status=403, body="Permission denied", skip=1)
    done = machine.run("create")
    assert done.code == 1
    assert done.error.startswith(f"create machine '{machine.name}': GET /v1/evaluation/")
    assert "\nwarning: could not take back all of it: " in done.err
    assert f"; try: nomad job stop -purge {machine.name}\n" in done.err
    sim.clear_faults()
    machine.ok("delete")
    machine.nothing_left()


def test_slow_server(sim: SimCluster) -> None:
    """Each answer late: nothing but slower."""
    machine = sim.machine()
    sim.rule("^(GET|PUT|DELETE) /v1/", "delay", delay=0.1)
    for command in ("create", "stop", "start", "delete"):
        machine.ok(command)
    machine.nothing_left()


def test_purge_refused(sim: SimCluster) -> None:
    """delete whose last step fails says so, and can be done again."""
    machine = sim.machine()
    machine.ok("create")
    sim.rule(rf"^DELETE /v1/job/{machine.name}\?purge", status=500, body="no leader", times=1)
    assert machine.fails("delete") == (
        f"delete machine '{machine.name}': DELETE /v1/job/{machine.name}: HTTP 500: no leader\n"
    )
    machine.ok("delete")
    machine.nothing_left()


def test_docker_refuses(sim: SimCluster) -> None:
    """A devcontainer that cannot be stopped: stop says so and on which node; delete fails and can be repeated."""
    machine = sim.machine()
    machine.ok("create")
    sim.stand_in("curl", "echo 'curl: (7) refused' >&2; exit 7")
    error = machine.fails("stop")
    assert error.startswith(
        f"stop machine '{machine.name}': the machine is stopped, its devcontainers may still run: task 'stopped' on "
        "node node-0 ended with exit code 1; its last lines:\n  | curl: (7) refused\n"
        "  | machine: error: docker on this client does not tell its containers\n"
    )
    assert error.endswith("\nhint: look at the containers on node node-0: docker ps\n")
    error = machine.fails("delete")
    assert error.startswith(
        f"delete machine '{machine.name}': clean up {machine.dir} on node node-0: task 'cleanup' on "
    )
    assert error.endswith("\nhint: the job stays in Nomad, dead, so that delete can be tried again\n")
    assert sim.job(machine.cleanup) is None
    sim.call(lambda c: (c.clients.bin / "curl").unlink())
    machine.ok("delete")
    machine.nothing_left()


def test_huge_answer(sim: SimCluster) -> None:
    """Bounded: an answer without end is refused."""
    machine = sim.machine()
    sim.rule("^GET /v1/job/", status=200, body="[" + " " * (65 << 20) + "]")
    error = machine.fails("status")
    assert error.startswith(f"GET /v1/job/{machine.name}: the reply is larger than ")


def test_long_error_text(sim: SimCluster) -> None:
    """A page of HTML as an error: cut, on one line, without control characters."""
    machine = sim.machine()
    sim.rule("^GET /v1/job/", status=503, body="<html>\n\x1b[31m" + "x" * 5000)
    error = machine.fails("status")
    assert error.startswith(f"GET /v1/job/{machine.name}: HTTP 503: <html>")
    assert error.count("\n") == 1 and "\x1b" not in error and len(error) < 800
