"""The simulator put together: Cluster lives in the event loop, Sim is its handle for tests (a thread with a loop)."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import shutil
import ssl
import tempfile
import threading
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from aiohttp import web

from .acl import Acl, Token
from .api import Api
from .client import ClientConfig, Clients, TaskRunner
from .control import Control
from .docker import PREDEFINED, Container, FakeDocker
from .faults import ExecFault, Faults, Recorded, Rule
from .process import Guardian
from .scheduler import Scheduler
from .state import Alloc, Json, Node, Store, now_ns
from .volumes import Volumes

T = TypeVar("T")


class Cluster:
    """Servers, clients, dockers and faults of one simulated region. Not thread-safe: loop only."""

    def __init__(self, seed: int = 0, region: str = "global") -> None:
        self.region = region
        self.root = Path(tempfile.mkdtemp(prefix="nsim-")).resolve()
        self.root.chmod(0o755)
        self.guardian = Guardian(self.root)
        self.store = Store(seed)
        self.acl = Acl(self.store)
        self.faults = Faults(seed)
        self.disable_remote_exec = False
        self.dockers: dict[str, FakeDocker] = {}
        self.volumes = Volumes(self.store, self.root)
        self.clients = Clients(
            self.store, self.volumes, self.root, self.guardian, self.root.name, self.dockers, self._terminal
        )
        self.scheduler = Scheduler(self.store, self.volumes, self.clients.on_change)
        self.volumes.on_ready = self.scheduler.unblock
        self.control = Control(self)
        self.api = Api(self)
        self._runner: web.AppRunner | None = None
        self._background: set[asyncio.Future[None]] = set()
        self.url = ""

    # -- serving

    async def start(self, host: str, port: int, unix: str | None, context: ssl.SSLContext | None) -> None:
        await asyncio.gather(*(d.start() for d in self.dockers.values()))
        self._runner = web.AppRunner(self.api.app, access_log=None, handler_cancellation=True, shutdown_timeout=0.2)
        await self._runner.setup()
        if unix is not None:
            await web.UnixSite(self._runner, unix, ssl_context=context).start()
            self.url = f"unix://{unix}"
            return
        site = web.TCPSite(self._runner, host, port, ssl_context=context, backlog=512)
        await site.start()
        bound = self._runner.addresses[0]
        name = f"[{host}]" if ":" in host else host
        self.url = f"{'https' if context else 'http'}://{name}:{bound[1]}"
        for node in self.store.nodes.values():
            node.http_addr = node.http_addr or f"{name}:{bound[1]}"

    async def stop(self) -> None:
        """Kill all processes, close all connections, remove the directory."""
        await self.clients.shutdown()
        if self._runner is not None:
            # open connections are waiting queries and followed logs: nobody is told goodbye
            for handler in list(self._runner.server.connections if self._runner.server else ()):
                if handler.transport is not None:
                    handler.transport.abort()
            await self._runner.cleanup()
        for docker in (*self.dockers.values(), *self.clients.inner.values()):
            await docker.stop()
        for job in self._background:
            job.cancel()
        shutil.rmtree(self.root, ignore_errors=True)
        self.guardian.dismiss()

    # -- nodes

    def add_node(self, name: str = "", **fields: Any) -> Node:
        """A new client; fields as in state.Node (datacenter, pool, cpu, memory, volumes_enabled, attributes…)."""
        index = self.store.apply("nodes")
        node = Node(id=self.store.uuid(), name=name or f"node-{len(self.store.nodes)}", **fields)
        node.create_index = node.modify_index = index
        self.store.nodes[node.id] = node
        self.store.pools.add(node.pool)
        docker = FakeDocker(self.root / f"docker{len(self.dockers)}.sock", self.store.rng.getrandbits(32))
        self.dockers[node.id] = docker
        if self._runner is not None:
            self._later(docker.start())
        self.scheduler.unblock()
        return node

    def _later(self, job: Any) -> None:
        future = asyncio.ensure_future(job)
        self._background.add(future)
        future.add_done_callback(self._background.discard)

    def node(self, key: str = "") -> Node:
        """By id or name; the first one without."""
        for node in self.store.nodes.values():
            if key in ("", node.id, node.name):
                return node
        raise KeyError(f"node {key}")

    def docker(self, key: str = "") -> FakeDocker:
        return self.dockers[self.node(key).id]

    def set_node(self, key: str = "", **fields: Any) -> None:
        """Change a node: status ready, down or disconnected; eligibility; drain; any other field of state.Node."""
        node = self.node(key)
        before = node.status
        for name, value in fields.items():
            if not hasattr(node, name):
                raise KeyError(name)
            setattr(node, name, value)
        if node.drain:
            node.eligibility = "ineligible"
        node.modify_index = self.store.apply("nodes")
        node.updated_ns = now_ns()
        allocs = [a for a in self.store.allocs.values() if a.node is node and not a.terminal]
        if node.status != before:
            self._node_status(node, allocs)
        elif fields.get("drain"):
            for alloc in allocs:
                # a batch job's allocation is stopped at the drain's deadline and not placed again (nomad/drainer)
                batch = alloc.job["Type"] == "batch"
                alloc.transition = {**alloc.transition, "Migrate": True, "MigrateDisablePlacement": batch or None}
            self._evaluate(allocs, "node-drain")
        self.scheduler.unblock()

    def _node_status(self, node: Node, allocs: list[Alloc]) -> None:
        """down: lost, and replaced elsewhere; disconnected: unknown; back: the client reports what it has."""
        if node.status == "disconnected":
            for alloc in allocs:
                alloc.client = "unknown"
                alloc.client_description = "alloc is unknown since its node is disconnected"
                alloc.modify_index = self.store.apply("allocs")
        elif node.status == "ready":
            for alloc in [a for a in self.store.allocs.values() if a.node is node]:
                runner = self.clients.runners.get(alloc.id)
                if runner is None:
                    continue
                if alloc.desired != "run":
                    runner.stop()
                runner.flush()
        self._evaluate(allocs, "node-update")

    def _evaluate(self, allocs: Iterable[Alloc], trigger: str) -> None:
        for namespace, name in sorted({(a.job["Namespace"], a.job["ID"]) for a in allocs}):
            job = self.store.job(namespace, name)
            if job is not None:
                self.scheduler.new_eval(namespace, name, trigger, kind=job["Type"], priority=job["Priority"])

    def hog(self, key: str = "", **resources: int) -> str:
        """Take cpu, memory, disk or cores of a node away; returns the id to give them back with."""
        if unknown := set(resources) - {"cpu", "memory", "disk", "cores"}:
            raise ValueError(f"unknown resource {sorted(unknown)[0]!r}")
        ident = self.store.uuid()
        self.node(key).hogs[ident] = resources
        return ident

    def unhog(self, ident: str) -> None:
        for node in self.store.nodes.values():
            node.hogs.pop(ident, None)
        self.scheduler.unblock()

    # -- jobs

    def deregister(self, namespace: str, name: str, purge: bool) -> Json:
        """Stop, or stop and forget: a purged job's allocations are unknown at once (measured)."""
        store = self.store
        job = store.jobs[(namespace, name)]
        index = store.apply("jobs", "evals")
        if purge:
            del store.jobs[(namespace, name)]
            for alloc in store.allocs_of(namespace, name):
                del store.allocs[alloc.id]
                store.tables["allocs"] = index
                self.clients.destroy(alloc)
        else:
            stopped = {
                **job,
                "Stop": True,
                "Version": job["Version"] + 1,
                "ModifyIndex": index,
                "JobModifyIndex": index,
                "SubmitTime": now_ns(),
            }
            store.jobs[(namespace, name)] = stopped
        ev = self.scheduler.new_eval(
            namespace, name, "job-deregister", kind="service", priority=job["Priority"], index=index
        )
        if purge:
            self.scheduler.unblock()
        return ev

    def stop_alloc(self, alloc: Alloc) -> Json:
        """PUT /v1/allocation/:id/stop: it is migrated, that is stopped and replaced (measured)."""
        alloc.transition = {**alloc.transition, "Migrate": True, "NoShutdownDelay": False, "Reschedule": False}
        job = alloc.job
        return self.scheduler.new_eval(
            job["Namespace"], job["ID"], "alloc-stop", kind=job["Type"], priority=job["Priority"]
        )

    def preempt(self, alloc_id: str, by: str = "") -> None:
        """End an allocation as if another of a higher priority took its place (nomad/structs/plan.go)."""
        alloc = self.store.allocs[alloc_id]
        alloc.preempted_by = by or self.store.uuid()
        alloc.desired, alloc.desired_description = "evict", f"Preempted by alloc ID {alloc.preempted_by}"
        alloc.modify_index = alloc.alloc_modify_index = self.store.apply("allocs")
        alloc.modify_ns = now_ns()
        self.clients.on_change(alloc)
        self._evaluate([alloc], "preemption")

    def _terminal(self, _alloc: Alloc) -> None:
        self.scheduler.unblock()

    def gc(self) -> None:
        """PUT /v1/system/gc: dead jobs, their evaluations and terminal allocations go, on the clients too."""
        store = self.store
        dead = [
            k
            for k, j in store.jobs.items()
            if j["Status"] == "dead" and all(a.client_terminal for a in store.allocs_of(*k))
        ]
        index = store.apply("jobs", "allocs", "evals")
        for key in dead:
            for alloc in store.allocs_of(*key):
                del store.allocs[alloc.id]
            del store.jobs[key]
        for ident in [
            e["ID"]
            for e in store.evals.values()
            if e["Status"] in ("complete", "canceled", "failed") and (e["Namespace"], e["JobID"]) not in store.jobs
        ]:
            del store.evals[ident]
        for ident, runner in list(self.clients.runners.items()):
            if ident not in store.allocs and runner.done.is_set():
                self.clients.collect(ident)
        store.tables.update(jobs=index, allocs=index, evals=index)

    def task(self, alloc_id: str, name: str) -> TaskRunner:
        """A task by allocation id (or its prefix)."""
        for ident, runner in self.clients.runners.items():
            if ident.startswith(alloc_id):
                return runner.tasks[name]
        raise KeyError(f"allocation {alloc_id}")

    def stand_in_calls(self) -> list[str]:
        with contextlib.suppress(FileNotFoundError):
            return self.clients.calls.read_text().splitlines()
        return []


def tls_context(cert: str, key: str, client_ca: str | None) -> ssl.SSLContext:
    """A server context, http/1.1 only as Nomad's; with a CA it wants a client certificate."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(cert, key)
    context.set_alpn_protocols(["http/1.1"])
    if client_ca is not None:
        context.load_verify_locations(client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


class Sim:
    """A simulated Nomad for tests: `with Sim() as sim: …`. All methods may be called from any thread.

    nodes: a number, or a list of dicts with fields of state.Node. acl: switch ACLs on (see `token`).
    csi: CSI plugins that run on all nodes.
    unix: serve on this socket instead of TCP. tls: (certificate file, key file), client_ca: CA file.
    """

    def __init__(
        self,
        *,
        nodes: int | list[Json] = 1,
        seed: int = 0,
        acl: bool = False,
        host: str = "127.0.0.1",
        port: int = 0,
        unix: str | None = None,
        tls: tuple[str, str] | None = None,
        client_ca: str | None = None,
        region: str = "global",
        csi: tuple[str, ...] = ("ceph-csi",),
    ) -> None:
        self._csi = csi
        self._nodes = [{} for _ in range(nodes)] if isinstance(nodes, int) else nodes
        self._seed, self._acl, self._region = seed, acl, region
        self._listen = (host, port, unix)
        self._tls = tls_context(*tls, client_ca) if tls else None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._cluster: Cluster | None = None
        self._started = threading.Event()
        self._quit: asyncio.Event | None = None
        self._error: BaseException | None = None

    # -- life

    def start(self) -> Sim:
        """Serve; returns when connections are accepted."""
        self._thread = threading.Thread(target=self._main, name="sim", daemon=True)
        self._thread.start()
        self._started.wait()
        if self._error is not None:
            raise self._error
        return self

    def stop(self) -> None:
        """End every process and connection and remove the directory; safe to call twice."""
        if self._thread is None or self._loop is None or self._quit is None:
            return
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._quit.set)
        self._thread.join()
        self._thread = None

    def __enter__(self) -> Sim:
        return self.start()

    def __exit__(self, *_exc: object) -> None:
        self.stop()

    def _main(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as exc:  # handed to start()
            self._error = exc
        finally:
            self._started.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._quit = asyncio.Event()
        cluster = self._cluster = Cluster(self._seed, self._region)
        try:
            cluster.acl.enabled = self._acl
            for fields in self._nodes:
                cluster.add_node(**fields)
            for ident in self._csi:
                cluster.volumes.add_plugin(ident)
            await cluster.start(*self._listen, self._tls)
            self._started.set()
            await self._quit.wait()
        finally:
            await cluster.stop()

    def call(self, function: Callable[[Cluster], T]) -> T:
        """Run function(cluster) in the simulator's loop: for what has no method of its own."""
        loop, cluster = self._loop, self._cluster
        if loop is None or cluster is None:
            raise RuntimeError("the simulator is not running")

        async def run() -> T:
            return function(cluster)

        return asyncio.run_coroutine_threadsafe(run(), loop).result()

    # -- what it is

    @property
    def url(self) -> str:
        """NOMAD_ADDR."""
        return self.call(lambda c: c.url)

    @property
    def root(self) -> Path:
        """The simulator's directory: <node>/alloc/<id>/…"""
        return self.call(lambda c: c.root)

    @property
    def client(self) -> ClientConfig:
        """Images, delays: set its attributes."""
        return self.call(lambda c: c.clients.config)

    def job(self, name: str, namespace: str = "default") -> Json | None:
        return self.call(lambda c: _copy(c.store.job(namespace, name)))

    def allocs(self, name: str, namespace: str = "default") -> list[Json]:
        """Allocation stubs of a job, oldest first."""
        return self.call(
            lambda c: [
                _copy(a.stub()) for a in sorted(c.store.allocs_of(namespace, name), key=lambda a: a.create_index)
            ]
        )

    def wait_for(self, check: Callable[[Cluster], T], timeout: float = 10.0) -> T:
        """Wait (without polling) until check(cluster) is true after some change of state; returns its value."""

        async def run(cluster: Cluster) -> T:
            store = cluster.store
            while not (value := check(cluster)):
                await store.query(lambda: (store.index, None), store.index, 0)
            return value

        return self._await(run, timeout)

    def wait_alloc(self, name: str, *status: str, namespace: str = "default", timeout: float = 10.0) -> Json:
        """Wait until the newest allocation of a job has one of the client statuses; returns its stub."""

        def check(cluster: Cluster) -> Json | None:
            rows = sorted(cluster.store.allocs_of(namespace, name), key=lambda a: a.create_index)
            return _copy(rows[-1].stub()) if rows and rows[-1].client in status else None

        found = self.wait_for(check, timeout)
        assert found is not None
        return found

    def wait_log(
        self, alloc: str, text: str, task: str = "machine", kind: str = "stdout", timeout: float = 10.0
    ) -> str:
        """Wait until a task's log holds the text; returns the log."""

        async def run(cluster: Cluster) -> str:
            log = cluster.task(alloc, task).logs[kind]
            while text not in (seen := log.path.read_text() if log.size else ""):
                await log.wait()
            return seen

        return self._await(run, timeout)

    def wait_done(self, alloc: str, timeout: float = 10.0) -> None:
        """Wait until nothing of an allocation runs any more, poststop included, whatever the servers know of it."""

        async def run(cluster: Cluster) -> None:
            await cluster.clients.runners[alloc].done.wait()

        self._await(run, timeout)

    def _await(self, function: Callable[[Cluster], Awaitable[T]], timeout: float) -> T:
        loop, cluster = self._loop, self._cluster
        if loop is None or cluster is None:
            raise RuntimeError("the simulator is not running")

        async def run() -> T:
            return await asyncio.wait_for(function(cluster), timeout)

        return asyncio.run_coroutine_threadsafe(run(), loop).result()

    # -- the record

    @property
    def requests(self) -> list[Recorded]:
        """All requests so far (not those to /_sim/)."""
        return self.call(lambda c: list(c.faults.requests))

    def wait_request(self, match: str, timeout: float = 10.0) -> Recorded:
        """Wait for a request whose "METHOD /path?query" matches (one that came before counts too)."""
        return self._await(lambda c: c.faults.wait_request(match), timeout)

    def clear_requests(self) -> None:
        self.call(lambda c: c.faults.requests.clear())

    def stand_in_calls(self) -> list[str]:
        """Calls of apt-get, apk, dnf and update-ca-certificates by tasks."""
        return self.call(lambda c: c.stand_in_calls())

    # -- faults

    def rule(self, match: str, action: str = "respond", **fields: Any) -> int:
        """Add a rule; see faults.Rule. match is searched in "METHOD /path?query"."""
        return self.call(lambda c: c.faults.add_rule(Rule(match, action, **fields)))

    def exec_fault(self, kind: str, **fields: Any) -> int:
        """Add an exec fault; see faults.ExecFault (times=1 unless told; None is for ever)."""
        return self.call(lambda c: c.faults.add_exec(ExecFault(kind, **fields)))

    def clear_faults(self) -> None:
        self.call(lambda c: c.faults.clear())

    # -- nodes

    def add_node(self, name: str = "", **fields: Any) -> str:
        return self.call(lambda c: c.add_node(name, **fields).id)

    def node_id(self, key: str = "") -> str:
        return self.call(lambda c: c.node(key).id)

    def set_node(self, node: str = "", **fields: Any) -> None:
        """status="down"|"disconnected"|"ready", eligibility="ineligible", drain=True (at its deadline), volumes_enabled=…"""
        self.call(lambda c: c.set_node(node, **fields))

    def hog(self, node: str = "", **resources: int) -> str:
        return self.call(lambda c: c.hog(node, **resources))

    def unhog(self, ident: str) -> None:
        self.call(lambda c: c.unhog(ident))

    def gc(self) -> None:
        self.call(lambda c: c.gc())

    # -- tasks

    def preempt(self, alloc: str, by: str = "") -> None:
        """Evict an allocation; hog the node first if its job shall not be placed again at once."""
        self.call(lambda c: c.preempt(alloc, by))

    def oom_kill(self, alloc: str, task: str = "machine") -> None:
        self.call(lambda c: c.task(alloc, task).oom_kill())

    def restart_task(self, alloc: str, task: str = "machine") -> None:
        self.call(lambda c: c.task(alloc, task).restart())

    def signal_task(self, alloc: str, number: int = 15, task: str = "machine") -> None:
        """What `kill 1` does from inside a container."""
        self.call(lambda c: c.task(alloc, task).signal(number))

    def log(self, alloc: str, task: str = "machine", kind: str = "stdout") -> str:
        return self.call(
            lambda c: c.task(alloc, task).logs[kind].path.read_text() if c.task(alloc, task).logs[kind].size else ""
        )

    # -- volumes

    def set_plugin(self, ident: str = "ceph-csi", **fields: Any) -> None:
        """Add a CSI plugin or change one: see volumes.CsiPlugin for what can be wrong with it."""
        self.call(lambda c: c.volumes.add_plugin(ident, **fields))

    def remove_plugin(self, ident: str = "ceph-csi") -> None:
        self.call(lambda c: c.volumes.remove_plugin(ident))

    def volume(self, ident: str, namespace: str = "default") -> Json | None:
        """A CSI volume by id or a host volume by name or id, as GET answers it; None when there is none."""
        return self.call(lambda c: _copy(c.volumes.find(ident, namespace)))

    def volume_dir(self, ident: str, namespace: str = "default") -> Path:
        """The directory behind a volume, by a CSI volume's id or a host volume's name or id; KeyError when there is none."""
        return self.call(lambda c: c.volumes.directory(ident, namespace))

    def volume_dirs(self) -> list[Path]:
        """Every directory that a storage backend or a host volume plugin holds, registered with Nomad or not."""
        return self.call(lambda c: c.volumes.directories())

    def release_claims(self, alloc: str) -> None:
        """Release an allocation's claims now, where claim_delay holds them."""
        self.call(lambda c: c.volumes.release(alloc))

    def lose_volume(self, ident: str, namespace: str = "default") -> None:
        """Delete a CSI volume in its backend while Nomad goes on knowing it."""
        self.call(lambda c: c.volumes.lose_backing(ident, namespace))

    # -- docker

    def docker_socket(self, node: str = "") -> Path:
        return self.call(lambda c: c.docker(node).path)

    def containers(self, node: str = "") -> list[Container]:
        return self.call(lambda c: list(c.docker(node).containers.values()))

    def docker_calls(self, node: str = "") -> list[tuple[str, str]]:
        return self.call(lambda c: list(c.docker(node).calls))

    def add_container(self, node: str = "", **fields: Any) -> str:
        """See docker.FakeDocker.add: name, image, mounts, labels, networks, state."""
        return self.call(lambda c: c.docker(node).add(**fields))

    def add_network(self, name: str, node: str = "", labels: dict[str, str] | None = None) -> str:
        return self.call(lambda c: c.docker(node).add_network(name, labels))

    def docker_networks(self, node: str = "") -> list[str]:
        """Names of the networks that a test or a machine made."""
        return self.call(lambda c: [n["Name"] for n in c.docker(node).networks.values() if n["Name"] not in PREDEFINED])

    def docker_volumes(self, node: str = "") -> list[str]:
        return self.call(lambda c: list(c.docker(node).volumes))

    def add_docker_volume(self, name: str = "", node: str = "", labels: dict[str, str] | None = None) -> str:
        return self.call(lambda c: c.docker(node).add_volume(name, labels))

    # -- ACL, namespaces, pools

    def token(self, secret: str = "", **fields: Any) -> Token:
        """Add a token: management=True, or policy={"default": ["read-job", …]}, node="read", agent="read"."""
        return self.call(lambda c: c.acl.add(secret, **fields))

    def add_namespace(self, name: str) -> None:
        self.call(lambda c: c.store.namespaces.update({name: ""}))

    def add_pool(self, name: str) -> None:
        self.call(lambda c: c.store.pools.add(name))


def _copy(value: T) -> T:
    """A snapshot that the loop will not change under the reader."""
    return copy.deepcopy(value)
