"""Secrets, with the real Nomad and a Vault or OpenBao that trusts it (docs/vault.md; `VAULT_ADDR`, a token in
`BAO_TOKEN` or `VAULT_TOKEN` that may write below secret/)."""

from __future__ import annotations

import base64
import json
import os
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness import Machine, NomadCluster, until

pytestmark = pytest.mark.nomad

NASTY = {
    "quotes": "'\"$(id)\\`id`\nsecond line\r\n\ttab ",
    "template": '{{ .Data }} {{ "x" }} ${NOMAD_ALLOC_ID} ${attr.cpu.arch} %{ if } # c',
    "unicode": "äöü €  \U0001f600 \u2028 <a&b>",
    "control": "a\x01\x1f\x7f\x0b b ",
    "newlines": "\n\na\n\n",
    "empty": "",
}
ODD_FIELD = "it's \"{{ . }}\\"


class Vault:
    """The real one, through its API."""

    def __init__(self, addr: str, token: str) -> None:
        self.addr = addr
        self.token = token

    def call(self, method: str, path: str, body: Any = None) -> None:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.addr}/v1/{urllib.parse.quote(path)}", data, method=method)
        request.add_header("X-Vault-Token", self.token)
        urllib.request.urlopen(request, timeout=10).close()


@pytest.fixture
def vault(nomad: NomadCluster) -> Vault:
    addr, token = os.environ.get("VAULT_ADDR"), os.environ.get("BAO_TOKEN") or os.environ.get("VAULT_TOKEN")
    if not addr or not token:
        pytest.skip("VAULT_ADDR and BAO_TOKEN (or VAULT_TOKEN) are not set: no Vault to keep secrets in")
    return Vault(addr, token)


Put = Callable[[str, Any], str]


@pytest.fixture
def put(vault: Vault) -> Iterator[Put]:
    """Writes a secret of the KV v2 mount secret/; its path is returned, and it is removed in the end."""
    written: list[str] = []

    def write(name: str, fields: Any) -> str:
        path = f"e2e-{os.getpid()}/{name}"
        written.append(path)
        vault.call("POST", f"secret/data/{path}", {"data": fields})
        return f"secret/data/{path}"

    yield write
    for path in written:
        vault.call("DELETE", f"secret/metadata/{path}")


@pytest.fixture
def team(vault: Vault) -> Iterator[str]:
    """A KV v1 mount, and a role and a policy of the same name for it alone. Nomad reads a v1 secret again when the time
    in its field `ttl` is over, and any other only after minutes."""
    name = f"e2e-{os.getpid()}-kv"
    vault.call("POST", f"sys/mounts/{name}", {"type": "kv", "options": {"version": "1"}})
    vault.call("PUT", f"sys/policies/acl/{name}", {"policy": f'path "{name}/*" {{ capabilities = ["read"] }}'})
    role = {
        "role_type": "jwt",
        "bound_audiences": ["vault.io"],
        "user_claim": "/nomad_job_id",
        "user_claim_json_pointer": True,
        "token_type": "service",
        "token_policies": [name],
        "token_period": "30m",
    }
    vault.call("POST", f"auth/jwt-nomad/role/{name}", role)
    yield name
    vault.call("DELETE", f"auth/jwt-nomad/role/{name}")
    vault.call("DELETE", f"sys/policies/acl/{name}")
    vault.call("DELETE", f"sys/mounts/{name}")


def secrets(*of: tuple[str, dict[str, str]], **more: str) -> dict[str, str]:
    """Options: each path with its fields."""
    return {
        "VAULT_ADDR": os.environ["VAULT_ADDR"],
        "VAULT_POLICIES_JSON": '["devpod-secrets"]',
        "VAULT_SECRETS_JSON": json.dumps([{"path": path, "fields": fields} for path, fields in of]),
        **more,
    }


def ask(machine: Machine, script: str, name: str) -> str:
    """The variable after the script ran; through base64, so that nothing is lost on the way."""
    done = machine.command(f'{script} printf %s "${name}" | base64 -w 0')
    assert done.code == 0, done.err
    return base64.b64decode(done.out).decode()


def workspace(machine: Machine, name: str) -> Path:
    """A workspace as DevPod's agent makes one."""
    root = machine.dir / "agent/data/contexts/default/workspaces" / name / "content"
    root.mkdir(parents=True)
    (root / "file").touch()
    return root


def test_every_value(nomad: NomadCluster, put: Put) -> None:
    """In the environment, and in what shells read; from a path with odd letters in it, or without data/."""
    machine = nomad.machine()
    path = put('o{{d" ü?#%+&:x', {**NASTY, "number": 5, "object": {"a": "it's"}, ODD_FIELD: "odd"})
    plain = put("plain", {"f": "x" * 65536, "g": "g"})
    names = {**{k: k.upper() for k in NASTY}, "number": "NUMBER", "object": "OBJECT", ODD_FIELD: "ODD"}
    expected = {**NASTY, "number": "5", "object": '{"a":"it\'s"}', ODD_FIELD: "odd"}
    machine.env.update(secrets((path, names), (plain.replace("/data/", "/"), {"f": "LONG", "g": "G"})))
    machine.ok("create")
    for field, name in names.items():
        assert ask(machine, "", name) == expected[field], field
        assert ask(machine, f"unset {name}; . /secrets/vault-1.sh;", name) == expected[field], field
    assert ask(machine, "", "G") == "g"
    assert ask(machine, ". /secrets/vault-2.sh;", "LONG") == "x" * 65536
    assert machine.command("env; ls /secrets").out.count("vault_token") == 0
    assert "second line" not in json.dumps(nomad.job(machine.name))
    machine.ok("delete")
    machine.nothing_left()


def test_two_machines(nomad: NomadCluster, put: Put) -> None:
    """Each has its own, also as a file in each of its workspaces."""
    machines = [nomad.machine(), nomad.machine()]
    for i, machine in enumerate(machines):
        machine.env.update(secrets((put(f"own-{i}", {"f": f"value {i}"}), {"f": "OWN"})))
        machine.ok("create")
        file = workspace(machine, "w") / ".vault-secrets"
        until(file.exists)
        assert file.read_text().strip() == f"export OWN='value {i}'"
        assert file.stat().st_mode & 0o777 == 0o600
    for i, machine in enumerate(machines):
        other = f"value {1 - i}"
        assert machine.command("cat /secrets/*.sh").out.strip() == f"export OWN='value {i}'"
        assert ask(machine, "", "OWN") == f"value {i}"
        assert other not in machine.command("cat /proc/[0-9]*/environ").out
        assert [p for p in machine.dir.rglob("*") if p.is_file() and other in p.read_text(errors="replace")] == []
        machine.ok("delete")
        machine.nothing_left()


def task_state(nomad: NomadCluster, machine: Machine) -> dict[str, Any]:
    state: dict[str, Any] = nomad.allocs(machine.name)[-1]["TaskStates"]["machine"]
    return state


@pytest.mark.parametrize("mode", ["noop", "signal", "restart"])
def test_rotation(nomad: NomadCluster, vault: Vault, team: str, mode: str) -> None:
    """The file follows; the task, its workspaces and what runs on the node's Docker stay, but for a restart in place."""

    def rotate(value: str) -> None:
        vault.call("POST", f"{team}/s", {"f": value, "ttl": "4s"})

    rotate("one")
    machine = nomad.machine()
    machine.env.update(secrets((f"{team}/s", {"f": "OWN"}), VAULT_ROLE=team, VAULT_CHANGE_MODE=mode))
    machine.ok("create")
    alloc = nomad.running(machine.name)["ID"]
    root = workspace(machine, "w")
    file = root / ".vault-secrets"
    until(file.exists)
    assert file.read_text().strip() == "export OWN='one'"
    box = nomad.add_devcontainer(root)
    began = nomad.docker("inspect", "--format={{.State.StartedAt}}", box)

    rotate("two")
    until(lambda: file.read_text().strip() == "export OWN='two'", 10)

    if mode == "restart":
        until(lambda: task_state(nomad, machine)["Restarts"] == 1 and task_state(nomad, machine)["State"] == "running")
        assert ask(machine, "", "OWN") == "two"
    else:
        assert ask(machine, "", "OWN") == "one"
    types = [event["Type"] for event in task_state(nomad, machine)["Events"]]
    assert [types.count("Signaling"), types.count("Restarting")] == [mode == "signal", mode == "restart"]
    assert nomad.running(machine.name)["ID"] == alloc
    assert nomad.docker("inspect", "--format={{.State.StartedAt}}", box) == began
    assert nomad.container_state(box) == "running"
    assert (root / "file").exists()
    machine.ok("delete")
    machine.nothing_left()


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("there", "permission denied: it is there for VAULT_TOKEN, but the role's policies do not let it be read"),
        ("missing", "there is no secret at this path"),
    ],
    ids=["denied", "missing"],
)
def test_denied_and_missing_are_told_apart(
    nomad: NomadCluster, vault: Vault, put: Put, team: str, name: str, cause: str
) -> None:
    """With a token of the user's own, since Nomad does not say which of the two it is."""
    path = put("there", {"f": "v"}).replace("there", name)
    machine = nomad.machine(VAULT_TOKEN=vault.token)
    machine.env.update(secrets((path, {"f": "F"}), VAULT_ROLE=team))
    assert f"Vault gives Nomad no secret: {path} ({cause})\n" in machine.fails("create")
    machine.nothing_left()


@pytest.mark.parametrize(
    ("path", "field", "role", "says"),
    [
        ("", "f", "e2e-none", '* role "e2e-none" could not be found\nhint: is there such a role'),
        ("", "F", "nomad-workloads", "Vault: {path}: field 'F' is not there"),
        ("secret/data/e2e-none", "f", "nomad-workloads", "Vault gives Nomad no secret: {path} (permission denied, or "),
        ("secret/metadata/e2e", "f", "nomad-workloads", "Vault gives Nomad no secret: {path} (permission denied, or "),
    ],
    ids=["role", "field", "no-secret", "denied"],
)
def test_what_is_wrong_is_told(nomad: NomadCluster, put: Put, path: str, field: str, role: str, says: str) -> None:
    machine = nomad.machine()
    path = path or put("there", {"f": "v"})
    machine.env.update(secrets((path, {field: "F"}), VAULT_ROLE=role))
    error = machine.fails("create")
    assert says.format(path=path) in error
    assert "\nhint: " in error
    machine.nothing_left()


def test_namespace_of_vault(nomad: NomadCluster, put: Put) -> None:
    """Nomad refuses the job: only its Enterprise has them."""
    machine = nomad.machine()
    machine.env.update(secrets((put("there", {"f": "v"}), {"f": "F"}), VAULT_NAMESPACE="team"))
    assert "multiple Vault namespaces requires Nomad Enterprise" in machine.fails("create")
    machine.nothing_left()
