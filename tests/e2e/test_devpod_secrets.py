"""Secrets in a devcontainer, with the real DevPod, Nomad and Vault."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from devpod import AGENT, DevPod, Image
from docs import members
from harness import NomadCluster, until
from test_devpod import devpod, image, release  # noqa: F401 the fixtures
from test_vault import Put, put, secrets, vault  # noqa: F401 the fixtures

NASTY = "'\"$(id)\\`id`\nsecond line"


@pytest.mark.nomad
@pytest.mark.devpod
def test_a_devcontainer_has_them(
    devpod: DevPod,  # noqa: F811
    image: Image,  # noqa: F811
    nomad: NomadCluster,
    put: Put,  # noqa: F811
    tmp_path: Path,
) -> None:
    """In the file, and by the two ways of docs/vault.md in sessions."""
    folder = tmp_path / "e2e-secrets"
    (folder / ".devcontainer").mkdir(parents=True)
    devcontainer = {"image": image.dev, **members("vault.md")}
    (folder / ".devcontainer" / "devcontainer.json").write_text(json.dumps(devcontainer))
    fields = {"a": "AWS_ACCESS_KEY_ID", "b": "SECOND"}
    path = put("devpod", {"a": NASTY, "b": f"b{NASTY}"})
    options = {"NOMAD_IMAGE": image.machine, "AGENT_PATH": AGENT, **secrets((path, fields))}
    given = [f"--provider-option={k}={v}" for k, v in options.items()]
    devpod.run("up", str(folder), "--provider", "nomad", "--ide", "none", *given)
    (made,) = devpod.machines()
    machine = nomad.machine(made.name)

    def value(script: str, name: str) -> str:
        text = devpod.run("ssh", folder.name, "--command", f'{script} printf %s "${name}" | base64 -w 0')
        return base64.b64decode(text.splitlines()[-1]).decode()

    until(lambda: "there" in devpod.run("ssh", folder.name, "--command", "test -s .vault-secrets && echo there; :"))
    for name, expected in (("AWS_ACCESS_KEY_ID", NASTY), ("SECOND", f"b{NASTY}")):
        assert value(f"unset {name}; . ./.vault-secrets;", name) == expected
    assert devpod.run("ssh", folder.name, "--command", "stat -c %a .vault-secrets").strip().endswith("600")
    # remoteEnv, and a shell that reads the file
    assert value("", "AWS_ACCESS_KEY_ID") == NASTY
    assert value("bash -ic 'printf %s \"$SECOND\"' >/tmp/second 2>/dev/null; SECOND=$(cat /tmp/second);", "SECOND") == (
        f"b{NASTY}"
    )
    devpod.run("delete", folder.name)
    machine.nothing_left()
