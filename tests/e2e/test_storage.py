"""Machines whose data are on a volume: CSI and dynamic host volumes, on both Nomads."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator

import pytest

from harness import Cluster, Json, Machine, SimCluster, delete, sim_of, until
from sim.vault import Vault

MakeSim = Callable[..., SimCluster]
CSI = {"NOMAD_STORAGE_MODE": "persistent", "NOMAD_CSI_PARAMETERS_JSON": "{}"}
HOST = {"NOMAD_STORAGE_MODE": "persistent", "NOMAD_STORAGE_TYPE": "host"}
WAYS_OUT = "hint: give the machine up, and make a new one: devpod delete, then devpod up\n"


@pytest.fixture(params=[pytest.param(CSI, id="csi"), pytest.param(HOST, id="host")])
def machine(request: pytest.FixtureRequest, cluster: Cluster) -> Machine:
    return cluster.machine(**request.param)


@pytest.fixture(params=[pytest.param(CSI, id="csi"), pytest.param(HOST, id="host")])
def small(request: pytest.FixtureRequest, sim: SimCluster) -> Machine:
    """Created, on the simulator, for faults."""
    machine = sim.machine(**request.param)
    machine.ok("create")
    return machine


def volume_of(machine: Machine) -> Json:
    volume = machine.cluster.volume(machine.volume)
    assert volume is not None
    return volume


def write(machine: Machine, text: str) -> None:
    assert machine.command(f"printf %s {text} >$DEVPOD_MACHINE_DIR/file").code == 0


def read(machine: Machine) -> str:
    return machine.command("cat $DEVPOD_MACHINE_DIR/file").out


def test_whole_life(machine: Machine) -> None:
    """The volume is made, keeps what is written, and goes."""
    assert machine.status() == "NotFound"
    done = machine.ok("create")
    assert done.err.splitlines()[:2] == [f"creating machine '{machine.name}'", f"making the volume {machine.volume}"]
    volume = volume_of(machine)
    assert volume["PluginID"] == ("ceph-csi" if "ExternalID" in volume else "mkdir")
    assert machine.cluster.backing(volume)
    write(machine, "kept")
    machine.ok("stop")
    assert machine.status() == "Stopped"
    machine.ok("start")
    assert machine.status() == "Running"
    assert read(machine) == "kept"
    assert machine.ok("delete").err == f"deleting machine '{machine.name}'\n"
    assert machine.status() == "NotFound"
    machine.nothing_left()
    assert not machine.cluster.backing(volume)


def test_state_file(machine: Machine) -> None:
    machine.ok("create")
    alloc = machine.cluster.running(machine.name)
    csi = machine.env.get("NOMAD_STORAGE_TYPE") != "host"
    node = {} if csi else {"node_id": alloc["NodeID"], "node_name": alloc["NodeName"]}
    assert json.loads(machine.state.read_text()) == {
        "version": 1,
        "storage": "csi" if csi else "host",
        "docker": "dind",
        "ready": True,
        "dir": str(machine.dir),
        "alloc_id": alloc["ID"],
        **node,
    }


def end_by_itself(machine: Machine) -> None:
    """As DevPod's agent does it after inactivity."""
    if isinstance(machine.cluster, SimCluster):  # a task there is a process of this computer: no kill 1 in it
        machine.cluster.signal_task(machine.cluster.running(machine.name)["ID"])
    else:
        machine.command("/bin/kill 1")
    machine.cluster.wait_quiet(machine.name)


def test_stopped_by_others(machine: Machine) -> None:
    """`nomad job stop`, and an allocation that ended by itself (kill 1): Stopped, and start goes on."""
    cluster = machine.cluster
    machine.ok("create")
    write(machine, "kept")
    delete(f"{cluster.env['NOMAD_ADDR']}/v1/job/{machine.name}")
    cluster.wait_quiet(machine.name)
    assert machine.status() == "Stopped"
    machine.ok("start")
    assert read(machine) == "kept"
    end_by_itself(machine)
    assert machine.status() == "Stopped"
    assert "the machine had stopped by itself\n" in machine.ok("start").err
    assert read(machine) == "kept"
    machine.ok("delete")
    machine.nothing_left()


@pytest.mark.parametrize("lose_file", [False, True], ids=["file", "no-file"])
def test_collected(machine: Machine, lose_file: bool) -> None:
    """Nomad has forgotten the job, and the state file may be lost too: the volume tells."""
    machine.ok("create")
    write(machine, "kept")
    machine.ok("stop")
    machine.cluster.gc()
    until(lambda: machine.cluster.job(machine.name) is None)
    if lose_file:
        machine.state.unlink()
    assert machine.status() == "Stopped"
    machine.ok("start")
    assert read(machine) == "kept"
    machine.ok("stop")
    machine.cluster.gc()
    until(lambda: machine.cluster.job(machine.name) is None)
    assert machine.ok("create").err.startswith(f"machine '{machine.name}' exists, starting it\n")
    assert read(machine) == "kept"
    machine.ok("stop")
    machine.cluster.gc()
    until(lambda: machine.cluster.job(machine.name) is None)
    if lose_file:
        machine.state.unlink()
    machine.ok("delete")
    machine.nothing_left()


def test_volume_deleted_behind_our_back(machine: Machine) -> None:
    """Never started empty: told, and delete cleans up what is left."""
    machine.ok("create")
    machine.ok("stop")
    machine.cluster.delete_volume(machine.volume)
    assert machine.status() == "Stopped"
    for command in ("start", "create"):
        assert machine.fails(command) == (
            f"{command} machine '{machine.name}': the machine's volume {machine.volume} is gone: somebody deleted it, "
            f"and the data with it\n{WAYS_OUT}"
        )
    machine.ok("delete")
    machine.nothing_left()


def test_failed_create_leaves_no_volume(machine: Machine) -> None:
    error = machine.fails("create", env={"NOMAD_IMAGE": "no-such-image.invalid/x:1"})
    assert "no-such-image.invalid/x:1" in error
    machine.nothing_left()


def test_failed_start_keeps_the_volume(machine: Machine) -> None:
    machine.ok("create")
    write(machine, "kept")
    machine.ok("stop")
    machine.fails("start", env={"NOMAD_IMAGE": "no-such-image.invalid/x:1"})
    assert machine.status() == "Stopped"
    machine.ok("start")
    assert read(machine) == "kept"


def test_two_creates_at_once(machine: Machine) -> None:
    """One machine, one volume; both succeed."""
    with machine.popen("create") as one, machine.popen("create") as two:
        for process in (one, two):
            done = machine.provider.finish(process)
            assert done.code == 0, done.err
    assert len([a for a in machine.cluster.allocs(machine.name) if a["ClientStatus"] == "running"]) == 1
    machine.ok("delete")
    machine.nothing_left()


OTHER_MODES = {
    "ephemeral": ({"NOMAD_STORAGE_MODE": "ephemeral"}, "ephemeral"),
    "host": ({"NOMAD_STORAGE_TYPE": "host"}, "persistent (host volume)"),
}


@pytest.mark.parametrize("mode", OTHER_MODES)
def test_modes_stay(sim: SimCluster, mode: str) -> None:
    """Another storage would be an empty machine: refused, whatever Nomad and the files still know."""
    machine = sim.machine(**CSI)
    machine.ok("create")
    machine.ok("stop")
    env, word = OTHER_MODES[mode]
    wanted = (
        f"start machine '{machine.name}': the machine was made with persistent (CSI) storage, the options say {word} now\n"
        "hint: set NOMAD_STORAGE_MODE and NOMAD_STORAGE_TYPE back, or give the data up: devpod delete, then devpod up\n"
    )
    assert machine.fails("start", env=env) == wanted
    sim.gc()
    assert machine.status() == "Stopped"
    assert machine.fails("start", env=env) == wanted
    machine.ok("delete", env=env)
    machine.nothing_left()
    assert sim.volume_dirs() == []


def test_docker_mode_stays(sim: SimCluster) -> None:
    machine = sim.machine()
    machine.ok("create")
    machine.ok("stop")
    error = machine.fails("start", env={"NOMAD_DOCKER_MODE": "dind"})
    assert "the machine was made with NOMAD_DOCKER_MODE=host, the options say dind now\nhint: " in error
    machine.ok("delete")


def test_no_plugin(sim: SimCluster) -> None:
    sim.remove_plugin()
    machine = sim.machine(**CSI)
    error = machine.fails("create")
    assert "no CSI plugin named: ceph-csi could be found" in error
    assert "hint: NOMAD_CSI_PLUGIN_ID is 'ceph-csi': nomad plugin status\n" in error
    machine.nothing_left()
    assert "hint: NOMAD_CSI_PLUGIN_ID is 'ceph-csi'" in machine.fails("init")


def test_no_host_volume_plugin(cluster: Cluster) -> None:
    machine = cluster.machine(**HOST, NOMAD_HOST_VOLUME_PLUGIN="nonesuch")
    error = machine.fails("create")
    assert "hint: a node in reach needs the plugin 'nonesuch' (NOMAD_HOST_VOLUME_PLUGIN; Nomad 1.10" in error
    machine.nothing_left()
    assert "plugins.host_volume.nonesuch.version" in machine.fails("init")


def test_init(machine: Machine) -> None:
    lines = machine.ok("init").err.splitlines()
    assert "ok: a machine of this size can be placed" in lines
    assert ("ok: the CSI plugin 'ceph-csi' is healthy" in lines) == (machine.env.get("NOMAD_STORAGE_TYPE") != "host")


def test_failed_delete_can_be_tried_again(small: Machine) -> None:
    """The dead job stays, and says where the volume is."""
    sim = sim_of(small)
    volume = volume_of(small)
    rule = sim.rule("^DELETE /v1/volume/", status=500, body="the storage is not there now")
    error = small.fails("delete")
    assert f"delete the volume {small.volume}: " in error
    assert "the storage is not there now" in error
    assert "hint: the job stays in Nomad, dead, so that delete can be tried again\n" in error
    assert rule
    assert small.status() == "Stopped"
    assert sim.backing(volume)
    sim.clear_faults()
    small.ok("delete")
    small.nothing_left()
    assert not sim.backing(volume)


def test_another_node(make_sim: MakeSim) -> None:
    """A CSI volume moves with its machine; a host volume is where it is, and start says so."""
    sim = make_sim(nodes=[{"name": n} for n in "ab"])
    for env in (CSI, HOST):
        machine = sim.machine(**env)
        machine.ok("create")
        write(machine, "kept")
        first = sim.running(machine.name)["NodeName"]
        machine.ok("stop")
        sim.set_node(first, status="down")
        if env is CSI:
            machine.ok("start")
            assert sim.running(machine.name)["NodeName"] != first
        else:
            assert f"the machine's data are on node {first} ({machine.dir}), which is down\n" in machine.fails("start")
            sim.set_node(first, status="ready")
            machine.ok("start")
        assert read(machine) == "kept"
        sim.set_node(first, status="ready")
        machine.ok("delete")
        machine.nothing_left()
    assert sim.volume_dirs() == []


def test_delete_while_claimed(sim: SimCluster) -> None:
    """A claim outlives its allocation: waited for, and the data are not deleted before."""
    machine = sim.machine(**CSI)
    machine.ok("create")
    sim.client.claim_delay = 2
    machine.ok("delete")
    machine.nothing_left()
    assert sim.volume_dirs() == []


def test_start_while_claimed(sim: SimCluster) -> None:
    machine = sim.machine(**CSI)
    machine.ok("create")
    sim.client.claim_delay = 2
    machine.ok("stop")
    machine.ok("start")
    assert machine.status() == "Running"


def test_expand(machine: Machine) -> None:
    """NOMAD_DISKMB grows: the volume does, at the next start, and never shrinks. (`mkdir` has no sizes, but is asked.)"""

    def size() -> int:
        volume = volume_of(machine)
        return int(volume.get("RequestedCapacityMin") or volume["RequestedCapacityMinBytes"]) >> 20

    machine.ok("create")
    write(machine, "kept")
    assert size() == 300
    machine.ok("stop")
    done = machine.ok("start", env={"NOMAD_DISKMB": "400"})
    assert f"expanding the volume {machine.volume} from 300 to 400 MB\n" in done.err
    assert size() == 400
    assert volume_of(machine).get("Capacity", 400 << 20) == 400 << 20
    assert read(machine) == "kept"
    machine.ok("stop")
    assert "expanding" not in machine.ok("start", env={"NOMAD_DISKMB": "300"}).err
    assert size() == 400


def test_cannot_expand(sim: SimCluster) -> None:
    """Told, with the plugin's reason; the machine starts all the same."""
    machine = sim.machine(**CSI)
    machine.ok("create")
    machine.ok("stop")
    sim.rule("^PUT /v1/volume/csi/", status=500, body="expand is not for this plugin")
    done = machine.ok("start", env={"NOMAD_DISKMB": "400"})
    assert f"the volume {machine.volume} stays as it is: " in done.err
    assert "expand is not for this plugin" in done.err
    assert machine.status() == "Running"


# -- the plugin's secrets

KEYS = {"userID": "ceph-user", "userKey": "AQB+secret=="}


@pytest.fixture
def vault() -> Iterator[Vault]:
    with Vault() as one:
        one.mount("kv1", version=1)
        for path in ("secret/ceph", "kv1/ceph"):
            one.put(path, {**KEYS, "other": "not-for-the-plugin"})
        one.add_token("reader", "secret/data/ceph", "kv1/ceph")
        yield one


def with_secrets(sim: SimCluster, vault: Vault, **more: str) -> Machine:
    env = {"VAULT_ADDR": vault.url, "VAULT_TOKEN": "reader", "NOMAD_CSI_VAULT_PATH": "secret/data/ceph"}
    return sim.machine(**{**CSI, **env, **more})


PATHS = {"v2": "secret/data/ceph", "v2-short": "secret/ceph", "v1": "kv1/ceph"}


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS.keys())
@pytest.mark.parametrize("variable", ["VAULT_TOKEN", "DEVPOD_VAULT_TOKEN"])
def test_secrets(sim: SimCluster, vault: Vault, path: str, variable: str) -> None:
    """They reach the plugin at create and delete, and nothing else: no job, no message, no file."""
    sim.set_plugin(secrets=KEYS)
    token = {"VAULT_TOKEN": "", variable: "reader"}
    machine = with_secrets(sim, vault, NOMAD_CSI_VAULT_PATH=path, DEVPOD_DEBUG="true", **token)
    assert "ok: the plugin's secrets can be read from Vault\n" in machine.ok("init").err
    said = [machine.ok(command) for command in ("create", "stop", "start")]
    seen = json.dumps(sim.job(machine.name)) + machine.state.read_text()
    said.append(machine.ok("delete"))
    machine.nothing_left()
    assert sim.volume_dirs() == []
    for word in (*KEYS.values(), "not-for-the-plugin", "reader"):
        assert word not in seen + "".join(done.out + done.err for done in said)


REFUSALS = {
    "no token": ({"VAULT_TOKEN": ""}, "VAULT_TOKEN is not set"),
    "wrong token": ({"VAULT_TOKEN": "other"}, "permission denied"),
    "no such field": ({"NOMAD_CSI_VAULT_FIELDS": "userID,nonesuch"}, "has no field 'nonesuch'"),
    "no such secret": ({"NOMAD_CSI_VAULT_PATH": "kv1/nonesuch", "VAULT_TOKEN": "root"}, "kv1/nonesuch"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_secrets_that_cannot_be_read(sim: SimCluster, vault: Vault, case: str) -> None:
    """Told before anything is made, init says the same."""
    env, message = REFUSALS[case]
    machine = with_secrets(sim, vault, **env)
    for command in ("init", "create"):
        error = machine.fails(command)
        assert message in error and "\nhint: " in error, error
    machine.nothing_left()
    assert sim.volume_dirs() == []


def test_delete_without_vault(sim: SimCluster, vault: Vault) -> None:
    """Nomad has the secrets of the volume's creation: a lost token does not keep a machine from being deleted."""
    sim.set_plugin(secrets=KEYS)
    machine = with_secrets(sim, vault)
    machine.ok("create")
    done = machine.ok("delete", env={"VAULT_TOKEN": ""})
    assert "the secrets that the volume was made with are used\n" in done.err
    machine.nothing_left()
    assert sim.volume_dirs() == []


STEPS = ("create", "delete")


@pytest.mark.parametrize("command", STEPS)
@pytest.mark.parametrize("env", [pytest.param(CSI, id="csi"), pytest.param(HOST, id="host"), pytest.param({}, id="node")])
def test_killed_at_each_step(sim: SimCluster, env: dict[str, str], command: str) -> None:
    """kill -9 when the n-th request arrives, then the same command again: consistent, nothing leaked."""
    machine = sim.machine(**env)
    if command == "delete":
        machine.ok("create")
        sim.clear_requests()
    machine.ok(command)
    count = len(sim.asked())
    machine.ok("delete")
    for n in range(count):
        machine = sim.machine(**env)
        if command == "delete":
            machine.ok("create")
        sim.clear_requests()
        with machine.popen(command) as process:
            sim.wait_for_requests(n + 1)
            process.send_signal(signal.SIGKILL)
            process.communicate()
        machine.ok(command)
        assert machine.status() == ("Running" if command == "create" else "NotFound")
        machine.ok("delete")
        machine.nothing_left()
        assert sim.volume_dirs() == []
