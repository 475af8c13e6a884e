"""Fixtures of the end-to-end tests. `cluster` is both Nomads, `sim` the simulated one, for what needs faults."""

from __future__ import annotations

import os
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness import PROJECT, Cluster, Machine, NomadCluster, Provider, SimCluster


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "slow: it waits for long, and costs no time of the processor meanwhile")
    config.addinivalue_line("markers", "nomad: needs a real Nomad at NOMAD_ADDR, whose client is this computer")
    config.addinivalue_line("markers", "devpod: needs DevPod (DPN_DEVPOD, or devpod on PATH) and a real Nomad")


@pytest.fixture
def provider(tmp_path: Path) -> Provider:
    path = Path(os.environ.get("DPN_PROVIDER", PROJECT / "build" / "dev" / "devpod-provider-nomad"))
    if not path.is_file():
        pytest.fail(f"{path} is not there: cmake --preset dev && cmake --build --preset dev")
    return Provider(path, tmp_path)


@pytest.fixture
def make_sim(provider: Provider, tmp_path: Path) -> Iterator[Callable[..., SimCluster]]:
    """A simulator with options of sim.Sim (nodes, acl, tls, unix, …)."""
    made: list[SimCluster] = []

    def make(**options: Any) -> SimCluster:
        made.append(SimCluster(provider, tmp_path, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def sim(make_sim: Callable[..., SimCluster]) -> SimCluster:
    return make_sim()


def answering() -> str:
    """NOMAD_ADDR, where a Nomad answers there."""
    url = os.environ.get("NOMAD_ADDR", "").rstrip("/")
    if not url:
        pytest.skip("NOMAD_ADDR is not set: not run on a real Nomad")
    try:
        with urllib.request.urlopen(f"{url}/v1/status/leader", timeout=5):
            return url
    except (OSError, urllib.error.URLError) as error:
        pytest.skip(f"no Nomad answers at {url}: {error}")


@pytest.fixture
def nomad(provider: Provider, tmp_path: Path) -> Iterator[NomadCluster]:
    cluster = NomadCluster(provider, tmp_path, answering())
    yield cluster
    cluster.close()


@pytest.fixture(params=["sim", pytest.param("nomad", marks=pytest.mark.nomad)])
def cluster(request: pytest.FixtureRequest) -> Cluster:
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Cluster)
    return found


@pytest.fixture
def machine(cluster: Cluster) -> Machine:
    """A name that nobody has taken yet."""
    return cluster.machine()


@pytest.fixture
def created(machine: Machine) -> Machine:
    """A machine that runs."""
    machine.ok("create")
    return machine


@pytest.fixture
def small(sim: SimCluster) -> Machine:
    """A machine on the simulator, for faults."""
    machine = sim.machine()
    machine.ok("create")
    return machine
