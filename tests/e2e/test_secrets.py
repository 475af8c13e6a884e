"""Secrets, with the simulated Nomad and Vault; with the real ones: test_vault.py."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import Machine, SimCluster, sim_of, until
from sim.vault import Vault

LOGIN = "task 'machine' on node node-0 did not start: Nomad could not log in to Vault: "
NASTY = "'\"$(id)\\`id`\nsecond line {{ .Data }} ä€"


@pytest.fixture
def vault(sim: SimCluster) -> Iterator[Vault]:
    """One that the simulated Nomad knows, and that holds a secret."""
    with Vault() as made:
        made.put("secret/aws", {"key": NASTY, "it's": {"a": [1]}})
        sim.client.vault = made
        yield made


def options(vault: Vault, *paths: str, field: str = "key", **more: str) -> dict[str, str]:
    named = [{"path": path, "fields": {field: f"KEY{i}"}} for i, path in enumerate(paths)]
    return {
        "VAULT_ADDR": vault.url,
        "VAULT_POLICIES_JSON": '["devpod-secrets"]',
        "VAULT_SECRETS_JSON": json.dumps(named),
        **more,
    }


def workspace(machine: Machine) -> Path:
    root = machine.dir / "agent/data/contexts/default/workspaces/w/content"
    root.mkdir(parents=True)
    (root / "file").touch()
    return root


def sourced(file: Path, name: str) -> str:
    """As a shell reads it, and from nowhere else."""
    script = f'unset {name}; . "$1"; printf %s "${name}"'
    return subprocess.run(["sh", "-c", script, "sh", file], check=True, capture_output=True, text=True).stdout


def test_the_machine_and_its_workspaces_have_them(sim: SimCluster, vault: Vault) -> None:
    """A v2 path without data/ too; a value that is no text is its JSON."""
    vault.mount("kv", 1)
    vault.put("kv/v1", {"key": "of v1"})
    vault.add_role("nomad-workloads", "secret/data/*", "kv/*")
    machine = sim.machine()
    machine.env.update(options(vault, "secret/data/aws", "kv/v1", "secret/aws"))
    named = json.loads(machine.env["VAULT_SECRETS_JSON"])
    named[2]["fields"] = {"it's": "OBJECT"}
    machine.env["VAULT_SECRETS_JSON"] = json.dumps(named)
    machine.ok("create")
    file = workspace(machine) / ".vault-secrets"
    until(file.exists)
    expected = {"KEY0": NASTY, "KEY1": "of v1", "OBJECT": '{"a":[1]}'}
    for name, value in expected.items():
        assert sourced(file, name) == value
        assert machine.command(f'printf %s "${name}"').out == value
    assert file.stat().st_mode & 0o777 == 0o600
    assert "second line" not in json.dumps(sim.job(machine.name))
    machine.ok("delete")
    machine.nothing_left()


@pytest.mark.parametrize("mode", ["noop", "signal", "restart"])
def test_rotation(sim: SimCluster, vault: Vault, mode: str) -> None:
    machine = sim.machine(**options(vault, "secret/data/aws", VAULT_CHANGE_MODE=mode))
    machine.ok("create")
    alloc = sim.running(machine.name)["ID"]
    root = workspace(machine)
    file = root / ".vault-secrets"
    until(file.exists)
    box = sim.add_devcontainer(root)
    vault.put("secret/aws", {"key": "new"})
    until(lambda: sourced(file, "KEY0") == "new")
    if mode == "restart":
        sim.wait_for(lambda c: c.task(alloc, "machine").state["Restarts"] == 1 and c.task(alloc, "machine").running)
    assert machine.command('printf %s "$KEY0"').out == ("new" if mode == "restart" else NASTY)
    assert sim.running(machine.name)["ID"] == alloc
    assert sim.container_state(box) == "running"
    assert (root / "file").exists()
    events = sim.call(lambda c: [e["Type"] for e in c.task(alloc, "machine").state["Events"]])
    assert ("Signaling" in events, "Restarting" in events) == (mode == "signal", mode == "restart")


def refused(machine: Machine, *expected: str) -> None:
    """What is wrong is told, and nothing stays."""
    error = machine.fails("create")
    for text in expected:
        assert text in error
    machine.nothing_left()
    assert sim_of(machine).containers() == {}


@pytest.mark.parametrize(
    ("token", "cause"),
    [
        ("", "permission denied, or there is no secret at this path"),
        ("root", "there is no secret at this path"),
    ],
    ids=["no-token", "token"],
)
def test_no_secret_at_the_path(sim: SimCluster, vault: Vault, token: str, cause: str) -> None:
    """Only that path is named."""
    machine = sim.machine(**options(vault, "secret/data/aws", "secret/data/none", VAULT_TOKEN=token))
    error = (
        f"create machine '{machine.name}': Vault gives Nomad no secret: secret/data/none ({cause})\nhint: look at the "
    )
    refused(machine, error)


def test_permission_denied(sim: SimCluster, vault: Vault) -> None:
    vault.add_role("few", "secret/data/aws")
    vault.put("secret/other", {"key": "v"})
    machine = sim.machine(**options(vault, "secret/data/other", VAULT_ROLE="few", VAULT_TOKEN="root"))
    refused(
        machine,
        "Vault gives Nomad no secret: secret/data/other (permission denied: it is there for VAULT_TOKEN, but the role's "
        "policies do not let it be read)\nhint: ",
        "at the policies of the role 'few'",
    )


def test_a_secret_that_comes_later(sim: SimCluster, vault: Vault) -> None:
    """Nomad asks again before create gives up."""
    machine = sim.machine(**options(vault, "secret/data/late"))
    with machine.popen("create") as process:
        sim.wait_for(
            lambda c: any(
                e["Type"] == "Template"
                for a in c.store.allocs_of("default", machine.name)
                for e in ((a.task_states or {}).get("machine") or {}).get("Events", [])
            )
        )
        vault.put("secret/late", {"key": "late"})
        assert machine.provider.finish(process).code == 0
    assert machine.command('printf %s "$KEY0"').out == "late"


def test_field_missing(sim: SimCluster, vault: Vault) -> None:
    refused(
        sim.machine(**options(vault, "secret/data/aws", field="F")),
        "did not start: Vault: secret/data/aws: field 'F' is not there\nhint: VAULT_SECRETS_JSON names the fields",
    )


def test_no_such_role(sim: SimCluster, vault: Vault) -> None:
    refused(
        sim.machine(**options(vault, "secret/data/aws", VAULT_ROLE="none")),
        LOGIN,
        "* role \"none\" could not be found\nhint: is there such a role as VAULT_ROLE 'none' in Vault? ",
    )


def test_sealed(sim: SimCluster, vault: Vault) -> None:
    vault.sealed = True
    refused(sim.machine(**options(vault, "secret/data/aws")), LOGIN, "* Vault is sealed\nhint: unseal Vault")


def test_unreachable_from_the_node(sim: SimCluster, vault: Vault) -> None:
    vault.reachable = False
    refused(
        sim.machine(**options(vault, "secret/data/aws")),
        LOGIN,
        "connect: connection refused\nhint: the node must reach Vault at the address in its own Nomad configuration",
    )


def test_nomad_without_vault(sim: SimCluster, vault: Vault) -> None:
    sim.client.vault = None
    refused(
        sim.machine(**options(vault, "secret/data/aws")),
        'Vault "default" not enabled but used in the job\nhint: ',
    )
