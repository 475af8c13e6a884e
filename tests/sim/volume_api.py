"""HTTP for volumes and plugins: routes, status codes and texts of command/agent, all measured but where it says otherwise."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from aiohttp import web

from .scheduler import meets
from .state import Json, NomadError

if TYPE_CHECKING:
    from .api import Api

_CLAUSE = re.compile(r'\s*(\w+)\s*(==|!=|contains|matches)\s*(?:"([^"]*)"|`([^`]*)`|(\S+))\s*')


def matches_filter(text: str, row: Json) -> bool:
    """The part of go-bexpr that a client here could need: comparisons of top-level members joined by and, or."""
    for choice in re.split(r"\s+or\s+", text):
        if all(_clause(c, row) for c in re.split(r"\s+and\s+", choice)):
            return True
    return False


def _clause(text: str, row: Json) -> bool:
    found = _CLAUSE.fullmatch(text)
    if not found:
        at = len(text) + 1
        raise NomadError(
            400,
            f"failed to create result paginator: failed to read filter expression: 1:{at} ({at - 1}): no match found, "
            'expected: "!=", "==", "contains", "in", "is", "matches", "not" or [ \\t\\r\\n]',
        )
    name, operator = found[1], found[2]
    value = next(v for v in found.groups()[2:] if v is not None)
    if name not in row:
        raise NomadError(
            400,
            f"failed to read result page: error finding value in datum: /{name} at part 0: couldn't find key: struct field "
            f'with name "{name}"',
        )
    have = str(row[name])
    return {
        "==": have == value,
        "!=": have != value,
        "contains": value in have,
        "matches": re.search(value, have) is not None,
    }[operator]


def _check(value: Any, kind: type, name: str, path: str) -> None:
    """Go's decoder refuses a member of the wrong kind."""
    if value is not None and (not isinstance(value, kind) or isinstance(value, bool)):
        given = {str: "string", bool: "bool", int: "number", float: "number", list: "array"}.get(type(value), "object")
        given = f"number {value:g}" if isinstance(value, float) else given
        want = {str: "string", int: "int64"}[kind]
        raise NomadError(400, f"json: cannot unmarshal {given} into Go struct field {path}.{name} of type {want}")


class VolumeApi:
    """The routes of volumes and plugins, for Api to add to its own."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.acl = api.acl
        self.store = api.store
        self.volumes = api.cluster.volumes

    def table(self) -> list[tuple[str, dict[str, Any]]]:
        every = ("GET", "PUT", "POST", "DELETE")
        return [
            ("/v1/volumes", {"GET": self.volumes_list}),
            ("/v1/plugins", {"GET": self.plugins}),
            ("/v1/plugin/csi/{id}", {"GET": self.plugin}),
            ("/v1/volume/csi/{path:.+}", dict.fromkeys(every, self.csi)),
            ("/v1/volume/host/{path:.*}", dict.fromkeys(every, self.host)),
        ]

    # -- lists and plugins

    def _listed(
        self, request: web.Request, rows: Callable[[], list[Json]], table: str
    ) -> Callable[[], tuple[int, Any]]:
        query = request.query
        namespace = self.api._ns(request)

        def run() -> tuple[int, Any]:
            out = [r for r in rows() if namespace in ("*", r["Namespace"])]
            if text := query.get("filter"):
                out = [r for r in out if matches_filter(text, r)]
            if size := int(query.get("per_page") or 0):
                out = out[:size]
            return self.store.tables[table], out

        return run

    async def volumes_list(self, request: web.Request) -> web.Response:
        kind = request.query.get("type")
        if kind is None:
            return self.api._json(request, [])
        if kind == "csi":
            self.api._allow(request, "csi-list-volume", "csi-read-volume", "csi-mount-volume", "list-jobs")
            return await self.api._query(request, self._listed(request, lambda: self._csi_rows(request), "csi_volumes"))
        if kind == "host":
            return await self.api._query(
                request, self._listed(request, lambda: self._host_rows(request), "host_volumes")
            )
        raise NomadError(404, "resource not found")

    def _csi_rows(self, request: web.Request) -> list[Json]:
        query = request.query
        rows = []
        for _, volume in sorted(self.volumes.csi.items()):
            nodes = {c.node_id for c in volume.claims.values()}
            if not volume.id.startswith(query.get("prefix", "")):
                continue
            if query.get("plugin_id") in (None, "", volume.plugin) and (
                not query.get("node_id") or query["node_id"] in nodes
            ):
                rows.append(self.volumes.csi_stub(volume))
        return rows

    def _host_rows(self, request: web.Request) -> list[Json]:
        """`prefix` is of the name or the ID; a token without host-volume-read sees nothing, and no error."""
        query, token = request.query, self.api._token(request)
        rows = []
        for _, volume in sorted(self.volumes.host.items()):
            row = self.volumes.host_stub(volume)
            fits = row["Name"].startswith(query.get("prefix", "")) or row["ID"].startswith(query.get("prefix", ""))
            for key, member in (("node_id", "NodeID"), ("node_pool", "NodePool")):
                fits = fits and query.get(key) in (None, "", row[member])
            if fits and self._may_see(token, row["Namespace"]):
                rows.append(row)
        return rows

    def _may_see(self, token: str, namespace: str) -> bool:
        try:
            self.acl.check(token, namespace, "host-volume-read")
        except NomadError:
            return False
        return True

    async def plugins(self, request: web.Request) -> web.Response:
        kind = request.query.get("type")
        if kind is None:
            return self.api._json(request, [])
        if kind != "csi":
            return web.Response(headers={"Vary": "Accept-Encoding"})
        self.acl.check_level(self.api._token(request), "plugin", "list", "read")
        return await self.api._query(
            request,
            lambda: (
                self.store.tables["csi_plugins"],
                [self.volumes.plugin_json(p, False) for p in sorted(self.volumes.plugins)],
            ),
        )

    async def plugin(self, request: web.Request) -> web.Response:
        self.acl.check_level(self.api._token(request), "plugin", "read")
        ident = request.match_info["id"]
        return await self.api._query(
            request,
            lambda: (self.store.tables["csi_plugins"], self.volumes.plugin_json(ident, True)),
            "plugin not found",
        )

    # -- CSI

    async def csi(self, request: web.Request) -> web.StreamResponse:
        ident, *rest = request.match_info["path"].split("/")
        handlers = {
            ("GET", ()): self._csi_get,
            ("DELETE", ()): self._csi_deregister,
            ("PUT", ("create",)): self._csi_create,
            ("DELETE", ("delete",)): self._csi_delete,
        }
        handler = handlers.get((request.method, tuple(rest)))
        if handler is not None:
            return await handler(request, ident)
        if len(rest) > 1 or (rest and request.method in ("PUT", "DELETE")):
            raise NomadError(404, "resource not found")
        raise NomadError(405, "Invalid method")

    async def _csi_get(self, request: web.Request, ident: str) -> web.Response:
        self.api._allow(request, "csi-read-volume", "csi-mount-volume", "read-job")
        namespace = self.api._ns(request)

        def run() -> tuple[int, Any]:
            volume = self.volumes.csi.get((namespace, ident))
            return self.store.tables["csi_volumes"], self.volumes.csi_json(volume) if volume else None

        return await self.api._query(request, run, "volume not found")

    def _csi_write(self, request: web.Request) -> Callable[[str], None]:
        self.acl.check_level(self.api._token(request), "plugin", "read")
        return lambda namespace: self.api._allow(request, "csi-write-volume", namespace=namespace)

    async def _csi_create(self, request: web.Request, _ident: str) -> web.Response:
        """The path's id is not looked at, only the body's (measured)."""
        body = await self.api.body(request)
        given = body.get("Volumes") or []
        for volume in given:
            for name in ("ID", "Name", "Namespace", "PluginID"):
                _check(volume.get(name), str, name, "CSIVolume.Volumes")
            for name in ("RequestedCapacityMin", "RequestedCapacityMax"):
                _check(volume.get(name), int, name, "CSIVolume.Volumes")
        allow = self._csi_write(request)
        if not given:
            raise NomadError(500, "missing volume definition")
        index, volumes = await self.volumes.create_csi(given, self.api._ns(request), allow)
        answer = {
            "Index": index,
            "KnownLeader": True,
            "LastContact": 0,
            "NextToken": "",
            "Volumes": volumes,
            "Warnings": "",
        }
        return self.api._json(request, answer, index)

    def _empty(self, index: int) -> web.Response:
        """200 without a body or a content type."""
        headers = {"Vary": "Accept-Encoding", "X-Nomad-Index": str(index)}
        return web.Response(headers={**headers, "X-Nomad-Knownleader": "true", "X-Nomad-Lastcontact": "0"})

    async def _csi_deregister(self, request: web.Request, ident: str) -> web.Response:
        force = self._force(request)
        self.api._allow(request, "csi-write-volume")
        return self._empty(self.volumes.deregister_csi(self.api._ns(request), ident, force))

    async def _csi_delete(self, request: web.Request, ident: str) -> web.Response:
        self._csi_write(request)(self.api._ns(request))
        pairs = (p.partition("=") for p in request.headers.get("X-Nomad-CSI-Secrets", "").split(","))
        secrets = {key: value for key, found, value in pairs if found}
        return self._empty(await self.volumes.delete_csi(self.api._ns(request), ident, secrets))

    @staticmethod
    def _force(request: web.Request) -> bool:
        text = request.query.get("force", "")
        if text not in ("", "1", "t", "T", "true", "TRUE", "True", "0", "f", "F", "false", "FALSE", "False"):
            raise NomadError(400, "invalid force value")
        return text[:1] in ("1", "t", "T")

    # -- dynamic host volumes

    async def host(self, request: web.Request) -> web.StreamResponse:
        """DELETE takes anything after the id, or nothing: /delete is what the CLI sends (measured)."""
        ident = next((p for p in request.match_info["path"].split("/") if p), "")
        if request.method in ("PUT", "POST"):
            if ident != "create":
                raise NomadError(404, "resource not found")
            return await self._host_create(request)
        if not ident:
            raise NomadError(404, "resource not found")
        return await (self._host_get if request.method == "GET" else self._host_delete)(request, ident)

    async def _host_create(self, request: web.Request) -> web.Response:
        given = (await self.api.body(request)).get("Volume")
        for name in ("ID", "Name", "NodeID", "PluginID"):
            _check((given or {}).get(name), str, name, "HostVolume.Volume")
        index, volume = self.volumes.create_host(
            given,
            self.api._ns(request),
            lambda namespace: self.api._allow(request, "host-volume-create", namespace=namespace),
            meets,
        )
        return self.api._json(request, {"Index": index, "Volume": volume, "Warnings": ""}, index, meta=False)

    async def _host_get(self, request: web.Request, ident: str) -> web.Response:
        self.api._allow(request, "host-volume-read")
        namespace = self.api._ns(request)

        def run() -> tuple[int, Any]:
            volume = self.volumes.host_volume(namespace, ident)
            if volume is None:
                return self.store.tables["host_volumes"], None
            return volume.row["ModifyIndex"], self.volumes.host_json(volume)

        return await self.api._query(request, run, "volume not found")

    async def _host_delete(self, request: web.Request, ident: str) -> web.Response:
        force = self._force(request)
        self.api._allow(request, "host-volume-delete")
        index = self.volumes.delete_host(self.api._ns(request), ident, force)
        return self.api._json(request, {"Index": index}, index, meta=False)
