"""The simulated Nomad's own tests: the behaviours that tests of the provider lean on, and each fault."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

TESTS = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TESTS))

from sim import Sim  # noqa: E402
from sim.process import marked  # noqa: E402
from sim.scheduler import _version_match  # noqa: E402
from sim.state import go_duration, parse_duration  # noqa: E402
from sim.vault import Vault  # noqa: E402

Json = dict[str, Any]
FOREVER = 'trap "exit 0" TERM; echo ready; while :; do sleep 0.05; done'


class Http:
    """The few calls the tests make, over one plain connection each."""

    def __init__(self, sim: Sim, token: str = "") -> None:
        self.host = sim.url.removeprefix("http://")
        self.token = token
        self.headers: dict[str, str] = {}

    def __call__(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        conn = http.client.HTTPConnection(self.host, timeout=20)
        headers = {"X-Nomad-Token": self.token} if self.token else {}
        conn.request(method, path, json.dumps(body) if body is not None else None, headers)
        answer = conn.getresponse()
        data = answer.read()
        self.headers = dict(answer.getheaders())
        conn.close()
        try:
            return answer.status, json.loads(data)
        except ValueError:
            return answer.status, data.decode()

    def run(self, job: Json, **extra: Any) -> Json:
        status, body = self("PUT", "/v1/jobs", {"Job": job, **extra})
        assert status == 200, body
        return body  # type: ignore[no-any-return]


def job(
    name: str = "m1",
    script: str = FOREVER,
    post: str | None = None,
    *,
    config: Json | None = None,
    res: Json | None = None,
    **fields: Any,
) -> Json:
    tasks: list[Json] = [
        {
            "Name": "machine",
            "Driver": "docker",
            "KillTimeout": 300_000_000,
            "Resources": res or {"CPU": 100, "MemoryMB": 64},
            "Config": {
                "image": "ubuntu:22.04",
                "init": True,
                "command": "/bin/sh",
                "args": ["-c", script],
                **(config or {}),
            },
        },
    ]
    if post is not None:
        tasks.append(
            {
                "Name": "stopped",
                "Driver": "docker",
                "Lifecycle": {"Hook": "poststop"},
                "Config": {"image": "ubuntu:22.04", "command": "/bin/sh", "args": ["-c", post]},
            }
        )
    group = {
        "Name": "machine",
        "RestartPolicy": {"Attempts": 0, "Mode": "fail"},
        "ReschedulePolicy": {"Attempts": 0, "Unlimited": False},
        "Tasks": tasks,
    }
    return {"ID": name, "Type": "batch", "Meta": {"start": "1"}, "TaskGroups": [group], **fields}


def events(alloc: Json, task: str = "machine") -> list[str]:
    return [e["Type"] for e in alloc["TaskStates"][task]["Events"]]


@pytest.fixture
def sim() -> Iterator[Sim]:
    with Sim() as running:
        yield running


@pytest.fixture
def nomad(sim: Sim) -> Http:
    return Http(sim)


# -- jobs


def test_starts_fast_and_leaves_nothing() -> None:
    begin = time.monotonic()
    with Sim() as sim:
        assert time.monotonic() - begin < 0.4
        root = sim.root
        Http(sim).run(job(script="setsid sleep 1000 & exec sleep 1000"))
        sim.wait_alloc("m1", "running")
        pids = sim.call(lambda c: marked(f"{c.root.name}/"))
        assert pids
    assert not root.exists()
    assert marked(f"{root.name}/") == []


def test_register_enforces_the_index(nomad: Http) -> None:
    create = {"EnforceIndex": True, "JobModifyIndex": 0, "Job": job()}
    assert nomad("PUT", "/v1/jobs", {**create, "JobModifyIndex": 7}) == (
        500,
        "Enforcing job modify index 7: job does not exist",
    )
    status, body = nomad("PUT", "/v1/jobs", create)
    assert status == 200 and nomad.headers["X-Nomad-Index"] == str(body["JobModifyIndex"])
    assert nomad("PUT", "/v1/jobs", create) == (500, "Enforcing job modify index 0: job already exists")


def test_validation_texts(nomad: Http) -> None:
    assert nomad("PUT", "/v1/jobs", {"Job": {"ID": "x"}}) == (500, "1 error occurred:\n\t* Missing job task groups\n\n")
    assert nomad("PUT", "/v1/jobs", {}) == (400, "Job must be specified")
    small = job()
    small["TaskGroups"][0]["EphemeralDisk"] = {"SizeMB": 50}
    status, text = nomad("PUT", "/v1/jobs", {"Job": small})
    assert status == 500 and "log storage (100 MB) must be less than requested disk capacity (50 MB)" in text
    assert 'nonexistent namespace "none"' in nomad("PUT", "/v1/jobs?namespace=none", {"Job": job()})[1]
    assert nomad("GET", "/v1/job/m1") == (404, "job not found")
    assert nomad("GET", "/v1/job/m1?region=mars") == (500, "No path to region")
    assert nomad("DELETE", "/v1/job/m1")[1]["EvalID"] == ""


def test_complete_stop_and_start_again(sim: Sim, nomad: Http) -> None:
    nomad.run(job(script="exit 0"))
    sim.wait_alloc("m1", "complete")
    found = nomad("GET", "/v1/job/m1")[1]
    assert (found["Status"], found["Stop"]) == ("dead", False)
    ev = nomad.run(job(script="exit 0"))["EvalID"]
    sim.wait_for(lambda c: c.store.evals[ev]["Status"] == "complete")
    assert len(sim.allocs("m1")) == 1  # the same spec does not start again after complete
    nomad.run(job(script=FOREVER, Meta={"start": "2"}))
    assert sim.wait_alloc("m1", "running")["JobVersion"] == 1
    assert nomad("DELETE", "/v1/job/m1")[0] == 200
    alloc = sim.wait_alloc("m1", "complete")
    assert alloc["DesiredDescription"] == "alloc not needed due to job update"
    assert events(alloc) == ["Received", "Task Setup", "Started", "Killing", "Terminated", "Killed"]
    found = nomad("GET", "/v1/job/m1")[1]
    assert (found["Status"], found["Stop"], found["Version"]) == ("dead", True, 2)
    nomad.run(job(script=FOREVER, Meta={"start": "2"}))  # after a stop the same spec does
    sim.wait_alloc("m1", "running")


def test_failure_and_poststop(sim: Sim, nomad: Http) -> None:
    nomad.run(job(script="echo bad; exit 3", post="echo after"))
    sim.wait_done(sim.wait_alloc("m1", "failed")["ID"])
    alloc = sim.allocs("m1")[0]
    assert (alloc["ClientStatus"], alloc["ClientDescription"]) == ("failed", "Failed tasks")
    last = alloc["TaskStates"]["machine"]["Events"][-2]
    assert last["DisplayMessage"] == 'Exit Code: 3, Exit Message: "Docker container exited with non-zero exit code: 3"'
    assert last["Details"]["exit_code"] == "3" and events(alloc)[-1] == "Not Restarting"
    assert sim.log(alloc["ID"], "stopped") == "after\n"


def test_kill_timeout_and_poststop_after_delete(sim: Sim, nomad: Http) -> None:
    nomad.run(job(script='trap "" TERM; echo ready; while :; do sleep 0.05; done', post="echo after"))
    alloc = sim.wait_alloc("m1", "running")["ID"]
    sim.wait_log(alloc, "ready")
    nomad("DELETE", "/v1/job/m1")
    stub = sim.wait_alloc("m1", "complete")
    terminated = next(e for e in stub["TaskStates"]["machine"]["Events"] if e["Type"] == "Terminated")
    assert terminated["ExitCode"] == 137
    assert sim.log(alloc, "stopped") == "after\n"


def test_restart_in_place_runs_no_poststop(sim: Sim, nomad: Http) -> None:
    nomad.run(job(post="echo after"))
    alloc = sim.wait_alloc("m1", "running")["ID"]
    assert nomad("PUT", f"/v1/client/allocation/{alloc}/restart", {})[0] == 200
    again = sim.wait_for(
        lambda c: (
            c.store.allocs[alloc].task_states["machine"]["Restarts"] == 1  # type: ignore[index]
            and c.store.allocs[alloc].client == "running"
        )
    )
    assert again and sim.log(alloc, "stopped") == "" and len(sim.allocs("m1")) == 1


def test_oom_signal_and_images(sim: Sim, nomad: Http) -> None:
    nomad.run(job())
    sim.oom_kill(sim.wait_alloc("m1", "running")["ID"])
    assert '"OOM Killed"' in sim.wait_alloc("m1", "failed")["TaskStates"]["machine"]["Events"][-2]["DisplayMessage"]
    nomad.run(job("m2"))
    sim.signal_task(sim.wait_alloc("m2", "running")["ID"])
    found = sim.wait_alloc("m2", "complete", "failed")
    assert found["DesiredStatus"] == "run"
    nomad.run(job("m3", config={"image": "missing/image:1"}))
    failed = sim.wait_alloc("m3", "failed")
    assert events(failed) == ["Received", "Task Setup", "Driver", "Driver Failure", "Not Restarting"]
    assert failed["TaskStates"]["machine"]["Events"][3]["DisplayMessage"].startswith(
        "Failed to pull `missing/image:1`:"
    )


def test_docker_driver_refusals(nomad: Http, sim: Sim) -> None:
    sim.set_node(privileged_enabled=False, volumes_enabled=False)
    assert "driver.docker.volumes.enabled" not in nomad("GET", f"/v1/node/{sim.node_id()}")[1]["Attributes"]
    nomad.run(job("m1", config={"privileged": True}))
    nomad.run(job("m2", config={"volumes": ["/x:/x"]}))
    nomad.run(job("m3", config={"nonsense": 1}))
    text = [
        sim.wait_alloc(n, "failed")["TaskStates"]["machine"]["Events"][-2]["DisplayMessage"] for n in ("m1", "m2", "m3")
    ]
    assert text[0].endswith("Docker privileged mode is disabled on this Nomad agent")
    assert text[1].endswith('volumes are not enabled; cannot mount host path: "/x:/x"')
    assert 'No argument or block type is named "nonsense"' in text[2]


SOCKET = "/var/run/docker.sock:/var/run/docker.sock"


def test_environment_templates_and_stand_ins(sim: Sim, nomad: Http, tmp_path: Path) -> None:
    source = tmp_path / "made"
    spec = job(
        script='cat "$NOMAD_TASK_DIR/x"; echo "$FOO $NOMAD_META_START $NOMAD_JOB_ID"; apt-get install curl; env',
        config={"volumes": [f"{source}:/made", "/etc/no-such-dir-of-sim:/x:ro", SOCKET]},
    )
    spec["TaskGroups"][0]["Tasks"][0].update(
        Templates=[{"EmbeddedTmpl": "hello\n", "DestPath": "local/x"}],
        Env={"FOO": "${node.datacenter}-${NOMAD_ALLOC_INDEX}"},
    )
    nomad.run(spec)
    log = sim.log(sim.wait_alloc("m1", "complete")["ID"])
    assert log.startswith("hello\ndc1-0 1 m1\n") and f"DOCKER_HOST=unix://{sim.docker_socket()}" in log
    assert sim.stand_in_calls() == ["apt-get install curl"]
    assert source.is_dir() and not Path("/etc/no-such-dir-of-sim").exists()


# -- placement


@pytest.mark.parametrize(
    ("fields", "key", "reason"),
    [
        (
            {"Constraints": [{"LTarget": "${node.unique.id}", "RTarget": "x", "Operand": "="}]},
            "ConstraintFiltered",
            "${node.unique.id} = x",
        ),
        (
            {"Constraints": [{"LTarget": "${attr.kernel.name}", "RTarget": "win.*", "Operand": "regexp"}]},
            "ConstraintFiltered",
            "${attr.kernel.name} regexp win.*",
        ),
        ({"Constraints": [{"LTarget": "${meta.x}", "Operand": "is_set"}]}, "ConstraintFiltered", "${meta.x} is_set "),
        ({"res": {"CPU": 100, "MemoryMB": 999999}}, "DimensionExhausted", "memory"),
        ({"res": {"CPU": 99999, "MemoryMB": 64}}, "DimensionExhausted", "cpu"),
        ({"res": {"Cores": 99, "MemoryMB": 64}}, "DimensionExhausted", "cores"),
    ],
)
def test_failed_placement(nomad: Http, sim: Sim, fields: Json, key: str, reason: str) -> None:
    spec = job(**fields)
    assert nomad("POST", "/v1/job/m1/plan", {"Job": spec})[1]["FailedTGAllocs"]["machine"][key] == {reason: 1}
    ident = nomad.run(spec)["EvalID"]
    sim.wait_for(lambda c: c.store.evals[ident]["Status"] == "complete")
    ev = nomad("GET", f"/v1/evaluation/{ident}")[1]
    metrics = ev["FailedTGAllocs"]["machine"]
    assert metrics[key] == {reason: 1} and metrics["NodesAvailable"] == {"dc1": 1} and metrics["NodesEvaluated"] == 1
    assert nomad("GET", f"/v1/evaluation/{ev['BlockedEval']}")[1]["Status"] == "blocked"
    assert nomad("GET", "/v1/job/m1")[1]["Status"] == "pending"


def test_blocked_is_placed_when_resources_free_up(nomad: Http, sim: Sim) -> None:
    hog = sim.hog(memory=16384)
    ident = nomad.run(job())["EvalID"]
    sim.wait_for(lambda c: c.store.evals[ident].get("BlockedEval"))
    assert sim.allocs("m1") == []
    sim.unhog(hog)
    sim.wait_alloc("m1", "running")


def test_nodes_datacenters_and_eligibility(nomad: Http) -> None:
    with Sim(nodes=[{"datacenter": "eu-1"}, {"datacenter": "us-1", "pool": "gpu"}]) as two:
        http = Http(two)
        http.run(job(Datacenters=["us*"], NodePool="gpu"))
        assert two.wait_alloc("m1", "running")["NodeName"] == "node-1"
        two.set_node("node-0", eligibility="ineligible")
        ident = http.run(job("m2"))["EvalID"]
        two.wait_for(lambda c: c.store.evals[ident].get("BlockedEval"))
        two.set_node("node-0", eligibility="eligible")
        assert two.wait_alloc("m2", "running")["NodeName"] == "node-0"
        listed = http("GET", "/v1/nodes?resources=true")[1]
        assert {n["Datacenter"] for n in listed} == {"eu-1", "us-1"} and listed[0]["NodeResources"]["Memory"]


def test_drain_stops_a_batch_job() -> None:
    """Since MigrateDisablePlacement a drained batch job is not placed elsewhere, but starts again when registered anew."""
    with Sim(nodes=2) as two:
        http = Http(two)
        http.run(job())
        first = two.wait_alloc("m1", "running")
        two.set_node(first["NodeID"], drain=True)
        ended = two.wait_alloc("m1", "complete")
        assert (ended["DesiredStatus"], ended["DesiredDescription"]) == ("stop", "alloc is being migrated")
        assert ended["DesiredTransition"]["MigrateDisablePlacement"] is True
        found = two.wait_for(lambda c: c.store.jobs[("default", "m1")]["Status"] == "dead")
        assert found and len(two.allocs("m1")) == 1
        http.run(job(Meta={"start": "2"}))
        assert two.wait_alloc("m1", "running")["NodeID"] != first["NodeID"]


def test_preemption(sim: Sim, nomad: Http) -> None:
    nomad.run(job(post="echo after"))
    first = sim.wait_alloc("m1", "running")["ID"]
    hog = sim.hog(memory=16384)
    sim.preempt(first, by="11111111-1111-1111-1111-111111111111")
    ended = sim.wait_alloc("m1", "complete")
    assert (ended["DesiredStatus"], ended["PreemptedByAllocation"]) == ("evict", "11111111-1111-1111-1111-111111111111")
    assert ended["DesiredDescription"] == "Preempted by alloc ID 11111111-1111-1111-1111-111111111111"
    assert events(ended)[-3:] == ["Killing", "Terminated", "Killed"] and sim.log(first, "stopped") == "after\n"
    assert nomad("GET", "/v1/job/m1")[1]["Status"] == "pending"
    sim.unhog(hog)
    assert sim.wait_alloc("m1", "running")["ID"] != first


def test_unplaceable_update_leaves_the_old_one_running(sim: Sim, nomad: Http) -> None:
    nomad.run(job())
    sim.wait_alloc("m1", "running")
    ident = nomad.run(job(res={"CPU": 100, "MemoryMB": 999999}))["EvalID"]
    sim.wait_for(lambda c: c.store.evals[ident].get("BlockedEval"))
    assert [(a["ClientStatus"], a["DesiredStatus"], a["JobVersion"]) for a in sim.allocs("m1")] == [
        ("running", "run", 0)
    ]
    assert nomad("GET", "/v1/job/m1")[1]["Status"] == "running"


def test_node_down_loses_and_disconnected_is_unknown() -> None:
    with Sim(nodes=2) as two:
        http = Http(two)
        http.run(job())
        first = two.wait_alloc("m1", "running")
        two.set_node(first["NodeID"], status="down")
        second = two.wait_alloc("m1", "running")
        assert two.allocs("m1")[0]["ClientStatus"] == "lost" and second["NodeID"] != first["NodeID"]
        two.set_node(first["NodeID"], status="ready")
        two.set_node(first["NodeID"], status="disconnected")
        assert two.allocs("m1")[-1]["ClientStatus"] == "running"
        two.set_node(second["NodeID"], status="disconnected")
        assert two.allocs("m1")[-1]["ClientStatus"] == "unknown"
        assert http("GET", f"/v1/client/fs/ls/{two.allocs('m1')[-1]['ID']}") == (404, "No path to node")


def test_alloc_stop_replaces_and_purge_forgets(nomad: Http, sim: Sim) -> None:
    nomad.run(job(post="echo after"))
    first = sim.wait_alloc("m1", "running")["ID"]
    assert nomad("PUT", f"/v1/allocation/{first}/stop")[0] == 200
    second = sim.wait_for(lambda c: c.store.allocs[first].next)
    sim.wait_alloc("m1", "running")
    assert sim.allocs("m1")[0]["DesiredDescription"] == "alloc is being migrated"
    nomad("DELETE", "/v1/job/m1?purge=true")
    assert nomad("GET", "/v1/job/m1")[0] == 404 and nomad("GET", f"/v1/allocation/{second}") == (404, "alloc not found")
    sim.wait_log(second, "after", "stopped")  # it is stopped all the same, and poststop runs


def test_gc_collects_dead_jobs(nomad: Http, sim: Sim) -> None:
    nomad.run(job(script="exit 0"))
    alloc = sim.wait_alloc("m1", "complete")["ID"]
    sim.wait_done(alloc)
    assert nomad("PUT", "/v1/system/gc")[0] == 200
    assert nomad("GET", "/v1/job/m1")[0] == 404
    assert nomad("GET", f"/v1/client/fs/logs/{alloc}?task=machine&type=stdout") == (
        404,
        f'Unknown allocation "{alloc}"',
    )


# -- blocking queries, logs, files


def test_blocking_query_returns_on_change_and_on_time(nomad: Http, sim: Sim) -> None:
    nomad.run(job())
    sim.wait_alloc("m1", "running")
    nomad("GET", "/v1/job/m1/allocations")
    index = int(nomad.headers["X-Nomad-Index"])
    begin = time.monotonic()
    nomad("GET", f"/v1/job/m1/allocations?index={index}&wait=100ms")
    assert 0.1 <= time.monotonic() - begin < 1
    conn = socket.create_connection(("127.0.0.1", int(nomad.host.rpartition(":")[2])))
    conn.sendall(f"GET /v1/job/m1/allocations?index={index}&wait=60s HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    sim.wait_request("wait=60s")
    nomad("DELETE", "/v1/job/m1")
    conn.settimeout(5)
    assert b"200 OK" in conn.recv(200)
    conn.close()
    assert nomad("GET", "/v1/jobs?index=x") == (400, "Invalid index")


def test_logs_follow_and_files(nomad: Http, sim: Sim) -> None:
    nomad.run(job(script="echo one; sleep 0.2; echo two; echo err >&2", post="sleep 0.1"))
    alloc = sim.wait_alloc("m1", "running")["ID"]
    base = f"/v1/client/fs/logs/{alloc}?task=machine&type="
    assert nomad("GET", f"/v1/client/fs/logs/{alloc}?task=stopped&type=stdout")[1] == (
        'task "stopped" not started yet. No logs available'
    )
    conn = http.client.HTTPConnection(nomad.host, timeout=5)
    conn.request("GET", f"{base}stdout&plain=true&follow=true")
    answer = conn.getresponse()
    assert answer.read(8) == b"one\ntwo\n"
    conn.close()
    sim.wait_alloc("m1", "complete")
    assert nomad("GET", f"{base}stdout&plain=true&origin=end&offset=4")[1] == "two\n"
    frame = nomad("GET", f"{base}stderr")[1]
    assert (base64.b64decode(frame["Data"]), frame["File"]) == (b"err\n", "alloc/logs/machine.stderr.0")
    assert nomad("GET", f"{base}nope") == (400, "must provide log type (stdout/stderr)")
    assert nomad("GET", f"/v1/client/fs/stat/{alloc}?path=alloc/logs")[1]["IsDir"]
    assert nomad("GET", f"/v1/client/fs/stat/{alloc}?path=nope")[0] == 404
    assert nomad("GET", f"/v1/client/fs/cat/{alloc}?path=alloc/logs/machine.stdout.0")[1] == "one\ntwo\n"
    assert nomad("GET", f"/v1/client/fs/stat/{alloc}?path=../..") == (500, "Path escapes the alloc directory")


# -- exec


class Exec:
    """What one exec session gave."""

    def __init__(self) -> None:
        self.out = {"stdout": b"", "stderr": b""}
        self.pieces: dict[str, list[bytes]] = {"stdout": [], "stderr": []}
        self.frames: list[str] = []
        self.code: int | None = None
        self.close: tuple[int, str] | None = None
        self.largest = 0


def execute(
    sim: Sim,
    alloc: str,
    command: list[str] | None,
    stdin: bytes | None = None,
    *,
    tty: bool = False,
    size: tuple[int, int] | None = None,
    timeout: float = 10,
    query: str = "",
    task: str = "machine",
) -> Exec:
    result = Exec()

    async def send(ws: aiohttp.ClientWebSocketResponse) -> None:
        for i in range(0, len(stdin or b""), 1 << 16):
            await ws.send_json({"stdin": {"data": base64.b64encode((stdin or b"")[i : i + (1 << 16)]).decode()}})
        if stdin is not None:
            await ws.send_json({"stdin": {"close": True}})

    async def talk() -> None:
        text = urllib.parse.quote(json.dumps(command)) if command is not None else "foo"
        url = f"{sim.url}/v1/client/allocation/{alloc}/exec?task={task}&tty={str(tty).lower()}&command={text}{query}"
        async with aiohttp.ClientSession() as session, session.ws_connect(url, max_msg_size=0) as ws:
            if size:
                await ws.send_json({"tty_size": {"height": size[0], "width": size[1]}})
            sender = asyncio.ensure_future(send(ws))
            while True:
                message = await ws.receive()
                if message.type is aiohttp.WSMsgType.CLOSE:
                    result.close = (message.data, message.extra or "")
                if message.type is not aiohttp.WSMsgType.TEXT:
                    break
                frame = json.loads(message.data)
                result.frames.append(next(iter(frame)))
                for kind in ("stdout", "stderr"):
                    data = base64.b64decode(frame.get(kind, {}).get("data", ""))
                    result.largest = max(result.largest, len(data))
                    result.pieces[kind].append(data)
                if frame.get("exited"):
                    result.code = frame["result"].get("exit_code", 0)
            sender.cancel()

    async def limited() -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(talk(), timeout)

    asyncio.run(limited())
    result.out = {kind: b"".join(pieces) for kind, pieces in result.pieces.items()}
    return result


@pytest.fixture
def alloc(sim: Sim, nomad: Http) -> str:
    nomad.run(job())
    return str(sim.wait_alloc("m1", "running")["ID"])


def test_exec_output_and_code(sim: Sim, alloc: str) -> None:
    got = execute(sim, alloc, ["sh", "-c", "echo out; echo err >&2; exit 3"])
    assert (got.out["stdout"], got.out["stderr"], got.code) == (b"out\n", b"err\n", 3)
    assert got.frames[-1] == "exited" and got.close is None
    assert execute(sim, alloc, ["sh", "-c", "kill -9 $$"]).code == 137
    missing = execute(sim, alloc, ["no-such-cmd"])
    assert missing.code == 126 and b"executable file not found in $PATH" in missing.out["stdout"]


def test_exec_is_whole_both_ways(sim: Sim, alloc: str) -> None:
    data = os.urandom(1 << 20) * 8
    got = execute(sim, alloc, ["cat"], data, timeout=60)
    assert hashlib.sha256(got.out["stdout"]).digest() == hashlib.sha256(data).digest() and got.largest == 1024


def test_exec_tty(sim: Sim, alloc: str) -> None:
    got = execute(sim, alloc, ["sh", "-c", "sleep 0.1; stty size; test -t 0 && exit 5"], tty=True, size=(33, 99))
    assert (got.out["stdout"], got.code) == (b"33 99\r\n", 5)


def test_exec_refusals(sim: Sim, nomad: Http, alloc: str) -> None:
    assert execute(sim, alloc, []).close == (1008, "command is not present")
    assert execute(sim, alloc, ["true"], task="nope").close == (1011, "task not found")
    assert execute(sim, alloc, None).close[1].startswith("failed to marshal command into json:")  # type: ignore[index]
    other = "11111111-1111-1111-1111-111111111111"
    assert execute(sim, other, ["true"]).close == (1008, f'Unknown allocation "{other}"')
    assert nomad("GET", f"/v1/client/allocation/{alloc}/exec?command=%5B%5D") == (
        500,
        "websocket connection not found in context",
    )
    nomad("DELETE", "/v1/job/m1")
    sim.wait_alloc("m1", "complete")
    assert execute(sim, alloc, ["true"]).close == (1008, 'task "machine" is not running.')


def test_exec_outlives_its_connection(sim: Sim, alloc: str, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    os.mkfifo(mark)
    execute(sim, alloc, ["sh", "-c", f"cat >/dev/null; echo gone >{mark}"], timeout=0.2)
    assert mark.read_text() == "gone\n"  # stdin ended, and nobody killed it


def test_exec_spurious_exit(sim: Sim, alloc: str, tmp_path: Path) -> None:
    sim.exec_fault("spurious_exit")
    got = execute(sim, alloc, ["touch", str(tmp_path / "ran")])
    assert got.code == 0 and not (tmp_path / "ran").exists()
    assert execute(sim, alloc, ["echo", "hello"]).out["stdout"] == b"hello\n"
    sim.exec_fault("spurious_exit", probability=0.5, times=None)
    codes = [execute(sim, alloc, ["echo", "x"]).out["stdout"] for _ in range(12)]
    assert {b"", b"x\n"} == set(codes)


def test_exec_lost_tail_only_when_the_process_ends(sim: Sim, alloc: str) -> None:
    sim.exec_fault("lost_tail", bytes=100, times=2)
    assert len(execute(sim, alloc, ["head", "-c", "5000", "/dev/zero"]).out["stdout"]) == 4900
    assert len(execute(sim, alloc, ["sh", "-c", "head -c 5000 /dev/zero; sleep 0.3"]).out["stdout"]) == 5000


def test_exec_order_and_size_of_frames(sim: Sim, alloc: str) -> None:
    sim.exec_fault("exit_first", bytes=1000)
    got = execute(sim, alloc, ["echo", "late"])
    assert got.frames.index("exited") < len(got.frames) - 1 and got.out["stdout"] == b"late\n"
    sim.exec_fault("one_byte")
    assert execute(sim, alloc, ["echo", "abc"]).largest == 1
    sim.exec_fault("delay", seconds=0.1)
    assert execute(sim, alloc, ["true"]).code == 0


def test_exec_hang_close_cut_and_open_stdin(sim: Sim, alloc: str) -> None:
    sim.exec_fault("hang")
    assert execute(sim, alloc, ["echo", "x"], timeout=0.2).frames == []
    sim.exec_fault("close", bytes=3, code=1011, reason="rpc error")
    got = execute(sim, alloc, ["sh", "-c", "echo hello; sleep 5"])
    assert (got.out["stdout"], got.close) == (b"hel", (1011, "rpc error"))
    sim.exec_fault("cut", bytes=2)
    got = execute(sim, alloc, ["sh", "-c", "echo hello; sleep 5"])
    assert (got.out["stdout"], got.code, got.close) == (b"he", None, None)
    sim.exec_fault("no_stdin_close")
    assert execute(sim, alloc, ["cat"], b"x", timeout=0.3).code is None


# -- HTTP faults and the control API


def test_rules(sim: Sim, nomad: Http) -> None:
    sim.rule("^GET /v1/jobs", status=429, body="slow down", times=1, skip=1)
    assert [nomad("GET", "/v1/jobs")[0] for _ in range(3)] == [200, 429, 200]
    sim.rule("^GET /v1/nodes", "delay", delay=0.1, times=1)
    begin = time.monotonic()
    assert nomad("GET", "/v1/nodes")[0] == 200 and time.monotonic() - begin >= 0.1
    for action, fields in (("cut", {}), ("garbage", {"body": "what?"}), ("cut_body", {"after": 5})):
        sim.rule("^GET /v1/namespaces", action, times=1, **fields)
        with pytest.raises((http.client.HTTPException, ConnectionError)):
            nomad("GET", "/v1/namespaces")
    with pytest.raises(ValueError, match="unknown action"):
        sim.rule("x", "explode")


def test_rules_for_upgrades(sim: Sim, alloc: str) -> None:
    sim.rule("/exec", "ws_close", code=1008, reason="No path to node", times=1)
    assert execute(sim, alloc, ["true"]).close == (1008, "No path to node")
    sim.rule("/exec", status=403, body="Permission denied", times=1)
    with pytest.raises(aiohttp.WSServerHandshakeError):
        execute(sim, alloc, ["true"])


def test_requests_are_recorded(sim: Sim) -> None:
    Http(sim, "secret")("GET", "/v1/jobs?namespace=default&prefix=a")
    last = sim.requests[-1]
    assert (last.method, last.path, last.query["prefix"], last.token, last.status) == (
        "GET",
        "/v1/jobs",
        "a",
        "secret",
        200,
    )


def test_control_api(nomad: Http, sim: Sim) -> None:
    assert nomad("POST", "/_sim/rule", {"match": "GET /v1/jobs", "status": 500, "times": 1})[1] == {"id": 1}
    assert nomad("GET", "/v1/jobs")[0] == 500
    assert nomad("POST", "/_sim/rule", {"nope": 1})[0] == 400
    assert nomad("POST", "/_sim/nope", {})[0] == 404
    assert nomad("POST", "/_sim/node-state", {"eligibility": "ineligible"})[0] == 200
    assert nomad("GET", "/v1/nodes")[1][0]["SchedulingEligibility"] == "ineligible"
    assert nomad("POST", "/_sim/exec-fault", {"kind": "hang"})[0] == 200
    assert nomad("GET", "/_sim/faults")[1]["exec"][0]["kind"] == "hang"
    assert [r["path"] for r in nomad("GET", "/_sim/requests")[1]] == ["/v1/jobs", "/v1/nodes"]


# -- ACL


def test_acl_disabled_answers(nomad: Http) -> None:
    assert nomad("GET", "/v1/acl/token/self")[1]["AccessorID"] == "acls-disabled"
    assert nomad("GET", "/v1/acl/policy/x") == (400, "ACL support disabled")
    assert nomad("GET", "/v1/acl/policy/self") == (403, "Permission denied")


def test_acl_capabilities() -> None:
    with Sim(acl=True) as sim:
        sim.add_namespace("dev")
        reader = Http(sim, sim.token(name="reader", policy={"dev": ["read"]}, node="read").secret)
        boss = Http(sim, sim.token(management=True).secret)
        assert Http(sim)("GET", "/v1/jobs")[0] == 403
        assert Http(sim, "11111111-1111-1111-1111-111111111111")("GET", "/v1/jobs")[0] == 403
        assert reader("GET", "/v1/jobs?namespace=dev") == (200, [])
        assert reader("GET", "/v1/jobs") == (403, "Permission denied")
        assert reader("PUT", "/v1/jobs?namespace=dev", {"Job": job()}) == (403, "Permission denied")
        assert reader("GET", "/v1/nodes")[0] == 200
        assert reader("GET", "/v1/acl/token/self")[1]["Policies"] == ["policy-reader"]
        rules = reader("GET", "/v1/acl/policy/policy-reader")[1]["RulesJSON"]["Namespaces"][0]
        assert "read-job" in rules["Capabilities"]
        assert boss("PUT", "/v1/jobs?namespace=dev", {"Job": job()})[0] == 200
        sim.wait_alloc("m1", "running", namespace="dev")


# -- volumes


def csi_volume(name: str, least: int = 1 << 20, most: int = 0, **fields: Any) -> Json:
    spec = {
        "ID": name,
        "Name": name,
        "PluginID": "ceph-csi",
        "RequestedCapacityMin": least,
        "RequestedCapacityMax": most,
        "RequestedCapabilities": [{"AccessMode": "single-node-writer", "AttachmentMode": "file-system"}],
        "MountOptions": {"FSType": "ext4", "MountFlags": ["noatime"]},
        "Parameters": {"pool": "nomad"},
    }
    return {"Volumes": [{**spec, **fields}]}


def create_csi(nomad: Http, name: str, *args: int, **fields: Any) -> tuple[int, Any]:
    return nomad("PUT", f"/v1/volume/csi/{name}/create", csi_volume(name, *args, **fields))


def create_host(nomad: Http, name: str, **fields: Any) -> tuple[int, Any]:
    can = [{"AccessMode": "single-node-single-writer", "AttachmentMode": "file-system"}]
    spec = {"Name": name, "PluginID": "mkdir", "RequestedCapabilities": can, **fields}
    return nomad("PUT", "/v1/volume/host/create", {"Volume": spec})


def with_volume(spec: Json, kind: str, source: str, *destinations: Path, **fields: Any) -> Json:
    access = "single-node-writer" if kind == "csi" else "single-node-single-writer"
    request = {"Name": "data", "Type": kind, "Source": source, "AccessMode": access, "AttachmentMode": "file-system"}
    group = spec["TaskGroups"][0]
    group["Volumes"] = {"data": {**request, **fields}}
    group["Tasks"][0]["VolumeMounts"] = [{"Volume": "data", "Destination": str(d)} for d in destinations]
    return spec


def failed_placement(sim: Sim, nomad: Http, spec: Json) -> tuple[Json, Json]:
    """The reasons of an evaluation that places nothing, and the blocked evaluation it leaves."""
    ident = nomad.run(spec)["EvalID"]
    sim.wait_for(lambda c: c.store.evals[ident].get("BlockedEval"))
    ev = nomad("GET", f"/v1/evaluation/{ident}")[1]
    metrics = ev["FailedTGAllocs"]["machine"]
    return metrics["ConstraintFiltered"], nomad("GET", f"/v1/evaluation/{ev['BlockedEval']}")[1]


def test_csi_volume_life(sim: Sim, nomad: Http) -> None:
    status, body = create_csi(nomad, "v1", 5 << 20, 9 << 20, Secrets={"userKey": "s3cret"})
    made = body["Volumes"][0]
    assert status == 200 and made["CreateIndex"] == 0 and made["Schedulable"] is False and made["Capacity"] == 5 << 20
    assert create_csi(nomad, "v1", 5 << 20, 9 << 20)[1]["Volumes"][0]["ExternalID"] == made["ExternalID"]
    found = nomad("GET", "/v1/volume/csi/v1")[1]
    assert found["Schedulable"] and found["Secrets"] is None and found["WriteAllocs"] == {}
    assert found["MountOptions"] == {"FSType": "ext4", "MountFlags": ["[REDACTED]"]}
    assert [v["ID"] for v in nomad("GET", "/v1/volumes?type=csi&prefix=v")[1]] == ["v1"]
    assert nomad("GET", "/v1/volumes?type=csi&namespace=none") == (200, [])
    assert nomad("GET", "/v1/volumes?type=x") == (404, "resource not found")
    held = sim.volume_dir("v1")
    assert held.is_dir()
    assert nomad("DELETE", "/v1/volume/csi/v1/delete") == (200, "") and not held.exists()
    assert nomad("DELETE", "/v1/volume/csi/v1/delete") == (500, "volume not found: v1")
    assert nomad("GET", "/v1/volume/csi/v1") == (404, "volume not found")
    assert nomad("POST", "/v1/volume/csi/v1/create", {}) == (405, "Invalid method")


def test_csi_volume_refusals(sim: Sim, nomad: Http) -> None:
    assert create_csi(nomad, "v1", PluginID="nope") == (500, "no CSI plugin named: nope could be found")
    assert create_csi(nomad, "v1", PluginID="", RequestedCapabilities=None) == (
        500,
        "validation: missing plugin id, must include at least one capability block",
    )
    assert (
        "unknown volume access mode: x"
        in create_csi(nomad, "v1", RequestedCapabilities=[{"AccessMode": "x", "AttachmentMode": "file-system"}])[1]
    )
    assert create_csi(nomad, "v1", 2, 1)[1].endswith(
        "CSI.ControllerCreateVolume: LimitBytes cannot be less than RequiredBytes\n\n"
    )
    assert nomad("PUT", "/v1/volume/csi/v1/create", {}) == (500, "missing volume definition")
    assert nomad("PUT", "/v1/volume/csi/v1/create", csi_volume("v1", Name=7))[0] == 400
    # the plugin has made it before the state store refuses: a leak
    status, text = create_csi(nomad, "v1", Namespace="none")
    assert (status, text.splitlines()[1]) == (500, "\t* volume v1 is in nonexistent namespace none")
    assert len(sim.volume_dirs()) == 1 and sim.volume("v1") is None


def test_csi_volume_changes(sim: Sim, nomad: Http) -> None:
    create_csi(nomad, "v1", 5_000_000)
    assert create_csi(nomad, "v1", 7_000_000)[1]["Volumes"][0]["Capacity"] == 7_000_000
    text = create_csi(nomad, "v1", 1, 2_100_000)[1]
    assert "max requested capacity (2.1 MB) less than or equal to current (7.0 MB)" in text
    assert "volume parameters cannot be updated" in create_csi(nomad, "v1", Parameters={"pool": "x"})[1]
    assert (
        create_csi(nomad, "v1", 5_000_000)[0] == 200 and nomad("GET", "/v1/volume/csi/v1")[1]["Capacity"] == 7_000_000
    )
    sim.set_plugin(expand_error="Internal: no space")
    text = create_csi(nomad, "v1", 8_000_000)[1]
    assert (
        "* unable to expand volume: controller expand volume: CSI.ControllerExpandVolume: controller plugin ret" in text
    )
    sim.set_plugin(expands=False)
    assert "expand is not implemented by this controller plugin" in create_csi(nomad, "v1", 8_000_000)[1]
    # a plugin knows volumes by name: what was only deregistered is found again
    assert nomad("DELETE", "/v1/volume/csi/v1") == (200, "")
    assert "with different size already exist" in create_csi(nomad, "v1", 9_000_000)[1]


def test_csi_volume_in_use(sim: Sim, nomad: Http, tmp_path: Path) -> None:
    create_csi(nomad, "v1")
    spec = with_volume(job(script=f"echo kept >{tmp_path}/b/f; {FOREVER}"), "csi", "v1", Path("/ws"), tmp_path / "b")
    nomad.run(spec)
    alloc = sim.wait_alloc("m1", "running")["ID"]
    sim.wait_log(alloc, "ready")
    assert (sim.volume_dir("v1") / "f").read_text() == "kept\n"
    mounts = [m["Destination"] for c in sim.containers() for m in c.mounts]
    assert mounts == ["/ws", str(tmp_path / "b")] and not Path("/ws").exists()
    found = nomad("GET", "/v1/volume/csi/v1")[1]
    assert list(found["WriteAllocs"]) == [alloc] and found["AccessMode"] == "single-node-writer"
    assert [a["ID"] for a in found["Allocations"]] == [alloc]
    assert nomad("DELETE", "/v1/volume/csi/v1?force=true") == (500, "volume in use: v1")
    reasons, blocked = failed_placement(sim, nomad, with_volume(job("m2"), "csi", "v1"))
    assert reasons == {"CSI volume v1 has exhausted its available writer claims": 1}
    assert blocked["EscapedComputedClass"] and "MissingNonNodeResources" not in blocked
    nomad("DELETE", "/v1/job/m1")
    sim.wait_alloc("m2", "running")
    assert not (tmp_path / "b").exists() and (sim.volume_dir("v1") / "f").exists()
    # the plugin deletes first, and Nomad looks for claims only then: the data are gone
    assert nomad("DELETE", "/v1/volume/csi/v1/delete") == (500, "volume in use: v1")
    assert list(sim.volume_dir("v1").iterdir()) == []
    nomad("DELETE", "/v1/job/m2")
    sim.wait_alloc("m2", "complete")
    assert nomad("DELETE", "/v1/volume/csi/v1/delete") == (200, "") and sim.volume_dirs() == []


def test_csi_claims(sim: Sim, nomad: Http, tmp_path: Path) -> None:
    """A claim that is held on; a job's own claim does not keep it from being placed, its client waits."""
    sim.client.claim_delay = 60
    sim.set_plugin(protects_used=True)
    create_csi(nomad, "v1")
    nomad.run(with_volume(job(), "csi", "v1", tmp_path / "d"))
    first = sim.wait_alloc("m1", "running")["ID"]
    nomad("DELETE", "/v1/job/m1")
    sim.wait_alloc("m1", "complete")
    assert "is still being used" in nomad("DELETE", "/v1/volume/csi/v1/delete")[1]
    nomad.run(with_volume(job(Meta={"start": "2"}), "csi", "v1", tmp_path / "d"))
    assert sim.wait_alloc("m1", "pending")["ID"] != first
    sim.release_claims(first)
    sim.wait_alloc("m1", "running")
    second = sim.allocs("m1")[-1]["ID"]
    nomad("DELETE", "/v1/job/m1?purge=true")
    reasons, _ = failed_placement(sim, nomad, with_volume(job("m2"), "csi", "v1"))
    assert f"is claimed by a garbage collected allocation {second}" in next(iter(reasons))
    sim.wait_done(second)
    sim.release_claims(second)
    assert nomad("DELETE", "/v1/volume/csi/v1/delete") == (200, "")


def test_waiting_for_a_claim_is_deaf_to_a_stop(sim: Sim, nomad: Http, tmp_path: Path) -> None:
    sim.client.claim_delay = 60
    create_csi(nomad, "v1")
    nomad.run(with_volume(job(), "csi", "v1", tmp_path / "a" / "b"))
    first = sim.wait_alloc("m1", "running")["ID"]
    assert (tmp_path / "a" / "b").is_symlink()
    nomad("DELETE", "/v1/job/m1")
    sim.wait_alloc("m1", "complete")
    assert list(tmp_path.iterdir()) == []
    nomad.run(with_volume(job(Meta={"start": "2"}), "csi", "v1", tmp_path / "a" / "b"))
    second = sim.wait_alloc("m1", "pending")["ID"]
    nomad("DELETE", "/v1/job/m1")
    sim.wait_for(lambda c: c.store.allocs[second].desired == "stop")
    assert sim.allocs("m1")[-1]["ClientStatus"] == "pending" and nomad("GET", "/v1/job/m1")[1]["Status"] == "dead"
    sim.release_claims(first)
    assert events(sim.wait_alloc("m1", "complete")) == ["Received", "Killing"]


def test_csi_missing_volume_and_plugins(sim: Sim, nomad: Http) -> None:
    spec = with_volume(job(), "csi", "v1", Path("/ws"))
    plan = nomad("POST", "/v1/job/m1/plan", {"Job": spec})[1]
    assert plan["FailedTGAllocs"]["machine"]["ConstraintFiltered"] == {"missing CSI volume(s) v1": 1}
    reasons, blocked = failed_placement(sim, nomad, spec)
    assert reasons == {"missing CSI volume(s) v1": 1}
    assert blocked["MissingNonNodeResources"] == ["csi-volume:default:v1"]
    create_csi(nomad, "v1")  # which unblocks it
    sim.wait_alloc("m1", "running")
    nomad("DELETE", "/v1/job/m1")
    sim.wait_alloc("m1", "complete")
    node, stub = sim.node_id(), nomad("GET", "/v1/plugins?type=csi")[1][0]
    assert (stub["ID"], stub["ControllersHealthy"], stub["NodesHealthy"]) == ("ceph-csi", 1, 1)
    sim.set_plugin(unhealthy_nodes={"node-0"})
    assert failed_placement(sim, nomad, spec | {"Meta": {"start": "2"}})[0] == {
        f"CSI plugin ceph-csi is unhealthy on client {node}": 1
    }
    sim.set_plugin(unhealthy_nodes=set(), absent_nodes={"node-0"})
    assert failed_placement(sim, nomad, spec | {"Meta": {"start": "3"}})[0] == {
        f"CSI plugin ceph-csi is missing from client {node}": 1
    }
    sim.set_plugin(absent_nodes=set(), controller_healthy=False)
    assert create_csi(nomad, "v2") == (500, "no healthy controllers for CSI plugin: ceph-csi")
    assert nomad("GET", "/v1/plugin/csi/ceph-csi")[1]["ControllersHealthy"] == 0
    assert nomad("DELETE", "/v1/volume/csi/v1/delete")[1].startswith("controller delete volume: failed to find")
    sim.remove_plugin()
    assert nomad("GET", "/v1/plugin/csi/ceph-csi") == (404, "plugin not found")
    assert nomad("DELETE", "/v1/volume/csi/v1/delete") == (500, 'plugin "ceph-csi" for volume "v1" not found')


def test_csi_faults(sim: Sim, nomad: Http) -> None:
    sim.set_plugin(secrets={"userID": "a"})
    assert "code = InvalidArgument" in create_csi(nomad, "v1")[1]
    assert create_csi(nomad, "v1", Secrets={"userID": "a"})[0] == 200
    sim.set_plugin(secrets={}, delete_failures=1, delete_error="Unavailable: backend is away")
    text = nomad("DELETE", "/v1/volume/csi/v1/delete")[1]
    assert text == (
        "controller delete volume: CSI.ControllerDeleteVolume: rpc error: code = Unavailable desc = backend is away"
    )
    sim.lose_volume("v1")
    nomad.run(with_volume(job(), "csi", "v1"))
    alloc = sim.wait_alloc("m1", "failed")
    assert events(alloc) == ["Received", "Setup Failure"]
    assert (
        'pre-run hook "csi_hook" failed: mounting volumes: volume "'
        in alloc["TaskStates"]["machine"]["Events"][1]["DisplayMessage"]
    )
    assert nomad("DELETE", "/v1/volume/csi/v1/delete") == (200, "")


def test_csi_volume_moves_with_the_job(tmp_path: Path) -> None:
    with Sim(nodes=2) as two:
        http = Http(two)
        create_csi(http, "v1")
        spec = with_volume(job(script=f"echo x >>{tmp_path}/d/f; {FOREVER}"), "csi", "v1", tmp_path / "d")
        http.run(spec)
        first = two.wait_alloc("m1", "running")
        two.wait_log(first["ID"], "ready")
        two.set_node(first["NodeID"], status="down")
        second = two.wait_alloc("m1", "running")
        two.wait_log(second["ID"], "ready")
        assert second["NodeID"] != first["NodeID"] and (two.volume_dir("v1") / "f").read_text() == "x\nx\n"


def test_volume_validation(nomad: Http) -> None:
    for spec, text in (
        (with_volume(job(), "csi", ""), "* volume has an empty source\n"),
        (with_volume(job(), "nfs", "x", Path("/w")), "* Volume Mount (0) references undefined volume data\n"),
        (with_volume(job(), "csi", "x", AccessMode=""), "* CSI volumes must have an access mode\n"),
        (with_volume(job(), "host", "x", MountOptions={"FSType": "x"}), "* host volumes cannot have mount options\n"),
    ):
        status, body = nomad("PUT", "/v1/jobs", {"Job": spec})
        assert status == 500 and text in body


def test_host_volume_life(sim: Sim, nomad: Http, tmp_path: Path) -> None:
    status, body = create_host(nomad, "h1")
    volume = body["Volume"]
    path = f"/v1/volume/host/{volume['ID']}"
    assert (status, volume["State"], volume["NodeID"]) == (200, "pending", sim.node_id())
    # the scheduler takes it once the node has told of it
    nomad.run(with_volume(job(script=f"echo kept >{tmp_path}/d/f; {FOREVER}"), "host", "h1", tmp_path / "d"))
    alloc = sim.wait_alloc("m1", "running")["ID"]
    sim.wait_log(alloc, "ready")
    assert nomad("GET", path)[1]["State"] == "ready" and (sim.volume_dir("h1") / "f").read_text() == "kept\n"
    assert nomad("DELETE", f"{path}/delete?force=true") == (
        500,
        f"volume {volume['ID']} in use by allocations: [{alloc}]",
    )
    reasons, blocked = failed_placement(sim, nomad, with_volume(job("m2"), "host", "h1"))
    assert reasons == {"missing compatible host volumes": 1} and list(blocked["ClassEligibility"].values()) == [True]
    nomad("DELETE", "/v1/job/m2?purge=true")
    nomad("DELETE", "/v1/job/m1")
    sim.wait_alloc("m1", "complete")
    for query, count in (
        ("prefix=h", 1),
        (f"prefix={volume['ID'][:8]}", 1),
        ("prefix=x", 0),
        ("node_id=x", 0),
        ("filter=Name+%3D%3D+%22h1%22", 1),
        ("filter=Name+%3D%3D+%22h2%22", 0),
    ):
        assert len(nomad("GET", f"/v1/volumes?type=host&{query}")[1]) == count, query
    assert nomad("GET", "/v1/volumes?type=host&filter=Nope+%3D%3D+%22h2%22")[0] == 400
    assert nomad("DELETE", f"{path}/delete")[0] == 200 and sim.volume_dirs() == []
    assert nomad("DELETE", f"{path}/delete") == (500, f"no such volume: {volume['ID']}")
    assert nomad("GET", path) == (404, "volume not found")


def test_host_volume_refusals(sim: Sim, nomad: Http) -> None:
    create_host(nomad, "h1")
    full = "no node meets constraints: {} nodes had existing volume, 0 nodes filtered by node pool governance, {} nodes"
    assert full.format(1, 0) in create_host(nomad, "h1")[1]
    assert full.format(0, 1) in create_host(nomad, "h2", PluginID="nope")[1]
    assert create_host(nomad, "h2", RequestedCapacityMinBytes=5) == (
        500,
        "volume validation failed: capacity_max (0) must be larger than capacity_min (5)",
    )
    assert create_host(nomad, "h2", NodeID="x")[1].endswith('against state failed: node "x" does not exist')
    assert create_host(nomad, "h1", NodeID=sim.node_id()) == (
        500,
        "HostVolume.Create error: volume name already exists on this node",
    )
    ident = nomad("GET", "/v1/volumes?type=host")[1][0]["ID"]
    assert create_host(nomad, "h1", ID=ident)[1]["Volume"]["ID"] == ident
    sim.set_node(status="down")
    assert nomad("DELETE", f"/v1/volume/host/{ident}/delete") == (
        500,
        "volume cannot be removed from unknown node without force=true",
    )


def test_volume_capabilities() -> None:
    with Sim(acl=True) as sim:
        caps = ["submit-job", "csi-write-volume", "csi-mount-volume", "host-volume-create"]
        plain = Http(sim, sim.token(policy={"default": caps}).secret)
        allowed = Http(sim, sim.token(policy={"default": caps}, plugin="read", host_volume={"h*": "write"}).secret)
        denied = (403, "Permission denied")
        assert create_csi(plain, "v1") == denied and plain("GET", "/v1/plugin/csi/ceph-csi") == denied
        assert create_csi(allowed, "v1")[0] == 200
        ident = create_host(plain, "h1")[1]["Volume"]["ID"]
        assert plain("DELETE", f"/v1/volume/host/{ident}/delete") == denied  # needs host-volume-delete or -write
        spec = with_volume(job(), "host", "h1")
        assert plain("PUT", "/v1/jobs", {"Job": spec}) == denied
        assert allowed("PUT", "/v1/jobs", {"Job": spec})[0] == 200
        sim.wait_alloc("m1", "running")


# -- docker


def docker(sim: Sim, method: str, path: str) -> tuple[int, Any]:
    conn = http.client.HTTPConnection("docker")
    conn.sock = socket.socket(socket.AF_UNIX)
    conn.sock.connect(str(sim.docker_socket()))
    conn.request(method, path)
    answer = conn.getresponse()
    data = answer.read()
    conn.close()
    return answer.status, json.loads(data) if data[:1] in (b"[", b"{") else data.decode()


def test_docker_engine(sim: Sim, nomad: Http, tmp_path: Path) -> None:
    nomad.run(job(config={"volumes": [f"{tmp_path}:{tmp_path}"]}))
    alloc = sim.wait_alloc("m1", "running")["ID"]
    dev = sim.add_container(
        name="dev", labels={"dev.containers.id": "x"}, mounts=[{"Source": f"{tmp_path}/ws", "Destination": "/ws"}]
    )
    listed = docker(sim, "GET", "/v1.41/containers/json?all=1")[1]
    assert {c["Names"][0] for c in listed} == {f"/machine-{alloc}", "/dev"}
    only = urllib.parse.quote(json.dumps({"label": ["dev.containers.id=x"]}))
    assert [c["Id"] for c in docker(sim, "GET", f"/containers/json?filters={only}")[1]] == [dev]
    assert docker(sim, "DELETE", f"/containers/{dev}")[0] == 409
    assert docker(sim, "POST", f"/containers/{dev[:12]}/stop")[0] == 204
    assert docker(sim, "POST", f"/containers/{dev}/stop")[0] == 304
    assert docker(sim, "DELETE", f"/containers/{dev}?force=1&v=1")[0] == 204
    assert docker(sim, "GET", f"/containers/{dev}/json")[1] == {"message": f"No such container: {dev}"}
    net = sim.add_network("ws-net")
    assert docker(sim, "DELETE", f"/networks/{net}")[0] == 204
    assert [n["Name"] for n in docker(sim, "GET", "/networks")[1]] == ["bridge", "host", "none"]
    assert docker(sim, "POST", f"/containers/machine-{alloc}/stop")[0] == 204  # the machine itself: its task ends
    assert sim.wait_alloc("m1", "complete")["DesiredStatus"] == "run"


def test_docker_networks_and_volumes(sim: Sim) -> None:
    project = {"com.docker.compose.project": "x"}
    only = urllib.parse.quote(json.dumps({"label": ["com.docker.compose.project=x"]}))
    net = sim.add_network("x_default", labels=project)
    sim.add_docker_volume("x_data", labels=project)
    box = sim.add_container(
        networks=["x_default"],
        labels=project,
        mounts=[
            {"Type": "volume", "Name": "x_data", "Destination": "/data"},
            {"Type": "volume", "Destination": "/anonymous"},
        ],
    )
    anonymous = next(v for v in sim.docker_volumes() if v != "x_data")
    assert [n["Id"] for n in docker(sim, "GET", f"/networks?filters={only}")[1]] == [net]
    assert [v["Name"] for v in docker(sim, "GET", f"/volumes?filters={only}")[1]["Volumes"]] == ["x_data"]
    assert [m["Source"] for m in docker(sim, "GET", f"/containers/json?filters={only}")[1][0]["Mounts"]][1] == ""
    assert list(docker(sim, "GET", f"/networks/{net}")[1]["Containers"]) == [box]
    assert docker(sim, "DELETE", "/networks/x_default") == (
        403,
        {"message": f"error while removing network: network x_default id {net} has active endpoints"},
    )
    assert docker(sim, "DELETE", "/networks/host")[0] == 403
    assert docker(sim, "POST", f"/containers/{box}/stop")[0] == 204
    assert docker(sim, "DELETE", "/networks/x_default")[0] == 204  # a stopped container does not hold it
    in_use = {"message": f"remove x_data: volume is in use - [{box}]"}  # but it holds its volumes
    assert docker(sim, "DELETE", "/volumes/x_data?force=1") == (409, in_use)
    assert docker(sim, "DELETE", f"/containers/{box}?v=1")[0] == 204
    assert sim.docker_volumes() == ["x_data"] and anonymous != "x_data"
    assert docker(sim, "DELETE", "/volumes/x_data")[0] == 204
    assert docker(sim, "DELETE", "/volumes/x_data") == (404, {"message": "get x_data: no such volume"})
    assert docker(sim, "DELETE", "/volumes/x_data?force=1")[0] == 204
    nope = urllib.parse.quote(json.dumps({"nope": ["x"]}))
    assert docker(sim, "GET", f"/networks?filters={nope}") == (400, {"message": "Invalid filter 'nope'"})


# -- Vault


def read_vault(vault: Vault, path: str, token: str = "root", **headers: str) -> tuple[int, Any]:
    conn = http.client.HTTPConnection(urllib.parse.urlsplit(vault.url).netloc, timeout=10)
    conn.request("GET", f"/v1/{path}", headers={"X-Vault-Token": token, **headers})
    answer = conn.getresponse()
    body = json.loads(answer.read())
    conn.close()
    return answer.status, body


def test_vault_reads() -> None:
    with Vault() as vault:
        vault.put("secret/aws", {"userID": "a", "n": 3})
        vault.mount("deep/kv", 1)
        vault.put("deep/kv/team/s", {"userKey": "b"})
        status, body = read_vault(vault, "secret/data/aws")
        assert (status, body["data"]["data"], body["data"]["metadata"]["version"]) == (200, {"userID": "a", "n": 3}, 1)
        assert read_vault(vault, "deep/kv/team/s")[1]["data"] == {"userKey": "b"}
        for path, version, at in (("secret/aws", "2", "secret/"), ("deep/kv/team/s", "1", "deep/kv/")):
            data = read_vault(vault, f"sys/internal/ui/mounts/{path}")[1]["data"]
            assert (data["options"], data["path"]) == ({"version": version}, at)
        assert read_vault(vault, "secret/data/none") == (404, {"errors": []}) == read_vault(vault, "deep/kv/none")
        assert read_vault(vault, "none/x") == (
            404,
            {"errors": ['no handler for route "none/x". route entry not found.']},
        )
        status, body = read_vault(vault, "secret/aws")
        assert status == 404 and body["warnings"][0].startswith("Invalid path for a versioned K/V secrets engine.")
        vault.delete("secret/aws")
        status, body = read_vault(vault, "secret/data/aws")
        assert (status, body["data"]["data"]) == (404, None) and body["data"]["metadata"]["deletion_time"]
        vault.put("secret/aws", {"userID": "c"})
        assert read_vault(vault, "secret/data/aws")[1]["data"]["data"] == {"userID": "c"}


def test_vault_refusals() -> None:
    with Vault() as vault:
        vault.put("secret/aws", {"a": "b"})
        vault.mount("secret", 2, namespace="team")
        vault.put("secret/aws", {"a": "team's"}, namespace="team")
        vault.add_token("few", "secret/data/aws")
        assert read_vault(vault, "secret/data/aws", "bad") == (403, {"errors": ["permission denied"]})
        assert read_vault(vault, "secret/data/aws", "few")[0] == 200
        assert "permission denied" in read_vault(vault, "secret/data/other", "few")[1]["errors"][0]
        assert read_vault(vault, "sys/internal/ui/mounts/secret/aws", "few")[0] == 200
        status, body = read_vault(vault, "sys/internal/ui/mounts/none/x")
        assert status == 403 and body["errors"][0].endswith('grant access to path "none/x/"')
        namespace = {"X-Vault-Namespace": "team"}
        assert read_vault(vault, "secret/data/aws", **namespace)[1]["data"]["data"] == {"a": "team's"}
        assert vault.requests[-1].namespace == "team"
        other = {"X-Vault-Namespace": "none"}
        assert read_vault(vault, "secret/data/aws", **other) == (404, {"errors": ["namespace not found"]})
        vault.fail(502, "bad gateway")
        assert [read_vault(vault, "secret/data/aws")[0] for _ in range(2)] == [502, 200]
        vault.sealed = True
        assert read_vault(vault, "secret/data/aws") == (503, {"errors": ["Vault is sealed"]})


def test_vault_tls(tmp_path: Path) -> None:
    cert, key = str(tmp_path / "c.pem"), str(tmp_path / "k.pem")
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    names = ["-subj", "/CN=vault", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*made, "-keyout", key, "-out", cert, *names], check=True, capture_output=True)
    with Vault(tls=(cert, key)) as vault:
        assert vault.url.startswith("https://")
        context = ssl.create_default_context(cafile=cert)
        conn = http.client.HTTPSConnection(vault.url.removeprefix("https://"), context=context, timeout=10)
        conn.request("GET", "/v1/secret/data/none", headers={"X-Vault-Token": vault.token})
        assert conn.getresponse().status == 404
        conn.close()


# -- by hand


def test_main_prints_its_address_and_cleans_up(tmp_path: Path) -> None:
    proc = subprocess.Popen(
        [sys.executable, "-m", "sim", "--listen", "0", "--acl"],
        cwd=TESTS,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    assert proc.stdout is not None
    first = proc.stdout.readline()
    assert first.startswith("sim: NOMAD_ADDR=http://127.0.0.1:")
    assert proc.stdout.readline().startswith("sim: NOMAD_TOKEN=")
    proc.send_signal(signal.SIGTERM)
    assert proc.wait(5) == 0 and list(tmp_path.iterdir()) == []
    proc.stdout.close()


def test_guardian_cleans_up_after_sigkill(tmp_path: Path) -> None:
    proc = subprocess.Popen(
        [sys.executable, "-m", "sim", "--listen", "0"],
        cwd=TESTS,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    assert proc.stdout is not None
    address = proc.stdout.readline().strip().partition("http://")[2]
    conn = http.client.HTTPConnection(address)
    life = tmp_path / "life"
    os.mkfifo(life)
    conn.request("PUT", "/v1/jobs", json.dumps({"Job": job(script=f"exec 3>{life}; echo $$ >&3; exec sleep 1000")}))
    assert conn.getresponse().status == 200
    with life.open() as reader:  # its end is the task's end
        assert int(reader.readline()) > 0
        proc.kill()
        assert reader.read() == ""
    proc.wait()
    proc.stdout.close()


def test_unix_socket(tmp_path: Path) -> None:
    with Sim(unix=str(tmp_path / "n.sock")) as sim:
        assert sim.url == f"unix://{tmp_path}/n.sock"
        conn = http.client.HTTPConnection("x")
        conn.sock = socket.socket(socket.AF_UNIX)
        conn.sock.connect(str(tmp_path / "n.sock"))
        conn.request("GET", "/v1/status/leader")
        assert conn.getresponse().read() == b'"127.0.0.1:4647"'
        conn.close()


def test_small_things() -> None:
    assert [go_duration(n) for n in (0, 3 * 10**9, 90 * 10**9, 1_500_000)] == ["0s", "3s", "1m30s", "1.5ms"]
    assert parse_duration("1m30s") == 90 * 10**9
    assert _version_match("2.0.6", ">= 1.9, < 3") and not _version_match("2.0.6-dev", ">= 2.0.6")
    assert _version_match("1.2.9", "~> 1.2.3") and not _version_match("1.3.0", "~> 1.2.3")
