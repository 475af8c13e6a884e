"""The HTTP API: routes, status codes and texts of command/agent, blocking queries, logs and files."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gzip
import json
import mimetypes
import re
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiohttp import web

from .client import AllocRunner, DriverError, TaskRunner
from .exec import CloseWith, Session, parse_bool, parse_command
from .faults import Recorded, Rule
from .state import (
    Alloc,
    Json,
    NomadError,
    canonical_job,
    dump,
    now_ns,
    omit_empty,
    parse_duration,
    spec_changed,
    validate_job,
)
from .state import rfc3339 as timestamp
from .volume_api import VolumeApi

if TYPE_CHECKING:
    from .server import Cluster

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

HEARTBEAT = 1.0
"""Frames of a followed log: an empty one every second (client/fs_endpoint.go)."""


def _uuid_checked(ident: str, what: str) -> str:
    """A short or malformed id is a 500 of the state store (measured)."""
    if len(ident) != 36:
        raise NomadError(500, f"{what} lookup failed: index error: UUID must be 36 characters")
    return ident


def _go_json(text: bytes) -> Any:
    """Decode a request body; the errors of Go's decoder for the usual mistakes."""
    if not text.strip():
        raise NomadError(400, "Request body is empty" if not text else "EOF")
    try:
        return json.loads(text)
    except ValueError as exc:
        pos = getattr(exc, "pos", 0)
        if pos >= len(text.rstrip()):
            raise NomadError(400, "unexpected EOF") from None
        char = text.decode(errors="replace")[pos]
        where = "object key string" if "property name" in str(exc) else "value"
        if "delimiter" in str(exc):
            raise NomadError(400, f"invalid character '{char}' after object key:value pair") from None
        raise NomadError(400, f"invalid character '{char}' looking for beginning of {where}") from None


_KINDS = {str: "string", bool: "bool", int: "number", float: "number", list: "array", dict: "object"}


def _check_types(job: Json) -> None:
    """A few fields whose wrong type Go refuses while decoding."""
    wants = {"ID": str, "Name": str, "Type": str, "Priority": int, "NodePool": str, "Namespace": str}
    for key, kind in wants.items():
        value = job.get(key)
        if value is not None and (not isinstance(value, kind) or isinstance(value, bool)):
            name = _KINDS.get(type(value), "object")
            raise NomadError(
                400,
                f"json: cannot unmarshal {name} into Go struct field Job.Job.{key} of type "
                f"{'string' if kind is str else 'int'}",
            )
    for value in (job.get("Meta") or {}).values():
        if not isinstance(value, str):
            name = _KINDS.get(type(value), "object")
            raise NomadError(400, f"json: cannot unmarshal {name} into Go struct field Job.Job.Meta of type string")


class Api:
    """One aiohttp application over one cluster."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.store = cluster.store
        self.acl = cluster.acl
        self.app = web.Application(middlewares=[self._middleware], client_max_size=64 << 20)
        self.app.on_response_prepare.append(self._no_server)
        self._routes()

    @staticmethod
    async def _no_server(_request: web.Request, response: web.StreamResponse) -> None:
        """Nomad does not say who it is."""
        response.headers.popall("Server", None)

    def _routes(self) -> None:
        table: list[tuple[str, dict[str, Handler]]] = [
            ("/v1/status/leader", {"GET": self.leader}),
            ("/v1/agent/self", {"GET": self.agent_self}),
            ("/v1/acl/token/self", {"GET": self.token_self}),
            ("/v1/acl/policies", {"GET": self.policies}),
            ("/v1/acl/policy/{name}", {"GET": self.policy}),
            ("/v1/namespaces", {"GET": self.namespaces}),
            ("/v1/namespace/{name}", {"GET": self.namespace}),
            ("/v1/nodes", {"GET": self.nodes}),
            ("/v1/node/{id}", {"GET": self.node}),
            ("/v1/jobs", {"GET": self.jobs, "PUT": self.register, "POST": self.register}),
            ("/v1/evaluation/{id}", {"GET": self.evaluation}),
            ("/v1/evaluation/{id}/allocations", {"GET": self.evaluation_allocs}),
            ("/v1/allocation/{id}", {"GET": self.allocation}),
            ("/v1/allocation/{id}/stop", {"PUT": self.alloc_stop, "POST": self.alloc_stop}),
            ("/v1/client/allocation/{id}/restart", {"PUT": self.alloc_restart, "POST": self.alloc_restart}),
            ("/v1/client/allocation/{id}/exec", {"GET": self.exec}),
            ("/v1/client/fs/logs/{id}", {"GET": self.logs}),
            ("/v1/client/fs/stat/{id}", {"GET": self.fs_stat}),
            ("/v1/client/fs/ls/{id}", {"GET": self.fs_ls}),
            ("/v1/client/fs/cat/{id}", {"GET": self.fs_cat}),
            ("/v1/system/gc", {"PUT": self.gc, "POST": self.gc}),
            *VolumeApi(self).table(),
            # a job's id may hold slashes: what follows it is looked for from the end
            ("/v1/job/{path:.+}", dict.fromkeys(("GET", "PUT", "POST", "DELETE"), self.job_path)),
        ]
        for path, methods in table:
            self.app.router.add_route("*", path, self._by_method(methods))
        self.app.router.add_route("*", "/_sim/{path:.*}", self.cluster.control.handle)
        self.app.router.add_route("*", "/{path:.*}", self._unknown)

    @staticmethod
    def _by_method(methods: dict[str, Handler]) -> Handler:
        async def call(request: web.Request) -> web.StreamResponse:
            handler = methods.get(request.method)
            if handler is None:
                raise NomadError(405, "Invalid method")
            return await handler(request)

        return call

    @staticmethod
    async def _unknown(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=404)

    # -- the frame around every request

    @web.middleware
    async def _middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path.startswith("/_sim/"):
            return await handler(request)
        record = Recorded(
            request.method, request.path, dict(request.query), dict(request.headers), target=request.path_qs
        )
        self.cluster.faults.record(record)
        if request.can_read_body:
            record.body = (await request.read()).decode(errors="replace")
        rule = self.cluster.faults.take_rule(request.method, request.path_qs)
        if rule is not None:
            answer = await self._fault(request, rule)
            if answer is not None:
                record.status = answer.status
                return answer
        upgrade = request.headers.get("Upgrade", "").lower() == "websocket"
        try:
            self._region(request)
            answer = await handler(request)
        except NomadError as exc:
            if upgrade and request.path.endswith("/exec"):
                answer = await self._close(request, 1011 if exc.code == 500 else 1008, exc.text)
            else:
                answer = web.Response(status=exc.code, body=exc.text.encode(), headers=self._headers(exc))
                answer.content_type = "text/plain"
                answer.charset = "utf-8"
        record.status = answer.status
        if isinstance(answer, web.Response) and rule is not None and rule.action == "cut_body":
            return await self._cut_body(request, answer, rule)
        return answer

    @staticmethod
    def _headers(exc: NomadError) -> dict[str, str]:
        return {"Vary": "Accept-Encoding", **getattr(exc, "headers", {})}

    async def _fault(self, request: web.Request, rule: Rule) -> web.StreamResponse | None:
        if rule.delay:
            await asyncio.sleep(rule.delay)
        if rule.action in ("delay", "cut_body"):
            return None
        if rule.action == "respond":
            answer = web.Response(status=rule.status, body=rule.body.encode(), headers=rule.headers)
            if "Content-Type" not in rule.headers:
                answer.content_type = "text/plain"
                answer.charset = "utf-8"
            return answer
        if rule.action == "ws_close":
            return await self._close(request, rule.code, rule.reason)
        transport = request.transport
        if transport is not None:
            if rule.action == "garbage":
                transport.write(rule.body.encode("latin-1", "replace") or b"\x00\xff\x16\x03garbage\r\n\r\n")
                transport.close()
            else:
                transport.abort()
        return web.Response(status=500)

    @staticmethod
    async def _cut_body(request: web.Request, answer: web.Response, rule: Rule) -> web.StreamResponse:
        body = answer.body if isinstance(answer.body, bytes) else b""
        out = web.StreamResponse(status=answer.status, headers=answer.headers)
        out.content_length = len(body)
        await out.prepare(request)
        await out.write(body[: rule.after])
        if request.transport is not None:
            request.transport.close()
        return out

    async def _close(self, request: web.Request, code: int, reason: str) -> web.StreamResponse:
        ws = web.WebSocketResponse(timeout=0.5)
        await ws.prepare(request)
        await ws.close(code=code, message=reason.encode()[:123])
        return ws

    def _region(self, request: web.Request) -> None:
        if request.query.get("region", self.cluster.region) != self.cluster.region:
            raise NomadError(500, "No path to region")

    @staticmethod
    def _token(request: web.Request) -> str:
        if given := request.headers.get("X-Nomad-Token", "").strip():
            return given
        scheme, _, value = request.headers.get("Authorization", "").partition(" ")
        return value.strip() if scheme.lower() == "bearer" else ""

    @staticmethod
    def _ns(request: web.Request) -> str:
        return request.query.get("namespace") or "default"

    def _allow(self, request: web.Request, *capabilities: str, namespace: str | None = None) -> None:
        self.acl.check(self._token(request), namespace or self._ns(request), *capabilities)

    @staticmethod
    def _json(request: web.Request, value: Any, index: int | None = None, *, meta: bool = True) -> web.Response:
        headers = {"Vary": "Accept-Encoding"}
        if index is not None:
            headers["X-Nomad-Index"] = str(index)
            if meta:
                headers["X-Nomad-Knownleader"] = "true"
                headers["X-Nomad-Lastcontact"] = "0"
        body = dump(value)
        if len(body) >= 1400 and "gzip" in request.headers.get("Accept-Encoding", ""):
            body = gzip.compress(body, 1)
            headers["Content-Encoding"] = "gzip"
        return web.Response(body=body, headers=headers, content_type="application/json")

    async def _query(self, request: web.Request, run: Callable[[], tuple[int, Any]], missing: str = "") -> web.Response:
        """A blocking query; None with `missing` is a 404 that carries the index."""
        wait = index = 0
        try:
            if text := request.query.get("wait"):
                wait = parse_duration(text)
        except ValueError:
            raise NomadError(400, "Invalid wait time") from None
        if text := request.query.get("index"):
            if not text.isdigit():
                raise NomadError(400, "Invalid index")
            index = int(text)
        at, value = await self.store.query(run, index, wait)
        if value is None and missing:
            error = NomadError(404, missing)
            error.headers = {"X-Nomad-Index": str(at), "X-Nomad-Knownleader": "true", "X-Nomad-Lastcontact": "0"}  # type: ignore[attr-defined]
            raise error
        return self._json(request, value, at)

    @staticmethod
    async def body(request: web.Request) -> Json:
        """The request's JSON object."""
        given = _go_json(await request.read())
        return given if isinstance(given, dict) else {}

    # -- agent, ACL, namespaces, nodes

    async def leader(self, request: web.Request) -> web.Response:
        return self._json(request, "127.0.0.1:4647")

    async def agent_self(self, request: web.Request) -> web.Response:
        self.acl.check_level(self._token(request), "agent", "read", "write")
        config = {
            "ACL": {"Enabled": self.acl.enabled},
            "Datacenter": "dc1",
            "Region": self.cluster.region,
            "Version": {"Version": "2.0.6", "VersionPrerelease": "dev", "Revision": "", "VersionMetadata": ""},
        }
        member = {
            "Name": "sim.global",
            "Addr": "127.0.0.1",
            "Port": 4648,
            "Status": "alive",
            "Tags": {"region": self.cluster.region, "dc": "dc1", "build": "2.0.6-dev", "role": "nomad"},
        }
        return self._json(request, {"config": config, "member": member, "stats": {"nomad": {"server": "true"}}})

    async def token_self(self, request: web.Request) -> web.Response:
        who = self.acl.whoami(self._token(request))
        return self._json(request, who, who["ModifyIndex"])

    async def policies(self, request: web.Request) -> web.Response:
        if not self.acl.enabled:
            raise NomadError(400, "ACL support disabled")
        return self._json(request, self.acl.policies(self._token(request)), self.store.index)

    async def policy(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name == "self":
            return self._json(request, self.acl.policies(self._token(request)), self.store.index)
        return self._json(request, self.acl.policy(self._token(request), name), self.store.index)

    def _namespace_json(self, name: str) -> Json:
        return {
            "Name": name,
            "Description": self.store.namespaces[name],
            "Quota": "",
            "Capabilities": None,
            "NodePoolConfiguration": None,
            "VaultConfiguration": None,
            "ConsulConfiguration": None,
            "Meta": None,
            "Hash": None,
            "CreateIndex": 1,
            "ModifyIndex": 1,
            "RequiredExtraClaims": None,
            "OptionalExtraClaims": None,
        }

    async def namespaces(self, request: web.Request) -> web.Response:
        token = self._token(request)
        names = [n for n in sorted(self.store.namespaces) if self.acl.visible(token, n)]
        return await self._query(request, lambda: (1, [self._namespace_json(n) for n in names]))

    async def namespace(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if not self.acl.visible(self._token(request), name):
            raise NomadError(403, "Permission denied")
        known = name in self.store.namespaces
        return await self._query(
            request, lambda: (1, self._namespace_json(name) if known else None), "Namespace not found"
        )

    async def nodes(self, request: web.Request) -> web.Response:
        self.acl.check_level(self._token(request), "node", "read", "write")
        resources = request.query.get("resources") in ("true", "1")
        prefix = request.query.get("prefix", "")

        def run() -> tuple[int, Any]:
            rows = [
                {**n.stub(resources), "HostVolumes": self.cluster.volumes.fingerprint(n)["HostVolumes"]}
                for n in self.store.nodes.values()
                if n.id.startswith(prefix)
            ]
            return self.store.tables["nodes"], sorted(rows, key=lambda r: str(r["ID"]))

        return await self._query(request, run)

    async def node(self, request: web.Request) -> web.Response:
        self.acl.check_level(self._token(request), "node", "read", "write")
        ident = _uuid_checked(request.match_info["id"], "node")

        def run() -> tuple[int, Any]:
            node = self.store.nodes.get(ident)
            if node is None:
                return self.store.tables["nodes"], None
            return node.modify_index, {**node.full(), **self.cluster.volumes.fingerprint(node)}

        return await self._query(request, run, "node not found")

    # -- jobs

    async def jobs(self, request: web.Request) -> web.Response:
        namespace = self._ns(request)
        self._allow(request, "list-jobs")
        prefix = request.query.get("prefix", "")

        def run() -> tuple[int, Any]:
            rows = [
                self.store.job_stub(j)
                for (ns, name), j in sorted(self.store.jobs.items())
                if namespace in ("*", ns) and name.startswith(prefix)
            ]
            return self.store.tables["jobs"], rows

        return await self._query(request, run)

    async def job_path(self, request: web.Request) -> web.StreamResponse:
        path, method = request.match_info["path"], request.method
        ident, _, verb = path.rpartition("/")
        if ident and verb in ("plan", "allocations", "evaluations"):
            if verb == "plan":
                if method not in ("PUT", "POST"):
                    raise NomadError(405, "Invalid method")
                return await self.plan(request, ident)
            if method != "GET":
                raise NomadError(405, "Invalid method")
            return await (self.job_allocs if verb == "allocations" else self.job_evals)(request, ident)
        if method == "GET":
            return await self.job(request, path)
        if method == "DELETE":
            return await self.deregister(request, path)
        return await self._register(request, path)

    async def job(self, request: web.Request, ident: str) -> web.Response:
        namespace = self._ns(request)
        self._allow(request, "read-job")

        def run() -> tuple[int, Any]:
            job = self.store.job(namespace, ident)
            return (job["ModifyIndex"], job) if job else (self.store.tables["jobs"], None)

        return await self._query(request, run, "job not found")

    async def job_allocs(self, request: web.Request, ident: str) -> web.Response:
        namespace = self._ns(request)
        self._allow(request, "read-job")
        everything = request.query.get("all") in ("true", "1")

        def run() -> tuple[int, Any]:
            job = self.store.job(namespace, ident)
            rows = [
                a.stub()
                for a in sorted(self.store.allocs_of(namespace, ident), key=lambda a: a.id)
                if everything or job is None or a.job["CreateIndex"] == job["CreateIndex"]
            ]
            return self.store.tables["allocs"], rows

        return await self._query(request, run)

    async def job_evals(self, request: web.Request, ident: str) -> web.Response:
        namespace = self._ns(request)
        self._allow(request, "read-job")

        def run() -> tuple[int, Any]:
            # neither this list nor that of the allocations has an order a client may rely on (measured): by id here
            rows = sorted(self.store.evals_of(namespace, ident), key=lambda e: str(e["ID"]))
            return self.store.tables["evals"], [omit_empty(e) for e in rows]

        return await self._query(request, run)

    async def register(self, request: web.Request) -> web.Response:
        return await self._register(request, "")

    def _given_job(self, body: Json, ident: str, request: web.Request, missing: str, differs: str) -> Json:
        given = body.get("Job") if isinstance(body, dict) else None
        if given is None:
            raise NomadError(400, "Job must be specified")
        _check_types(given)
        if given.get("ID") is None:
            raise NomadError(400, missing)
        if ident and given["ID"] != ident:
            raise NomadError(400, differs)
        namespace = request.query.get("namespace") or given.get("Namespace") or "default"
        return canonical_job({**given, "Namespace": namespace}, namespace)

    async def _register(self, request: web.Request, ident: str) -> web.Response:
        body = _go_json(await request.read())
        job = self._given_job(body, ident, request, "Job ID hasn't been provided", "Job ID does not match name")
        namespace = job["Namespace"]
        validate_job(job, self.store.namespaces, self.store.pools)
        self._allow(request, "submit-job", "register-job", namespace=namespace)
        self.acl.check_volumes(self._token(request), job)
        self._check_vault(job)
        store = self.store
        old = store.job(namespace, job["ID"])
        if body.get("EnforceIndex"):
            self._enforce(old, int(body.get("JobModifyIndex") or 0))
        if old is not None and not spec_changed(old, job):
            # an evaluation is forced all the same; it finds nothing to do after `complete` (measured)
            ev = self.cluster.scheduler.new_eval(
                namespace, job["ID"], "job-register", kind=job["Type"], priority=job["Priority"], job_index=0
            )
            return self._write(request, ev, old["ModifyIndex"])
        index = store.apply("jobs", "evals")
        job.update(
            ModifyIndex=index,
            JobModifyIndex=index,
            SubmitTime=now_ns(),
            CreateIndex=old["CreateIndex"] if old else index,
            Version=old["Version"] + 1 if old else 0,
        )
        store.jobs[(namespace, job["ID"])] = job
        ev = self.cluster.scheduler.new_eval(
            namespace,
            job["ID"],
            "job-register",
            kind=job["Type"],
            priority=job["Priority"],
            job_index=index,
            index=index,
        )
        return self._write(request, ev, index)

    def _check_vault(self, job: Json) -> None:
        tasks = [t for g in job["TaskGroups"] for t in g["Tasks"]]
        if self.cluster.clients.config.vault is None and any(t["Vault"] for t in tasks):
            raise NomadError(500, 'Vault "default" not enabled but used in the job')

    def _write(self, request: web.Request, ev: Json, job_index: int) -> web.Response:
        at = ev["CreateIndex"]
        answer = {
            "EvalCreateIndex": at,
            "EvalID": ev["ID"],
            "Index": at,
            "JobModifyIndex": job_index,
            "KnownLeader": False,
            "LastContact": 0,
            "NextToken": "",
            "Warnings": "",
        }
        return self._json(request, answer, at, meta=False)

    @staticmethod
    def _enforce(old: Json | None, index: int) -> None:
        head = f"Enforcing job modify index {index}: "
        if old is None and index != 0:
            raise NomadError(500, f"{head}job does not exist")
        if old is not None and index == 0:
            raise NomadError(500, f"{head}job already exists")
        if old is not None and index != old["JobModifyIndex"]:
            raise NomadError(500, f"{head}job exists with conflicting job modify index: {old['JobModifyIndex']}")

    async def plan(self, request: web.Request, ident: str) -> web.Response:
        body = _go_json(await request.read())
        job = self._given_job(body, ident, request, "Job must have a valid ID", "Job ID does not match")
        validate_job(job, self.store.namespaces, self.store.pools)
        self._allow(request, "submit-job", "plan-job", namespace=job["Namespace"])
        self.acl.check_volumes(self._token(request), job)
        out = self.cluster.scheduler.plan(job)
        return self._json(request, out, out["Index"], meta=False)

    async def deregister(self, request: web.Request, ident: str) -> web.Response:
        namespace = self._ns(request)
        try:
            purge = parse_bool(request.query.get("purge", ""), "purge")
        except CloseWith:
            text = request.query["purge"]
            raise NomadError(
                500,
                f'Failed to parse value of "purge" ({text}) as a bool: strconv.ParseBool: parsing '
                f'"{text}": invalid syntax',
            ) from None
        self._allow(request, "submit-job", "purge-job", *([] if purge else ["deregister-job"]))
        answer = {
            "EvalCreateIndex": 0,
            "EvalID": "",
            "Index": 0,
            "JobModifyIndex": 0,
            "KnownLeader": False,
            "LastContact": 0,
            "NextToken": "",
            "VolumeEvalID": "",
            "VolumeEvalIndex": 0,
        }
        if self.store.job(namespace, ident) is None:
            return self._json(request, answer, 0, meta=False)
        ev = self.cluster.deregister(namespace, ident, purge)
        at = ev["CreateIndex"]
        answer.update(EvalCreateIndex=at, EvalID=ev["ID"], Index=at, JobModifyIndex=at)
        return self._json(request, answer, at, meta=False)

    # -- evaluations and allocations

    async def evaluation(self, request: web.Request) -> web.Response:
        ident = request.match_info["id"]
        if len(ident) != 36:
            raise NomadError(500, "failed to lookup eval: eval lookup failed: index error: UUID must be 36 characters")
        if ident in self.store.evals:
            self._allow(request, "read-job", namespace=self.store.evals[ident]["Namespace"])

        def run() -> tuple[int, Any]:
            ev = self.store.evals.get(ident)
            return (ev["ModifyIndex"], omit_empty(ev)) if ev else (self.store.tables["evals"], None)

        return await self._query(request, run, "eval not found")

    async def evaluation_allocs(self, request: web.Request) -> web.Response:
        self._allow(request, "read-job")
        ident = request.match_info["id"]

        def run() -> tuple[int, Any]:
            return self.store.tables["allocs"], [a.stub() for a in self.store.allocs.values() if a.eval_id == ident]

        return await self._query(request, run)

    async def allocation(self, request: web.Request) -> web.Response:
        ident = _uuid_checked(request.match_info["id"], "alloc")
        if ident in self.store.allocs:
            self._allow(request, "read-job", namespace=self.store.allocs[ident].job["Namespace"])

        def run() -> tuple[int, Any]:
            alloc = self.store.allocs.get(ident)
            return (alloc.modify_index, alloc.full()) if alloc else (self.store.tables["allocs"], None)

        return await self._query(request, run, "alloc not found")

    async def alloc_stop(self, request: web.Request) -> web.Response:
        ident = request.match_info["id"]
        alloc = self.store.allocs.get(ident)
        if alloc is None:
            if len(ident) != 36:
                raise NomadError(500, "alloc lookup failed: index error: UUID must be 36 characters")
            raise NomadError(404, "allocation not found")
        self._allow(request, "alloc-lifecycle", namespace=alloc.job["Namespace"])
        ev = self.cluster.stop_alloc(alloc)
        return self._json(request, {"EvalID": ev["ID"], "Index": ev["CreateIndex"]}, ev["CreateIndex"], meta=False)

    async def gc(self, request: web.Request) -> web.Response:
        if self.acl.enabled and not self.acl.resolve(self._token(request)).management:
            raise NomadError(403, "Permission denied")
        self.cluster.gc()
        return web.Response(headers={"Vary": "Accept-Encoding"})

    # -- the client's side

    def _runner(self, request: web.Request, *capabilities: str) -> tuple[Alloc, AllocRunner]:
        """The allocation's runner on its client, or the error of the way there."""
        ident = request.match_info["id"]
        alloc = self.store.allocs.get(ident)
        if alloc is None:
            _uuid_checked(ident, "alloc")
            raise NomadError(404, f'Unknown allocation "{ident}"')
        self._allow(request, *capabilities, namespace=alloc.job["Namespace"])
        if alloc.node.status != "ready":
            raise NomadError(404, "No path to node")
        runner = self.cluster.clients.runners.get(ident)
        if runner is None:
            raise NomadError(404, f'Unknown allocation "{ident}"')
        return alloc, runner

    async def alloc_restart(self, request: web.Request) -> web.Response:
        _, runner = self._runner(request, "alloc-lifecycle")
        try:
            name = (json.loads(await request.read() or b"{}") or {}).get("TaskName") or ""
        except ValueError:
            raise NomadError(500, "invalid request body") from None
        if name and name not in runner.tasks:
            raise NomadError(500, f"Could not find task runner for task: {name}")
        for task in runner.tasks.values():
            if name == task.name or (not name and task.running):
                try:
                    task.restart()
                except DriverError as exc:
                    raise NomadError(500, str(exc)) from None
        return self._json(request, {"Index": 0})

    async def exec(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Upgrade", "").lower() != "websocket":
            raise NomadError(500, "websocket connection not found in context")
        faults = self.cluster.faults.take_exec()
        try:
            command, tty, task = self._exec_request(request)
        except CloseWith as exc:
            return await self._close(request, exc.code, exc.reason)
        ws = web.WebSocketResponse(timeout=0.5, compress=False, max_msg_size=0, autoclose=True)
        await ws.prepare(request)
        await Session(request, ws, task, self.cluster.clients, faults).run(command, tty)
        return ws

    def _exec_request(self, request: web.Request) -> tuple[list[str], bool, TaskRunner]:
        """The checks of alloc_endpoint.go's exec, in its order, with the close codes measured."""
        command = parse_command(request.query.get("command", ""))
        tty = parse_bool(request.query.get("tty", ""), "tty")
        ident = request.match_info["id"]
        alloc = self.store.allocs.get(ident)
        if alloc is not None and ident not in self.cluster.clients.runners and alloc.client_terminal:
            raise CloseWith(1008, f"exec not possible, client status of allocation {ident} is {alloc.client}")
        if self.cluster.disable_remote_exec:
            raise CloseWith(1011, "Permission denied")
        try:
            _, runner = self._runner(request, "alloc-exec")
        except NomadError as exc:
            raise CloseWith(1008 if exc.code == 404 else 1011, exc.text) from None
        name = request.query.get("task", "")
        if not name:
            raise CloseWith(1008, "must provide task name")
        if not command:
            raise CloseWith(1008, "command is not present")
        task = runner.tasks.get(name)
        if task is None:
            raise CloseWith(1011, "task not found")
        if task.state["StartedAt"] is None:
            raise CloseWith(1008, f'task "{name}" not started yet.')
        if not task.running:
            raise CloseWith(1008, f'task "{name}" is not running.')
        return command, tty, task

    # -- logs

    async def logs(self, request: web.Request) -> web.StreamResponse:
        query = request.query
        name, kind = query.get("task", ""), query.get("type", "")
        if not name:
            raise NomadError(400, "must provide task name")
        flags = {}
        for flag in ("follow", "plain"):
            try:
                flags[flag] = parse_bool(query.get(flag, ""), flag)
            except CloseWith:
                raise NomadError(
                    400,
                    f"failed to parse {flag} field to boolean: strconv.ParseBool: parsing "
                    f'"{query[flag]}": invalid syntax',
                ) from None
        if kind not in ("stdout", "stderr"):
            raise NomadError(400, "must provide log type (stdout/stderr)")
        try:
            offset = int(query.get("offset") or 0)
        except ValueError:
            raise NomadError(
                400, f'error parsing offset: strconv.ParseInt: parsing "{query["offset"]}": invalid syntax'
            ) from None
        origin = query.get("origin") or "start"
        if origin not in ("start", "end"):
            raise NomadError(400, "origin must be start or end")
        _, runner = self._runner(request, "read-logs", "read-fs")
        task = runner.tasks.get(name)
        if task is None:
            raise NomadError(400, f'unknown task name "{name}"')
        if task.state["StartedAt"] is None:
            raise NomadError(404, f'task "{name}" not started yet. No logs available')
        return await self._stream_log(request, task, kind, offset, origin, flags["follow"], flags["plain"])

    async def _stream_log(
        self, request: web.Request, task: TaskRunner, kind: str, offset: int, origin: str, follow: bool, plain: bool
    ) -> web.StreamResponse:
        """A followed log never ends by itself, not even when the task is dead, and a plain one sends no header before
        there is something to read; both measured."""
        log = task.logs[kind]
        at = max(log.size - offset, 0) if origin == "end" else offset
        out = web.StreamResponse(
            headers={"Content-Type": "text/plain" if plain else "application/json", "Vary": "Accept-Encoding"}
        )
        out.enable_chunked_encoding()
        with contextlib.suppress(ConnectionError):
            while True:
                data = log.read(at)
                if data:
                    at += len(data)
                    if not out.prepared:
                        await out.prepare(request)
                    frame = {"Data": base64.b64encode(data).decode(), "File": log.name, "Offset": at}
                    await out.write(data if plain else dump(frame))
                    continue
                if not follow:
                    break
                try:
                    async with asyncio.timeout(HEARTBEAT):
                        await log.wait()
                except TimeoutError:
                    if not plain:
                        if not out.prepared:
                            await out.prepare(request)
                        await out.write(b"{}")
        if not out.prepared:
            await out.prepare(request)
        return out

    # -- files

    def _path(self, request: web.Request, default: str = "") -> tuple[AllocRunner, Path]:
        wanted = request.query.get("path") or default
        if not wanted:
            raise NomadError(400, "must provide a file name")
        _, runner = self._runner(request, "read-fs")
        path = Path(re.sub(r"/+$", "", f"{runner.dir}/{wanted.lstrip('/')}") or "/")
        if not path.resolve().is_relative_to(runner.dir.resolve()):
            raise NomadError(500, "Path escapes the alloc directory")
        return runner, path

    @staticmethod
    def _info(path: Path, content: bool) -> Json:
        info = path.stat()
        out = {
            "Name": path.name,
            "IsDir": path.is_dir(),
            "Size": info.st_size,
            "FileMode": stat.filemode(info.st_mode),
            "ModTime": timestamp(info.st_mtime_ns),
        }
        if content:
            guess = "application/octet-stream" if path.is_dir() else mimetypes.guess_type(path.name)[0]
            out["ContentType"] = guess or "text/plain; charset=utf-8"
        return out

    async def fs_stat(self, request: web.Request) -> web.Response:
        _, path = self._path(request)
        if not path.exists():
            raise NomadError(404, f"stat {path}: no such file or directory")
        return self._json(request, self._info(path, True))

    async def fs_ls(self, request: web.Request) -> web.Response:
        _, path = self._path(request, "/")
        if not path.exists():
            raise NomadError(404, f"open {path}: no such file or directory")
        return self._json(request, [self._info(p, False) for p in sorted(path.iterdir())])

    async def fs_cat(self, request: web.Request) -> web.Response:
        _, path = self._path(request)
        headers = {"Vary": "Accept-Encoding", "X-Content-Type-Options": "nosniff"}
        if not path.exists():
            # the status is out before the file is looked at: 200 with the error as text (measured)
            return web.Response(text=f"stat {path}: no such file or directory", headers=headers)
        if path.is_dir():
            return web.Response(text=f'file "{request.query["path"]}" is a directory', headers=headers)
        out = web.Response(body=path.read_bytes(), headers=headers)
        out.content_type, out.charset = "text/plain", "utf-8"
        return out
