"""A simulated Vault with KV secrets: what reading one secret can meet. Compared with OpenBao 2.7.2, but for a sealed one."""

from __future__ import annotations

import fnmatch
import json
import sys
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from .server import tls_context
from .templates import LoginRefused

Json = dict[str, Any]

_WRONG_PATH = (
    "Invalid path for a versioned K/V secrets engine. See the API docs for the appropriate API endpoints to use. If using "
    "the OpenBao CLI, use 'bao kv get' for this operation."
)


@dataclass
class Version:
    """One version of a secret; a v1 mount has only the newest."""

    fields: Json
    deleted: bool = False
    destroyed: bool = False


@dataclass
class Mount:
    version: int
    secrets: dict[str, list[Version]] = field(default_factory=dict)


@dataclass
class VaultRequest:
    """One request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]

    @property
    def token(self) -> str:
        return self.headers.get("X-Vault-Token", "")

    @property
    def namespace(self) -> str:
        return self.headers.get("X-Vault-Namespace", "").strip("/")


class Refused(Exception):
    def __init__(self, status: int, *errors: str) -> None:
        super().__init__(*errors)
        self.status = status
        self.body: Json = {"errors": list(errors)}


class Vault:
    """`with Vault() as vault: vault.put("secret/aws", {...})`; vault.url is VAULT_ADDR, vault.token a token that may all.

    tls: (certificate file, key file), client_ca: CA file of the client certificates that it then wants.
    """

    def __init__(
        self, *, token: str = "root", tls: tuple[str, str] | None = None, client_ca: str | None = None
    ) -> None:
        self.token = token
        self.sealed = False
        self.reachable = True
        """From the nodes."""
        self.requests: list[VaultRequest] = []
        self._lock = threading.Lock()
        self._mounts: dict[tuple[str, str], Mount] = {("", "secret"): Mount(2)}
        self._tokens: dict[str, list[str]] = {token: ["*"]}
        self._roles: dict[str, list[str]] = {"nomad-workloads": ["secret/data/*"]}
        self._failures: list[tuple[int, str]] = []
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        if tls is not None:
            # the handshake is the connection's own thread's business
            self._server.socket = tls_context(*tls, client_ca).wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), name="vault", daemon=True)

    def __enter__(self) -> Vault:
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    # -- what it holds

    def mount(self, path: str, version: int = 2, namespace: str = "") -> None:
        """A KV mount; `secret` is there, version 2. A namespace exists when something is mounted in it."""
        with self._lock:
            self._mounts[(namespace, path.strip("/"))] = Mount(version)

    def put(self, path: str, fields: Json, namespace: str = "") -> None:
        """Write a secret, "MOUNT/NAME", whatever the mount's version."""
        with self._lock:
            mount, _, name = self._find(namespace, path)
            mount.secrets.setdefault(name, []).append(Version(dict(fields)))

    def delete(self, path: str, namespace: str = "", *, destroy: bool = False) -> None:
        """Delete the newest version, softly in version 2 unless destroyed."""
        with self._lock:
            mount, _, name = self._find(namespace, path)
            if mount.version == 1:
                del mount.secrets[name]
            else:
                mount.secrets[name][-1].deleted = not destroy
                mount.secrets[name][-1].destroyed = destroy

    def add_token(self, token: str, *paths: str) -> None:
        """A token that may read these API paths (globs, as "secret/data/aws"), and nothing else."""
        with self._lock:
            self._tokens[token] = list(paths)

    def add_role(self, role: str, *paths: str) -> None:
        """A role of Nomad's workloads, whose tasks may read these API paths; `nomad-workloads` may secret/data/*."""
        with self._lock:
            self._roles[role] = list(paths)

    def fail(self, status: int, *errors: str, times: int = 1) -> None:
        """Answer the next requests with this status."""
        with self._lock:
            self._failures += [(status, json.dumps({"errors": list(errors)}))] * times

    # -- for a simulated Nomad

    def login(self, role: str) -> None:
        """With a task's identity; refused in the words of Vault's own client."""
        url = f"{self.url}/v1/auth/jwt-nomad/login"
        if not self.reachable:
            host = urlsplit(url).netloc
            raise LoginRefused(f'Put "{url}": dial tcp {host}: connect: connection refused')
        with self._lock:
            if not self.sealed and role in self._roles:
                return
        status, error = (503, "Vault is sealed") if self.sealed else (400, f'role "{role}" could not be found')
        raise LoginRefused(f"Error making API request.\n\nURL: PUT {url}\nCode: {status}. Errors:\n\n* {error}")

    def fields(self, role: str, path: str, namespace: str = "") -> Json | None:
        """What the role reads at the path, completed by /data/ where a v2 mount's lacks it; None: it reads nothing."""
        with self._lock:
            try:
                mount, at, name = self._find(namespace, path)
                if mount.version == 2 and not name.startswith("data/"):
                    name = f"data/{name}"
                if self.sealed or not any(fnmatch.fnmatchcase(f"{at}/{name}", p) for p in self._roles[role]):
                    return None
                status, body = self._secret(mount, name, {})
            except (KeyError, Refused):
                return None
        data = body["data"] if status == 200 else None
        return data["data"] if data and mount.version == 2 else data

    # -- answers

    def answer(self, request: VaultRequest, query: dict[str, list[str]]) -> tuple[int, str]:
        with self._lock:
            self.requests.append(request)
            if self._failures:
                return self._failures.pop(0)
            try:
                status, body = self._read(request, query)
            except Refused as exc:
                return exc.status, json.dumps(exc.body)
        return status, json.dumps(body)

    def _read(self, request: VaultRequest, query: dict[str, list[str]]) -> tuple[int, Json]:
        if self.sealed:
            raise Refused(503, "Vault is sealed")
        path = request.path.removeprefix("/v1/").lstrip("/")
        if request.method != "GET":
            raise Refused(405)
        if request.namespace and not any(n == request.namespace for n, _ in self._mounts):
            raise Refused(404, "namespace not found")
        scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
        paths = self._tokens.get(request.token or (bearer if scheme.lower() == "bearer" else ""))
        if paths is None:
            raise Refused(403, "permission denied")
        inside = path.removeprefix("sys/internal/ui/mounts/")
        if inside != path:
            return 200, self._mount_json(request.namespace, inside, paths)
        try:
            mount, _, name = self._find(request.namespace, path)
        except KeyError:
            raise Refused(404, f'no handler for route "{path}". route entry not found.') from None
        if not any(fnmatch.fnmatchcase(path, p) for p in paths):
            raise Refused(403, "1 error occurred:\n\t* permission denied\n\n")
        return self._secret(mount, name, query)

    def _find(self, namespace: str, path: str) -> tuple[Mount, str, str]:
        """The mount whose path is the longest that fits, that path, and what follows it."""
        fits = [p for n, p in self._mounts if n == namespace and f"{path}/".startswith(f"{p}/")]
        if not fits:
            raise KeyError(path)
        at = max(fits, key=len)
        return self._mounts[(namespace, at)], at, path[len(at) + 1 :]

    def _mount_json(self, namespace: str, path: str, paths: list[str]) -> Json:
        """Whoever may read anything in a mount is told of it; the others not even whether it is there."""
        if not path:
            raise Refused(404, "unsupported path")
        try:
            mount, at, _ = self._find(namespace, path)
        except KeyError:
            mount = None
        if mount is None or not any(p == "*" or f"{p}/".startswith(f"{at}/") for p in paths):
            text = "preflight capability check returned 403, please ensure client's policies grant access to path "
            raise Refused(403, f'{text}"{path.rstrip("/")}/"')
        return _envelope(
            {
                "accessor": "kv_0",
                "config": {"default_lease_ttl": 0, "force_no_cache": False, "max_lease_ttl": 0},
                "description": "",
                "local": False,
                "options": {"version": str(mount.version)},
                "path": f"{at}/",
                "type": "kv",
            }
        )

    @staticmethod
    def _secret(mount: Mount, name: str, query: dict[str, list[str]]) -> tuple[int, Json]:
        if mount.version == 1:
            if name not in mount.secrets:
                raise Refused(404)
            return 200, {**_envelope(mount.secrets[name][-1].fields), "lease_duration": 2764800}
        kind, _, name = name.partition("/")
        if kind != "data":
            return 404, {**_envelope(None), "warnings": [_WRONG_PATH]}
        versions = mount.secrets.get(name, [])
        number = int(query.get("version", ["0"])[0]) or len(versions)
        if not 0 < number <= len(versions):
            raise Refused(404)
        found = versions[number - 1]
        gone = found.deleted or found.destroyed
        metadata = {
            "created_time": "2026-01-01T00:00:00Z",
            "custom_metadata": None,
            "deletion_time": "2026-01-02T00:00:00Z" if found.deleted else "",
            "destroyed": found.destroyed,
            "version": number,
        }
        return 404 if gone else 200, _envelope({"data": None if gone else found.fields, "metadata": metadata})


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up, or that does not trust the certificate, is no error of ours."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


def _envelope(data: Json | None) -> Json:
    return {
        "request_id": "00000000-0000-0000-0000-000000000000",
        "lease_id": "",
        "renewable": False,
        "lease_duration": 0,
        "data": data,
        "wrap_info": None,
        "warnings": None,
        "auth": None,
    }


def _handler(vault: Vault) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 10

        def _answer(self) -> None:
            url = urlsplit(self.path)
            request = VaultRequest(self.command, url.path, {k.title(): v for k, v in self.headers.items()})
            status, body = vault.answer(request, parse_qs(url.query))
            data = f"{body}\n".encode()
            self.send_response_only(status)
            self.send_header("Cache-Control", "no-store")
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_PUT = do_POST = do_DELETE = _answer

        def log_message(self, *_args: object) -> None:
            """Nothing on stderr: `requests` has it."""

    return Handler
