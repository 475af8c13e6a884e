"""How a command finds its machine: the remembered allocation, and straight to the node where that can be reached."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from harness import Machine, SimCluster


class Relay:
    """A TCP relay to the simulator: another address of the same agent, and a count of who came this way."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.target = (parts.hostname or "", parts.port or 0)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:{}".format(self.listener.getsockname()[1])
        self.count = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near = self.listener.accept()[0]
            except OSError:
                return
            self.count += 1
            far = socket.create_connection(self.target)
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._copy, args=(source, sink), daemon=True).start()

    @staticmethod
    def _copy(source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


@pytest.fixture
def relay(sim: SimCluster) -> Iterator[Relay]:
    one = Relay(sim.url)
    yield one
    if one.listener.fileno() >= 0:
        one.close()


def remembered(machine: Machine) -> dict[str, Any]:
    return dict(json.loads(machine.state.read_text()))


def remember(machine: Machine, **change: Any) -> None:
    machine.state.write_text(json.dumps(remembered(machine) | change))


def execs(sim: SimCluster) -> list[str]:
    return sim.asked(r"/exec")


def test_remembered_allocation_is_one_request(sim: SimCluster) -> None:
    machine = sim.machine()
    machine.ok("create")
    sim.clear_requests()
    assert machine.command("echo hi").out == "hi\n"
    assert [(r.method, r.path.rsplit("/", 1)[1]) for r in sim.requests] == [("GET", "exec")]


def test_without_a_machine_folder_it_is_looked_up(sim: SimCluster) -> None:
    machine = sim.machine()
    machine.ok("create", env={"MACHINE_FOLDER": ""})
    sim.clear_requests()
    assert machine.run("command", "echo hi", env={"MACHINE_FOLDER": ""}).out == "hi\n"
    assert [r.path.rsplit("/", 1)[1] for r in sim.requests] == [machine.name, "allocations", "exec"]


@pytest.mark.parametrize("stale", ["gone", "stopped"])
def test_a_stale_allocation_costs_one_retry(sim: SimCluster, stale: str) -> None:
    machine = sim.machine()
    machine.ok("create")
    old = str(remembered(machine)["alloc_id"])
    machine.ok("stop")
    machine.ok("start")
    new = remembered(machine)["alloc_id"]
    assert new != old
    remember(machine, alloc_id="11111111-1111-1111-1111-111111111111" if stale == "gone" else old)
    sim.clear_requests()
    assert machine.command("echo hi").out == "hi\n"
    assert len(execs(sim)) == 2
    assert remembered(machine)["alloc_id"] == new
    sim.clear_requests()
    assert machine.command("echo hi").out == "hi\n"
    assert len(execs(sim)) == 1


def test_direct_to_the_node(sim: SimCluster, relay: Relay) -> None:
    sim.set_node(http_addr=relay.address)
    machine = sim.machine()
    machine.ok("create")
    assert remembered(machine)["node_addr"] == f"http://{relay.address}"
    assert relay.count == 0
    assert machine.command("echo hi; exit 3").code == 3
    assert relay.count == 1


def test_direct_can_be_switched_off(sim: SimCluster, relay: Relay) -> None:
    sim.set_node(http_addr=relay.address)
    machine = sim.machine()
    machine.ok("create")
    assert machine.run("command", "echo hi", env={"NOMAD_EXEC_DIRECT": "false"}).out == "hi\n"
    assert relay.count == 0
    machine.ok("stop")
    machine.ok("start", env={"NOMAD_EXEC_DIRECT": "false"})
    assert "node_addr" not in remembered(machine)


def test_a_node_out_of_reach_is_remembered(sim: SimCluster, relay: Relay) -> None:
    sim.set_node(http_addr=relay.address)
    relay.close()
    machine = sim.machine()
    machine.ok("create")
    assert machine.command("echo hi").out == "hi\n"
    assert "node_addr" not in remembered(machine)
    assert len(execs(sim)) == 1


def test_credentials_of_a_proxy_do_not_go_to_the_node(sim: SimCluster, relay: Relay) -> None:
    sim.set_node(http_addr=relay.address)
    machine = sim.machine(NOMAD_HTTP_AUTH="user:password")
    machine.ok("create")
    assert "node_addr" not in remembered(machine)
    remember(machine, node_addr=f"http://{relay.address}")
    assert machine.command("echo hi").out == "hi\n"
    assert relay.count == 0


def test_no_plain_http_where_the_servers_have_tls(make_sim: Callable[..., SimCluster], relay: Relay) -> None:
    other = make_sim()
    machine = other.machine()
    machine.ok("create")
    remember(machine, node_addr=f"https://{relay.address}")
    assert machine.command("echo hi").out == "hi\n"
    assert relay.count == 0
