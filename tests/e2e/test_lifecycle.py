"""From create to delete, on both Nomads."""

from __future__ import annotations

import json
import stat

import pytest

from harness import Cluster, Machine


def test_create(machine: Machine) -> None:
    done = machine.ok("create")
    assert done.out == ""
    lines = done.err.splitlines()
    node = machine.cluster.running(machine.name)["NodeName"]
    assert lines[:2] == [f"creating machine '{machine.name}'", f"placed on node {node}"]
    assert machine.status() == "Running"
    assert stat.S_IMODE(machine.dir.stat().st_mode) == 0o700


def test_whole_life(machine: Machine) -> None:
    assert machine.status() == "NotFound"
    machine.ok("create")
    assert machine.command("echo kept >$DEVPOD_MACHINE_DIR/file").code == 0
    assert machine.ok("stop").err == f"stopping machine '{machine.name}'\n"
    assert machine.status() == "Stopped"
    assert (machine.dir / "file").read_text() == "kept\n"
    started = machine.ok("start")
    assert started.err.startswith(f"starting machine '{machine.name}'\nplaced on node ")
    assert machine.status() == "Running"
    assert machine.command("cat $DEVPOD_MACHINE_DIR/file").out == "kept\n"
    assert machine.ok("delete").err == f"deleting machine '{machine.name}'\n"
    assert machine.status() == "NotFound"
    machine.nothing_left()


def test_delete_running(created: Machine) -> None:
    (created.dir / "a" / "b").mkdir(parents=True)
    created.ok("delete")
    created.nothing_left()


def test_delete_stopped(created: Machine) -> None:
    created.ok("stop")
    created.ok("delete")
    created.nothing_left()


def test_again_is_success(created: Machine) -> None:
    """Each command a second time changes nothing."""
    cluster = created.cluster
    alloc = cluster.running(created.name)["ID"]
    assert created.ok("create").err == f"machine '{created.name}' runs already\n"
    assert created.ok("start").err == f"machine '{created.name}' runs already\n"
    assert cluster.running(created.name)["ID"] == alloc
    created.ok("stop")
    assert created.ok("stop").err == ""
    created.ok("delete")
    assert created.ok("delete").err == ""
    created.nothing_left()


def test_absent(machine: Machine) -> None:
    """stop and delete of what never was succeed, start says what to do, command too."""
    assert machine.ok("stop").err == ""
    assert machine.ok("delete").err == ""
    assert machine.fails("start") == (
        f"start machine '{machine.name}': there is no such machine\nhint: create makes one\n"
    )
    assert machine.fails("command", "true") == (
        f"there is no machine '{machine.name}' in Nomad\n"
        "hint: `devpod up` of its workspace makes or starts it\n"
    )
    machine.nothing_left()


def test_job(created: Machine) -> None:
    """The registered job is what README says a machine is."""
    job = created.cluster.job(created.name)
    assert job is not None
    (group,) = job["TaskGroups"]
    main, stopped = group["Tasks"]
    assert (job["Type"], group["Name"], main["Name"], stopped["Name"]) == ("batch", "machine", "machine", "stopped")
    assert stopped["Lifecycle"]["Hook"] == "poststop"
    assert (group["RestartPolicy"]["Attempts"], group["ReschedulePolicy"]["Attempts"]) == (0, 0)
    config = main["Config"]
    assert (config["init"], config["privileged"], config["network_mode"]) == (True, True, "bridge")
    assert config["volumes"] == [
        "/var/run/docker.sock:/var/run/docker.sock",
        f"{created.dir}:{created.dir}",
        "/etc/docker/certs.d:/etc/docker/certs.d:ro",
        "/usr/local/share/ca-certificates/registry.cluster.crt:"
        "/usr/local/share/ca-certificates/registry.cluster.crt:ro",
    ]
    assert job["Meta"]["devpod_provider"] == "devpod-provider-nomad"
    assert job["Meta"]["devpod_machine"] == created.name
    assert job["Meta"]["devpod_dir"] == str(created.dir)


def test_start_has_the_options_of_now(created: Machine) -> None:
    created.ok("stop")
    before = created.cluster.job(created.name)
    created.ok("start", env={"NOMAD_MEMORYMB": "300", "NOMAD_PRIORITY": "60"})
    after = created.cluster.job(created.name)
    assert before is not None and after is not None
    assert before["Meta"]["devpod_start"] != after["Meta"]["devpod_start"]
    assert (after["Priority"], after["TaskGroups"][0]["Tasks"][0]["Resources"]["MemoryMB"]) == (60, 300)


def test_kill_1_is_a_stop(created: Machine) -> None:
    """PID 1 ending with 0, without any credential: Stopped, and it starts again with its data."""
    (created.dir / "file").write_text("kept")
    if created.cluster.kind == "sim":  # a task there is a process of this computer: no kill 1 in it
        created.cluster.signal_task(created.cluster.running(created.name)["ID"])  # type: ignore[attr-defined]
    else:
        created.command("/bin/kill 1")
    created.cluster.wait_alloc(created.name, "complete")
    assert created.status() == "Stopped"
    created.ok("start")
    assert created.status() == "Running"
    assert (created.dir / "file").read_text() == "kept"


@pytest.mark.parametrize("how", ["job-stop", "purge"])
def test_stopped_by_others(created: Machine, how: str) -> None:
    """`nomad job stop`, with -purge too: the data are known to be there, start brings them back."""
    cluster = created.cluster
    (created.dir / "file").write_text("kept")
    http_delete(cluster, f"/v1/job/{created.name}" + ("?purge=true" if how == "purge" else ""))
    cluster.wait_quiet(created.name)
    assert created.status() == "Stopped"
    created.ok("start")
    assert created.command("cat $DEVPOD_MACHINE_DIR/file").out == "kept"
    created.ok("delete")
    created.nothing_left()


def http_delete(cluster: Cluster, path: str) -> None:
    import urllib.request

    request = urllib.request.Request(cluster.env["NOMAD_ADDR"] + path, method="DELETE")
    with urllib.request.urlopen(request) as reply:
        assert json.load(reply)["EvalID"]


def test_task_restart_leaves_devcontainers(created: Machine) -> None:
    cluster = created.cluster
    box = cluster.add_devcontainer(created.dir / "content", dev_containers_id="x")
    alloc = cluster.running(created.name)["ID"]
    cluster.restart(alloc)
    assert cluster.container_state(box) == "running"
    assert created.status() == "Running"


def test_stop_stops_only_ours(created: Machine) -> None:
    """By mount or by compose's label; not another machine's, nor what only looks alike, nor Nomad's own."""
    cluster = created.cluster
    other = cluster.machine()
    ours = [
        cluster.add_devcontainer(created.dir / "content", dev_containers_id="x"),
        cluster.add_devcontainer(created.dir),
        cluster.add_devcontainer(None, com_docker_compose_project_working__dir=str(created.dir / "content")),
    ]
    theirs = [
        cluster.add_devcontainer(other.dir / "content", dev_containers_id="y"),
        cluster.add_devcontainer(created.dir.with_name(created.name + "x")),
        cluster.add_devcontainer(None, note=f'"Source":"{created.dir}/x"'),
        cluster.add_devcontainer(created.dir / "alloc", com_hashicorp_nomad_alloc__id="f00"),
    ]
    created.ok("stop")
    assert [cluster.container_state(c) for c in ours] == ["exited"] * 3
    assert [cluster.container_state(c) for c in theirs] == ["running"] * 4
    created.ok("delete")
    assert [cluster.container_state(c) for c in ours] == [""] * 3
    assert [cluster.container_state(c) for c in theirs] == ["running"] * 4


def test_purge_stops_devcontainers(created: Machine) -> None:
    """Whoever ends the allocation: the poststop task runs."""
    cluster = created.cluster
    box = cluster.add_devcontainer(created.dir / "content")
    http_delete(cluster, f"/v1/job/{created.name}")
    cluster.wait_quiet(created.name)
    assert cluster.container_state(box) == "exited"


def test_delete_removes_devcontainers(created: Machine) -> None:
    """Also those of a stopped machine, started behind our back since."""
    cluster = created.cluster
    created.ok("stop")
    box = cluster.add_devcontainer(created.dir / "content", dev_containers_id="x")
    created.ok("delete")
    assert cluster.container_state(box) == ""
    created.nothing_left()
