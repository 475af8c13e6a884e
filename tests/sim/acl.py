"""ACL tokens: capabilities per namespace, as far as a provider can meet them (acl/policy.go, nomad/auth)."""

from __future__ import annotations

import fnmatch
import re
from dataclasses import dataclass, field

from .state import Json, NomadError, Store

_READ = {
    "list-jobs",
    "parse-job",
    "read-job",
    "csi-list-volume",
    "csi-read-volume",
    "read-job-scaling",
    "list-scaling-policies",
    "read-scaling-policy",
    "host-volume-read",
}
_WRITE = _READ | {
    "scale-job",
    "submit-job",
    "dispatch-job",
    "read-logs",
    "read-fs",
    "alloc-exec",
    "alloc-lifecycle",
    "csi-mount-volume",
    "csi-write-volume",
    "submit-recommendation",
    "host-volume-create",
}
# The write shorthand creates host volumes but does not delete them (acl/policy.go).
_IMPLIED = {
    "host-volume-create": {"host-volume-read"},
    "host-volume-register": {"host-volume-create", "host-volume-read"},
    "host-volume-write": {"host-volume-register", "host-volume-create", "host-volume-delete", "host-volume-read"},
}
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

DENIED = NomadError(403, "Permission denied")


@dataclass
class Token:
    """One token; `policy` holds capability names per namespace (globs), "read" and "write" as shorthands."""

    secret: str
    accessor: str
    name: str = ""
    management: bool = False
    policy: dict[str, list[str]] = field(default_factory=dict)
    node: str = ""
    agent: str = ""
    plugin: str = ""
    """"list" or "read"; creating and deleting CSI volumes needs "read" (nomad/csi_endpoint.go)."""
    host_volume: dict[str, str] = field(default_factory=dict)
    """"read" or "write" per source (globs); a job with a host volume needs "write", also with a dynamic one."""
    create_index: int = 0

    def capabilities(self, namespace: str) -> set[str]:
        out: set[str] = set()
        for pattern, names in self.policy.items():
            if fnmatch.fnmatchcase(namespace, pattern):
                for name in names:
                    out |= {"read": _READ, "write": _WRITE}.get(name, {name} | _IMPLIED.get(name, set()))
        return set() if "deny" in out else out

    @property
    def policy_name(self) -> str:
        return f"policy-{self.name or self.accessor[:8]}"

    def self_json(self) -> Json:
        return {
            "AccessorID": self.accessor,
            "SecretID": self.secret,
            "Name": self.name,
            "Type": "management" if self.management else "client",
            "Policies": None if self.management else [self.policy_name],
            "Roles": None,
            "Global": False,
            "Hash": None,
            "CreateTime": "2026-01-01T00:00:00Z",
            "ExpirationTime": None,
            "ExpirationTTL": "",
            "CreateIndex": self.create_index,
            "ModifyIndex": self.create_index,
        }

    def rules(self) -> str:
        lines = []
        for name, caps in self.policy.items():
            listed = ", ".join(f'"{c}"' for c in sorted(set(caps) - {"read", "write"}))
            short = next((c for c in ("write", "read") if c in caps), "")
            lines.append(f'namespace "{name}" {{')
            if short:
                lines.append(f'  policy = "{short}"')
            if listed:
                lines.append(f"  capabilities = [{listed}]")
            lines.append("}")
        for block in ("node", "agent", "plugin"):
            if level := getattr(self, block):
                lines.append(f'{block} {{\n  policy = "{level}"\n}}')
        for source, level in self.host_volume.items():
            lines.append(f'host_volume "{source}" {{\n  policy = "{level}"\n}}')
        return "\n".join(lines) + "\n"

    def policy_json(self, full: bool) -> Json:
        out: Json = {
            "Name": self.policy_name,
            "Description": "",
            "JobACL": None,
            "Hash": None,
            "CreateIndex": self.create_index,
            "ModifyIndex": self.create_index,
        }
        if full:
            out["Rules"] = self.rules()
            out["RulesJSON"] = {
                "Namespaces": [
                    {"Name": n, "Policy": "", "Capabilities": sorted(self.capabilities(n)), "Variables": None}
                    for n in self.policy
                ],
                "Node": {"Policy": self.node} if self.node else None,
                "Agent": {"Policy": self.agent} if self.agent else None,
                "ExtraKeysHCL": None,
                "HostVolumes": [{"Name": n, "Policy": p, "Capabilities": None} for n, p in self.host_volume.items()]
                or None,
                "NodePools": None,
                "Operator": None,
                "Plugin": {"Policy": self.plugin} if self.plugin else None,
                "Quota": None,
                "Raw": self.rules(),
                "Sentinel": None,
            }
        return out


class Acl:
    """The token table and the checks; everything is allowed while it is disabled."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.enabled = False
        self.tokens: dict[str, Token] = {}
        self.unknown_text = "Permission denied"
        """What an unknown token is told by 2.0.6 (measured); older servers say "ACL token not found"."""

    def add(
        self,
        secret: str = "",
        *,
        name: str = "",
        management: bool = False,
        policy: dict[str, list[str]] | None = None,
        node: str = "",
        agent: str = "",
        plugin: str = "",
        host_volume: dict[str, str] | None = None,
    ) -> Token:
        token = Token(
            secret or self.store.uuid(),
            self.store.uuid(),
            name,
            management,
            dict(policy or {}),
            node,
            agent,
            plugin,
            dict(host_volume or {}),
            self.store.index,
        )
        self.tokens[token.secret] = token
        return token

    def resolve(self, secret: str) -> Token:
        """The caller's token; the anonymous one without a secret."""
        if not secret:
            return Token("", "anonymous", "Anonymous Token")
        token = self.tokens.get(secret)
        if token is None:
            raise NomadError(403, self.unknown_text)
        return token

    def check(self, secret: str, namespace: str, *any_of: str) -> None:
        """403 unless the token has one of the capabilities in the namespace."""
        if not self.enabled:
            return
        token = self.resolve(secret)
        if not token.management and not token.capabilities(namespace) & set(any_of):
            raise DENIED

    def check_level(self, secret: str, block: str, *levels: str) -> None:
        """403 unless the node or agent block has one of the levels."""
        if self.enabled:
            token = self.resolve(secret)
            if not token.management and getattr(token, block, "") not in levels:
                raise DENIED

    def check_volumes(self, secret: str, job: Json) -> None:
        """403 unless the token may mount what the job's groups ask for (nomad/job_endpoint.go)."""
        if not self.enabled:
            return
        token = self.resolve(secret)
        for group in job["TaskGroups"] or []:
            for request in (group["Volumes"] or {}).values():
                if token.management:
                    continue
                if request["Type"] == "csi":
                    self.check(secret, job["Namespace"], "csi-mount-volume")
                    self.check_level(secret, "plugin", "read")
                    continue
                levels = {p for s, p in token.host_volume.items() if fnmatch.fnmatchcase(request["Source"], s)}
                if not levels & ({"read", "write"} if request["ReadOnly"] else {"write"}):
                    raise DENIED

    def visible(self, secret: str, namespace: str) -> bool:
        """Namespaces are listed to whoever has any capability in them."""
        if not self.enabled:
            return True
        token = self.resolve(secret)
        return token.management or bool(token.capabilities(namespace))

    def whoami(self, secret: str) -> Json:
        """GET /v1/acl/token/self; with ACLs off any token gets this answer (measured)."""
        if not self.enabled:
            return {
                "AccessorID": "acls-disabled",
                "SecretID": "",
                "Name": "ACLs disabled token",
                "Type": "client",
                "Policies": None,
                "Roles": None,
                "Global": False,
                "Hash": None,
                "CreateTime": "0001-01-01T00:00:00Z",
                "ExpirationTime": None,
                "ExpirationTTL": "",
                "CreateIndex": 0,
                "ModifyIndex": 0,
            }
        if secret and secret not in self.tokens and not _UUID.fullmatch(secret):
            # taken for a workload identity (measured)
            raise NomadError(
                500, "failed to parse signed token: go-jose/go-jose: compact JWS format must have three parts"
            )
        out = self.resolve(secret).self_json()
        if not secret:
            out.update(Policies=["anonymous"], CreateTime="0001-01-01T00:00:00Z", CreateIndex=0, ModifyIndex=0)
        return out

    def policies(self, secret: str) -> list[Json]:
        """GET /v1/acl/policy/self and /v1/acl/policies: what the token is made of."""
        if not _UUID.fullmatch(secret):
            raise DENIED
        if not self.enabled:
            raise NomadError(400, "ACL support disabled")
        token = self.resolve(secret)
        rows = self.tokens.values() if token.management else [token]
        return [t.policy_json(False) for t in rows if not t.management]

    def policy(self, secret: str, name: str) -> Json:
        if not self.enabled:
            raise NomadError(400, "ACL support disabled")
        caller = self.resolve(secret)
        owner = next((t for t in self.tokens.values() if t.policy_name == name and not t.management), None)
        if not caller.management and name != "anonymous" and owner is not caller:
            raise DENIED
        if owner is None:
            raise NomadError(404, "ACL policy not found")
        return owner.policy_json(True)
