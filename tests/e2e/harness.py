"""What the end-to-end tests run the executable with, and against: a simulated Nomad or a real one."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar

TESTS = Path(__file__).resolve().parent.parent
PROJECT = TESTS.parent
sys.path.insert(0, str(TESTS))

from sim import Sim  # noqa: E402

Json = dict[str, Any]
Stdin = bytes | int | IO[bytes]
T = TypeVar("T")

LIMIT = 60.0
"""Seconds after which a call counts as hung; nothing here takes that long."""
SANITIZER = 99
"""What ASan and UBSan end the process with (see Provider)."""
IMAGE = "ubuntu:22.04"


def until(check: Callable[[], T], timeout: float = LIMIT) -> T:
    """Ask until the answer is true; only for what nobody tells (Docker, the file system)."""
    deadline = time.monotonic() + timeout
    while not (value := check()):
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.02)
    return value


@dataclass(frozen=True)
class Done:
    """A call that has ended."""

    code: int
    stdout: bytes
    stderr: bytes

    @property
    def out(self) -> str:
        return self.stdout.decode()

    @property
    def err(self) -> str:
        return self.stderr.decode()

    @property
    def error(self) -> str:
        """From `error: ` on: the message with its lines, and the hint."""
        found = re.search(r"^error: ", self.err, re.MULTILINE)
        return self.err[found.end() :] if found else ""


class Provider:
    """The executable, in an environment of its own."""

    def __init__(self, path: Path, home: Path) -> None:
        self.path = path
        self.home = home
        self.sanitized = b"__asan_init" in path.read_bytes()

    def environment(self, env: Mapping[str, str]) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "LC_ALL": "C.UTF-8",
            "ASAN_OPTIONS": f"exitcode={SANITIZER}:detect_leaks=1",
            "UBSAN_OPTIONS": f"exitcode={SANITIZER}:halt_on_error=1",
            **env,
        }

    def popen(
        self, *args: str, env: Mapping[str, str], stdin: int | IO[bytes] = subprocess.PIPE, **more: Any
    ) -> subprocess.Popen[bytes]:
        more.setdefault("stdout", subprocess.PIPE)
        more.setdefault("stderr", subprocess.PIPE)
        return subprocess.Popen([self.path, *args], env=self.environment(env), stdin=stdin, **more)

    def run(
        self, *args: str, env: Mapping[str, str] | None = None, stdin: Stdin = b"", timeout: float = LIMIT, **more: Any
    ) -> Done:
        given = stdin if isinstance(stdin, bytes) else None
        with self.popen(
            *args, env=env or {}, stdin=subprocess.PIPE if isinstance(stdin, bytes) else stdin, **more
        ) as process:
            return self.finish(process, given, timeout)

    @staticmethod
    def finish(process: subprocess.Popen[bytes], given: bytes | None = None, timeout: float = LIMIT) -> Done:
        """Wait for the end; one that hangs is killed, and fails the test."""
        try:
            out, err = process.communicate(given, timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            raise AssertionError(f"{process.args!r} hangs; stderr so far: {err!r}") from None
        done = Done(process.returncode, out or b"", err or b"")
        assert done.code != SANITIZER, done.err
        return done


class Machine:
    """One MACHINE_ID with its folder, as DevPod gives them to the provider."""

    def __init__(self, cluster: Cluster, provider: Provider, name: str, folder: Path) -> None:
        self.cluster = cluster
        self.provider = provider
        self.name = name
        self.folder = folder
        self.env = {**cluster.env, "MACHINE_ID": name, "MACHINE_FOLDER": str(folder)}
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def dir(self) -> Path:
        """Its directory on the node."""
        return self.cluster.host_dir / self.name

    @property
    def cleanup(self) -> str:
        return f"devpod-cleanup-{self.name}"

    @property
    def state(self) -> Path:
        return self.folder / "nomad-machine.json"

    def popen(self, *args: str, env: Mapping[str, str] | None = None, **more: Any) -> subprocess.Popen[bytes]:
        return self.provider.popen(*args, env={**self.env, **(env or {})}, **more)

    def run(self, *args: str, env: Mapping[str, str] | None = None, **more: Any) -> Done:
        return self.provider.run(*args, env={**self.env, **(env or {})}, **more)

    def ok(self, *args: str, **more: Any) -> Done:
        done = self.run(*args, **more)
        assert done.code == 0, f"{args[0]}: exit code {done.code}: {done.err}"
        return done

    def fails(self, *args: str, code: int = 1, **more: Any) -> str:
        """Its error, the hint included; stdout must be empty."""
        done = self.run(*args, **more)
        assert (done.code, done.out) == (code, ""), done
        return done.error

    def status(self) -> str:
        """Its word; the newline is checked here."""
        done = self.ok("status")
        assert done.out.endswith("\n") and done.out.count("\n") == 1, done.out
        return done.out[:-1]

    def command(self, text: str, stdin: Stdin = b"", **more: Any) -> Done:
        return self.run("command", env={"COMMAND": text}, stdin=stdin, **more)

    @property
    def volume(self) -> str:
        return f"devpod-{self.name}"

    def nothing_left(self) -> None:
        """No job, nothing running, no volume, no container, no directory, no state file."""
        cluster = self.cluster
        assert cluster.volume(self.volume) is None
        for job in (self.name, self.cleanup):
            assert cluster.job(job) is None, job
            cluster.wait_quiet(job)
        until(lambda: not cluster.containers(self.dir))
        assert not cluster.exists(self.dir), f"{self.dir} is still there"
        assert not self.state.exists()


class Cluster(ABC):
    """What both Nomads have in common."""

    kind: str
    env: dict[str, str]
    host_dir: Path

    def prepare(self, provider: Provider, tmp: Path) -> None:
        self.provider = provider
        self.tmp = tmp
        self.machines: list[Machine] = []

    def machine(self, name: str = "", **env: str) -> Machine:
        name = name or f"e2e-{secrets.token_hex(4)}"
        machine = Machine(self, self.provider, name, self.tmp / "folders" / name)
        machine.env.update(env)
        self.machines.append(machine)
        return machine

    def running(self, name: str) -> Json:
        """The newest allocation, which must be running."""
        newest = max(self.allocs(name), key=lambda a: a["CreateIndex"])
        assert newest["ClientStatus"] == "running"
        return newest

    @abstractmethod
    def job(self, name: str) -> Json | None: ...

    @abstractmethod
    def allocs(self, name: str) -> list[Json]: ...

    @abstractmethod
    def volume(self, name: str) -> Json | None:
        """The CSI or host volume of that name, as Nomad knows it."""

    @abstractmethod
    def backing(self, volume: Json) -> bool:
        """The storage still has that volume's data."""

    @abstractmethod
    def delete_volume(self, name: str) -> None:
        """By somebody else, with Nomad's own means."""

    @abstractmethod
    def gc(self) -> None:
        """Let Nomad forget what is dead."""

    @abstractmethod
    def put_job(self, job: Json) -> None: ...

    @abstractmethod
    def wait_alloc(self, name: str, *status: str) -> Json: ...

    @abstractmethod
    def wait_quiet(self, name: str) -> None:
        """Wait until nothing of the job runs, whatever the servers know of it."""

    @abstractmethod
    def restart(self, alloc: str) -> None:
        """Restart the task in place, and wait until it runs again."""

    @abstractmethod
    def add_devcontainer(self, source: Path | None = None, **labels: str) -> str:
        """A container that Nomad knows nothing of, with `source` mounted; labels as in label()."""

    @abstractmethod
    def containers(self, directory: Path) -> dict[str, str]:
        """Ids and states of the containers that have something below the directory mounted."""

    @abstractmethod
    def container_state(self, ident: str) -> str:
        """running, exited, or "" where there is none."""

    def exists(self, path: Path) -> bool:
        return path.exists()

    @abstractmethod
    def close(self) -> None:
        """Leave nothing, even when the test failed."""


def label(name: str) -> str:
    """A keyword as a label's name: _ stands for a dot, __ for itself."""
    return name.replace("__", " ").replace("_", ".").replace(" ", "_")


def below(mounts: list[str], directory: Path) -> bool:
    return any(m == str(directory) or m.startswith(f"{directory}/") for m in mounts)


class SimCluster(Sim, Cluster):
    """The simulator; its nodes share this computer's file system."""

    kind = "sim"

    def __init__(self, provider: Provider, tmp: Path, **options: Any) -> None:
        Sim.__init__(self, **options)
        self.prepare(provider, tmp)
        self.host_dir = tmp / "machines"
        self.start()
        self.env = {"NOMAD_ADDR": self.url, "NOMAD_HOST_DIR": str(self.host_dir), "NOMAD_IMAGE": IMAGE}

    def put_job(self, job: Json) -> None:
        put_job(self.url, job)

    def wait_quiet(self, name: str) -> None:
        def idents() -> list[str]:
            return self.call(lambda c: [i for i, r in c.clients.runners.items() if r.alloc.job["ID"] == name])

        for ident in idents():
            self.wait_done(ident)

    def restart(self, alloc: str) -> None:
        self.restart_task(alloc)
        self.wait_for(lambda c: c.task(alloc, "machine").state["Restarts"] == 1 and c.task(alloc, "machine").running)

    def add_devcontainer(self, source: Path | None = None, **labels: str) -> str:
        mounts = [{"Source": str(source), "Destination": "/w"}] if source else []
        return self.add_container(mounts=mounts, labels={label(k): v for k, v in labels.items()})

    def volume(self, name: str) -> Json | None:  # type: ignore[override]
        return Sim.volume(self, name)

    def backing(self, volume: Json) -> bool:
        return any(path.name == (volume.get("ExternalID") or volume["ID"]) for path in self.volume_dirs())

    def delete_volume(self, name: str) -> None:
        volume = self.volume(name)
        assert volume
        path = f"csi/{name}" if "ExternalID" in volume else f"host/{volume['ID']}"
        delete(f"{self.url}/v1/volume/{path}/delete")

    def _all(self) -> dict[str, Any]:
        return self.call(lambda c: {b.id: b for d in c.dockers.values() for b in d.containers.values()})

    def containers(self, directory: Path = Path("/"), node: str = "") -> dict[str, str]:  # type: ignore[override]
        return {i: b.state for i, b in self._all().items() if below([m["Source"] for m in b.mounts], directory)}

    def container_state(self, ident: str) -> str:
        box = self._all().get(ident)
        return box.state if box else ""

    def close(self) -> None:
        self.stop()

    def stand_in(self, name: str, script: str) -> None:
        """A program that a task finds before the computer's own."""
        path = self.call(lambda c: c.clients.bin) / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    # -- what only a simulator can tell

    def wait_for_requests(self, count: int) -> None:
        """Wait until so many requests have come, or no more do."""
        with contextlib.suppress(TimeoutError):
            self._await(lambda c: _enough(c, count), 2)

    def asked(self, match: str = "") -> list[str]:
        """The requests so far, "METHOD /path?query" each."""
        return [t for r in self.requests if re.search(match, t := f"{r.method} {r.target}")]


async def _enough(cluster: Any, count: int) -> None:
    while len(cluster.faults.requests) < count:
        await cluster.faults._arrived.wait()


def sim_of(machine: Machine) -> SimCluster:
    assert isinstance(machine.cluster, SimCluster)
    return machine.cluster


def delete(url: str) -> None:
    with urllib.request.urlopen(urllib.request.Request(url, method="DELETE"), timeout=LIMIT):
        pass


def put_job(url: str, job: Json) -> None:
    body = json.dumps({"Job": job}).encode()
    request = urllib.request.Request(f"{url}/v1/jobs", body, method="PUT")
    with urllib.request.urlopen(request, timeout=LIMIT):
        pass


def foreign_job(name: str, **meta: str) -> Json:
    """A job that anybody may have registered."""
    task = {"Name": "web", "Driver": "docker", "Config": {"image": IMAGE, "command": "sleep", "args": ["86400"]}}
    return {
        "ID": name,
        "Name": name,
        "Type": "batch",
        "Datacenters": ["*"],
        "Meta": meta,
        "TaskGroups": [{"Name": "web", "Count": 1, "Tasks": [task]}],
    }


class NomadCluster(Cluster):
    """A real Nomad whose only client is this computer."""

    kind = "nomad"

    def __init__(self, provider: Provider, tmp: Path, url: str) -> None:
        self.prepare(provider, tmp)
        self.url = url
        self.host_dir = Path("/var/lib/devpod-workspaces")
        self.env = {**{k: v for k, v in os.environ.items() if k.startswith("NOMAD_")}, "NOMAD_IMAGE": IMAGE}
        self.boxes: list[str] = []
        self.dirs: list[Path] = []

    def http(self, method: str, path: str, timeout: float = LIMIT) -> tuple[int, Any]:
        request = urllib.request.Request(self.url + path, method=method)
        request.add_header("X-Nomad-Token", os.environ.get("NOMAD_TOKEN", ""))
        try:
            with urllib.request.urlopen(request, timeout=timeout) as reply:
                return reply.status, json.load(reply)
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def job(self, name: str) -> Json | None:
        status, job = self.http("GET", f"/v1/job/{name}")
        assert status in (200, 404), job
        return job if status == 200 else None

    def allocs(self, name: str) -> list[Json]:
        status, allocs = self.http("GET", f"/v1/job/{name}/allocations")
        assert status == 200, allocs
        return sorted(allocs, key=lambda a: a["CreateIndex"])

    def put_job(self, job: Json) -> None:
        put_job(self.url, job)

    def wait_alloc(self, name: str, *status: str) -> Json:
        def newest() -> Json | None:
            allocs = self.allocs(name)
            return allocs[-1] if allocs and allocs[-1]["ClientStatus"] in status else None

        found = until(newest)
        assert found is not None
        return found

    def wait_quiet(self, name: str) -> None:
        def quiet() -> bool:
            _, rows = self.http("GET", f'/v1/allocations?filter={urllib.parse.quote(f"""JobID == "{name}" """)}')
            return all(a["ClientStatus"] in ("complete", "failed", "lost") for a in rows)

        until(quiet)

    def volume(self, name: str) -> Json | None:
        status, volume = self.http("GET", f"/v1/volume/csi/{name}")
        if status == 200:
            return dict(volume)
        _, found = self.http("GET", f'/v1/volumes?type=host&filter={urllib.parse.quote(f"""Name == "{name}" """)}')
        return self.http("GET", f"/v1/volume/host/{found[0]['ID']}")[1] if found else None

    def backing(self, volume: Json) -> bool:
        if "ExternalID" not in volume:
            return Path(volume["HostPath"]).exists()
        (plugin,) = self.docker("ps", "-q", "--filter=name=^plugin-").split()
        return volume["ExternalID"] in self.docker("exec", plugin, "ls", "/csi-data-dir").split()

    def delete_volume(self, name: str) -> None:
        volume = self.volume(name)
        assert volume
        path = f"csi/{name}" if "ExternalID" in volume else f"host/{volume['ID']}"
        delete(f"{self.url}/v1/volume/{path}/delete")

    def gc(self) -> None:
        request = urllib.request.Request(f"{self.url}/v1/system/gc", method="PUT")
        with urllib.request.urlopen(request, timeout=LIMIT):  # its answer is empty
            pass

    def restart(self, alloc: str) -> None:
        def again() -> bool:
            state = self.http("GET", f"/v1/allocation/{alloc}")[1]["TaskStates"]["machine"]
            return bool(state["Restarts"] == 1 and state["State"] == "running")

        request = urllib.request.Request(f"{self.url}/v1/client/allocation/{alloc}/restart", b"{}", method="PUT")
        with urllib.request.urlopen(request, timeout=LIMIT):
            until(again)

    def docker(self, *args: str) -> str:
        done = subprocess.run(["docker", *args], capture_output=True, text=True, timeout=LIMIT, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def add_devcontainer(self, source: Path | None = None, **labels: str) -> str:
        args = ["--label=e2e=1", *(f"--label={label(k)}={v}" for k, v in labels.items())]
        if source:
            self.dirs.append(self.host_dir / source.relative_to(self.host_dir).parts[0])
            source.mkdir(parents=True, exist_ok=True)
            args.append(f"--volume={source}:/w")
        box = self.docker("run", "--detach", "--init", *args, IMAGE, "sleep", "86400").strip()
        self.boxes.append(box)
        return box

    def containers(self, directory: Path) -> dict[str, str]:
        rows = self.docker("ps", "-a", "--no-trunc", "--format", "{{.ID}}\t{{.State}}\t{{.Mounts}}").splitlines()
        fields = [row.split("\t") for row in rows]
        return {ident: state for ident, state, mounts in fields if below(mounts.split(","), directory)}

    def container_state(self, ident: str) -> str:
        rows = self.docker("ps", "-a", "--no-trunc", f"--filter=id={ident}", "--format", "{{.State}}").split()
        return rows[0] if rows else ""

    def close(self) -> None:
        for machine in self.machines:
            for job in (machine.name, machine.cleanup):
                self.http("DELETE", f"/v1/job/{job}")
                self.wait_quiet(job)
                self.http("DELETE", f"/v1/job/{job}?purge=true")
            with contextlib.suppress(AssertionError, urllib.error.HTTPError):
                self.delete_volume(machine.volume)
            self.boxes += self.containers(machine.dir)
            self.dirs.append(machine.dir)
        for box in self.boxes:
            with contextlib.suppress(AssertionError):  # Docker may be removing it
                self.docker("rm", "--force", "--volumes", box)
        for path in self.dirs:
            shutil.rmtree(path, ignore_errors=True)
