"""A small Docker Engine API on a unix socket, one per simulated node.

Tasks see it as DOCKER_HOST; the calls are those that a clean-up script needs. Error texts are dockerd's.
"""

from __future__ import annotations

import json
import random
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

Json = dict[str, Any]

PREDEFINED = ("bridge", "host", "none")


class BadFilter(Exception):
    """The `filters` of a list are wrong."""


def is_anonymous(name: str) -> bool:
    """dockerd's name for a volume that was given none."""
    return re.fullmatch(r"[0-9a-f]{64}", name) is not None


def has_labels(labels: dict[str, str] | None, wanted: Iterable[str]) -> bool:
    """The label filter: every "key" or "key=value" must hold."""
    have = labels or {}
    return all(have.get(w.partition("=")[0]) == w.partition("=")[2] if "=" in w else w in have for w in wanted)


@dataclass
class Container:
    """One entry of `docker ps -a`."""

    id: str
    name: str
    image: str
    command: str
    labels: dict[str, str]
    mounts: list[Json]
    networks: list[str] = field(default_factory=list)
    """Names of the networks it is on; on the default one when empty."""
    state: str = "running"
    created: int = field(default_factory=lambda: int(time.time()))
    on_stop: Callable[[], None] | None = None

    def summary(self) -> Json:
        return {
            "Id": self.id,
            "Names": [f"/{self.name}"],
            "Image": self.image,
            "ImageID": f"sha256:{self.id}",
            "Command": self.command,
            "Created": self.created,
            "Ports": [],
            "Labels": self.labels,
            "State": self.state,
            "Status": "Up 1 second" if self.state == "running" else "Exited (0) 1 second ago",
            "HostConfig": {"NetworkMode": self.networks[0] if self.networks else "default"},
            "NetworkSettings": {"Networks": {name: {} for name in self.networks}},
            # an anonymous volume's source is told by inspect only (measured)
            "Mounts": [{**m, "Source": ""} if is_anonymous(m.get("Name", "")) else m for m in self.mounts],
        }

    def inspect(self) -> Json:
        running = self.state == "running"
        return {
            "Id": self.id,
            "Name": f"/{self.name}",
            "Image": f"sha256:{self.id}",
            "Created": "2026-01-01T00:00:00Z",
            "State": {"Status": self.state, "Running": running, "Paused": False, "ExitCode": 0, "Pid": int(running)},
            "Config": {"Image": self.image, "Labels": self.labels},
            "Mounts": self.mounts,
            "NetworkSettings": {"Networks": {name: {} for name in self.networks}},
        }


class FakeDocker:
    """Containers, networks and volumes of one node, with a record of the calls."""

    def __init__(self, path: Path, seed: int) -> None:
        self.path = path
        self.containers: dict[str, Container] = {}
        self.networks: dict[str, Json] = {}
        self.volumes: dict[str, Json] = {}
        self.calls: list[tuple[str, str]] = []
        self._rng = random.Random(seed)
        self._runner: web.AppRunner | None = None
        for name in PREDEFINED:
            self.add_network(name)

    def hex_id(self) -> str:
        return f"{self._rng.getrandbits(256):064x}"

    # -- entries

    def add(
        self,
        *,
        name: str = "",
        image: str = "ubuntu:22.04",
        mounts: Iterable[Json] = (),
        labels: dict[str, str] | None = None,
        networks: Iterable[str] = (),
        state: str = "running",
        command: str = "sleep infinity",
        on_stop: Callable[[], None] | None = None,
    ) -> str:
        """Add a container; a mount needs Source and Destination, the rest has docker's defaults. A mount of Type volume
        makes its volume, an anonymous one when it has no Name."""
        ident = self.hex_id()
        full = [{"Type": "bind", "Mode": "", "RW": True, "Propagation": "rprivate", **m} for m in mounts]
        for mount in full:
            if mount["Type"] == "volume":
                mount["Name"] = self.add_volume(mount.get("Name", ""))
                mount.update(Source=self.volumes[mount["Name"]]["Mountpoint"], Driver="local", Propagation="")
        self.containers[ident] = Container(
            ident,
            name or f"sim_{ident[:8]}",
            image,
            command,
            dict(labels or {}),
            full,
            list(networks),
            state,
            on_stop=on_stop,
        )
        return ident

    def add_network(self, name: str, labels: dict[str, str] | None = None) -> str:
        ident = self.hex_id()
        self.networks[ident] = {
            "Id": ident,
            "Name": name,
            "Driver": {"host": "host", "none": "null"}.get(name, "bridge"),
            "Scope": "local",
            "EnableIPv6": False,
            "IPAM": {"Driver": "default", "Options": None, "Config": [] if name in ("host", "none") else [{}]},
            "Internal": False,
            "Attachable": False,
            "Ingress": False,
            "ConfigFrom": {"Network": ""},
            "ConfigOnly": False,
            "Labels": labels or {},
            "Options": {},
            "Containers": {},
            "Created": "2026-01-01T00:00:00Z",
        }
        return ident

    def add_volume(self, name: str = "", labels: dict[str, str] | None = None) -> str:
        """A volume, new or already there; returns its name."""
        name = name or self.hex_id()
        self.volumes.setdefault(
            name,
            {
                "CreatedAt": "2026-01-01T00:00:00Z",
                "Driver": "local",
                "Labels": labels,
                "Mountpoint": f"/var/lib/docker/volumes/{name}/_data",
                "Name": name,
                "Options": None,
                "Scope": "local",
            },
        )
        return name

    def forget(self, ident: str) -> None:
        """A task's container is removed when the task ends (the driver's gc)."""
        self.containers.pop(ident, None)

    def find(self, key: str) -> Container | None:
        """By name, id or unique id prefix, as dockerd looks it up."""
        exact = [c for c in self.containers.values() if key in (c.id, c.name)]
        hits = exact or [c for c in self.containers.values() if len(key) >= 4 and c.id.startswith(key)]
        return hits[0] if len(hits) == 1 else None

    # -- serving

    async def start(self) -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.UnixSite(self._runner, str(self.path)).start()
        self.path.chmod(0o666)

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _handle(self, request: web.Request) -> web.Response:
        path = re.sub(r"^/v1\.\d+(?=/)", "", request.path)
        self.calls.append((request.method, request.path_qs))
        parts = path.strip("/").split("/")
        headers = {"Api-Version": "1.41", "Server": "Docker/20.10.24 (linux)", "Ostype": "linux"}
        try:
            given = json.loads(await request.read() or b"{}") if request.method == "POST" else {}
            code, body = self._route(request.method, parts, request.query, given)
        except BadFilter as exc:
            code, body = 400, {"message": str(exc)}
        if isinstance(body, str):
            return web.Response(status=code, text=body, headers=headers)
        if body is None:
            return web.Response(status=code, headers=headers)
        text = json.dumps(body, separators=(",", ":")) + "\n"  # dockerd puts no blanks in
        return web.Response(status=code, text=text, content_type="application/json", headers=headers)

    def _route(self, method: str, parts: list[str], query: Any, given: Json) -> tuple[int, Any]:
        if parts == ["_ping"]:
            return 200, "OK"
        if parts == ["version"]:
            return 200, {
                "Version": "20.10.24",
                "ApiVersion": "1.41",
                "MinAPIVersion": "1.12",
                "Os": "linux",
                "Arch": "amd64",
            }
        if parts == ["info"]:
            return 200, {"ServerVersion": "20.10.24", "Containers": len(self.containers), "OSType": "linux", "Driver": "overlay2"}
        if parts == ["containers", "json"]:
            return 200, [c.summary() for c in self._filtered(query)]
        if parts[0] == "containers" and len(parts) in (2, 3):
            return self._container(method, parts[1], parts[2] if len(parts) == 3 else "", query)
        if parts[0] == "networks":
            return self._network(method, parts[1:], query, given)
        if parts[0] == "volumes":
            return self._volume(method, parts[1:], query, given)
        return 404, {"message": "page not found"}

    @staticmethod
    def _filters(query: Any, *known: str) -> dict[str, list[str]]:
        """A list of values per filter, or the older {"value": true}; unknown ones are refused (measured)."""
        try:
            filters = json.loads(query.get("filters") or "{}")
        except ValueError:
            raise BadFilter("invalid filters") from None  # dockerd has the words of Go's decoder here
        for key in filters:
            if key not in known:
                raise BadFilter(f"Invalid filter '{key}'")
        return {key: list(values) for key, values in filters.items()}

    def _filtered(self, query: Any) -> list[Container]:
        found = [
            c for c in self.containers.values() if query.get("all") in ("1", "true", "True") or c.state == "running"
        ]
        for key, values in self._filters(query, "label", "name", "id", "status", "volume", "network").items():
            if key == "label":
                found = [c for c in found if has_labels(c.labels, values)]
            elif key == "network":
                found = [c for c in found if any(v in c.networks for v in values)]
            elif key == "name":
                found = [c for c in found if any(re.search(v, f"/{c.name}") for v in values)]
            elif key == "id":
                found = [c for c in found if any(c.id.startswith(v) for v in values)]
            elif key == "status":
                found = [c for c in found if c.state in values]
            elif key == "volume":
                found = [
                    c
                    for c in found
                    if any(
                        v in (m.get("Source"), m.get("Destination"), m.get("Name")) for m in c.mounts for v in values
                    )
                ]
        return found

    def _container(self, method: str, key: str, action: str, query: Any) -> tuple[int, Any]:
        box = self.find(key)
        if box is None:
            return 404, {"message": f"No such container: {key}"}
        if method == "GET" and action == "json":
            return 200, box.inspect()
        if method == "POST" and action in ("stop", "kill"):
            if box.state != "running":
                if action == "stop":
                    return 304, None
                return 409, {"message": f"Cannot kill container: {key}: Container {box.id} is not running"}
            box.state = "exited"
            if box.on_stop is not None:
                box.on_stop()
            return 204, None
        if method == "POST" and action == "start":
            code = 304 if box.state == "running" else 204
            box.state = "running"
            return code, None
        if method == "DELETE" and not action:
            if box.state == "running" and query.get("force") not in ("1", "true", "True"):
                return 409, {
                    "message": f"You cannot remove a running container {box.id}. Stop the container before "
                    "attempting removal or force remove"
                }
            del self.containers[box.id]
            if box.on_stop is not None:
                box.on_stop()
            if query.get("v") in ("1", "true", "True"):
                # anonymous volumes only: what has a name stays (measured)
                for mount in box.mounts:
                    if is_anonymous(mount.get("Name", "")):
                        self.volumes.pop(mount["Name"], None)
            return 204, None
        return 404, {"message": "page not found"}

    def _network(self, method: str, parts: list[str], query: Any, given: Json) -> tuple[int, Any]:
        if not parts:
            return 200, self._networks(query)
        if method == "POST":
            if parts != ["create"]:
                return 404, {"message": "page not found"}
            return 201, {"Id": self.add_network(given.get("Name", ""), given.get("Labels")), "Warning": ""}
        key = parts[0]
        hits = [n for n in self.networks.values() if key in (n["Id"], n["Name"]) or n["Id"].startswith(key)]
        if not hits:
            return 404, {"message": f"network {key} not found"}
        network = hits[0]
        name = network["Name"]
        # a container that does not run has no endpoint: it keeps no network from being removed (measured)
        users = {
            c.id: {"Name": c.name} for c in self.containers.values() if name in c.networks and c.state == "running"
        }
        if method != "DELETE":
            return 200, {**network, "Containers": users}
        if name in PREDEFINED:
            return 403, {"message": f"{name} is a pre-defined network and cannot be removed"}
        if users:
            text = f"error while removing network: network {name} id {network['Id']} has active endpoints"
            return 403, {"message": text}
        del self.networks[network["Id"]]
        return 204, None

    def _networks(self, query: Any) -> list[Json]:
        """The list tells of no containers; `name` is a part of it (measured)."""
        found = list(self.networks.values())
        for key, values in self._filters(query, "label", "name", "id", "driver").items():
            if key == "label":
                found = [n for n in found if has_labels(n["Labels"], values)]
            else:
                member = {"name": "Name", "id": "Id", "driver": "Driver"}[key]
                found = [n for n in found if any(v in n[member] for v in values)]
        return found

    def _volume(self, method: str, parts: list[str], query: Any, given: Json) -> tuple[int, Any]:
        if not parts:
            return 200, {"Volumes": self._volumes(query), "Warnings": None}
        key = parts[0]
        if method == "POST":
            if key != "create":
                return 404, {"message": "page not found"}
            return 201, self.volumes[self.add_volume(given.get("Name", ""), given.get("Labels"))]
        if key not in self.volumes:
            if method == "DELETE" and query.get("force") in ("1", "true", "True"):
                return 204, None
            return 404, {"message": f"get {key}: no such volume"}
        if method != "DELETE":
            return 200, self.volumes[key]
        if users := self._volume_users(key):  # whether they run or not, and force changes nothing (measured)
            return 409, {"message": f"remove {key}: volume is in use - [{', '.join(users)}]"}
        del self.volumes[key]
        return 204, None

    def _volume_users(self, name: str) -> list[str]:
        return [c.id for c in self.containers.values() if any(m.get("Name") == name for m in c.mounts)]

    def _volumes(self, query: Any) -> list[Json]:
        found = list(self.volumes.values())
        for key, values in self._filters(query, "label", "name", "dangling", "driver").items():
            if key == "label":
                found = [v for v in found if has_labels(v["Labels"], values)]
            elif key == "dangling":
                wanted = values[0] in ("1", "true")
                found = [v for v in found if (not self._volume_users(v["Name"])) == wanted]
            else:
                member = {"name": "Name", "driver": "Driver"}[key]
                found = [v for v in found if any(value in v[member] for value in values)]
        return found
