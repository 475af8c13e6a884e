"""hack/build.sh and the provider.yaml it makes, in both forms."""

from __future__ import annotations

import hashlib
import re
import subprocess
from pathlib import Path

import pytest

from release import Release, copy_project, parse

COMMANDS = ("init", "create", "delete", "start", "stop", "status", "command")


@pytest.fixture
def release(tmp_path: Path) -> Release:
    return copy_project(tmp_path / "project")


def reference(release: Release, what: str) -> str:
    program = release.path / "build" / "release" / "dpn-reference"
    return subprocess.run([program, what], capture_output=True, text=True, check=True).stdout


def test_both_forms(release: Release) -> None:
    done = release.build("--dev", RELEASE_VERSION="0.0.1-dev")
    assert done.returncode == 0, done.stderr
    local = release.yaml.read_text()
    done = release.build(RELEASE_VERSION="v1.2.3", RELEASE_REPOSITORY="someone/something")
    assert done.returncode == 0, done.stderr
    public = release.yaml.read_text()

    options = parse(reference(release, "provider-yaml"))
    for text, version in ((local, "v0.0.1-dev"), (public, "v1.2.3")):
        assert not re.search(r"@[A-Z_]+@|\$\{?DEVPOD|\$\{?DEVSY", text)
        made = parse(text)
        assert (made["name"], made["version"]) == ("nomad", version)
        assert {k: made[k] for k in options} == options
        assert made["exec"] == {c: f'"${{NOMAD_PROVIDER}}" {c}' for c in COMMANDS}
        assert {n for g in made["optionGroups"] for n in g["options"]} == set(made["options"])
        agent = made["agent"]
        assert (agent["path"], agent["dataPath"]) == ("${AGENT_PATH}", "${AGENT_DATA_PATH}")
        secret = {"NOMAD_TOKEN", "NOMAD_HTTP_AUTH", "NOMAD_CACERT", "NOMAD_CLIENT_KEY"}
        assert not secret & set(made["options"])
        for option in made["options"].values():
            assert not ("default" in option and "command" in option)
            assert not ("global" in option and "mutable" in option)

    (binary,) = parse(local)["binaries"]["NOMAD_PROVIDER"]
    (published,) = parse(public)["binaries"]["NOMAD_PROVIDER"]
    name = f"devpod-provider-nomad-{binary['os']}-{binary['arch']}"
    assert binary["path"] == str(release.path / "release" / name)
    assert published["path"] == f"https://github.com/someone/something/releases/download/v1.2.3/{name}"
    file = release.path / "release" / name
    checksum = hashlib.sha256(file.read_bytes()).hexdigest()
    assert published["checksum"] == checksum
    assert (release.path / "release" / "checksums.txt").read_text() == f"{checksum}  {name}\n"
    assert subprocess.run([file, "version"], capture_output=True, check=True).stdout == b"1.2.3\n"


MISTAKES: list[tuple[list[str], dict[str, str], int, str]] = [
    ([], {}, 2, "error: RELEASE_VERSION '': not like 1.2.3 or 1.2.3-dev\n"),
    ([], {"RELEASE_VERSION": "x"}, 2, "error: RELEASE_VERSION 'x': not like 1.2.3 or 1.2.3-dev\n"),
    (["--nope"], {"RELEASE_VERSION": "1.2.3"}, 2, "usage: RELEASE_VERSION=X.Y.Z hack/build.sh [--dev]\n"),
    (
        [],
        {"RELEASE_VERSION": "1.2.3"},
        1,
        "error: RELEASE_REPOSITORY '': set it to the GitHub repository, owner/name\n",
    ),
]


def test_mistakes(release: Release) -> None:
    """Told before anything is built."""
    for args, env, code, error in MISTAKES:
        done = release.build(*args, **env)
        assert (done.returncode, done.stdout) == (code, "")
        assert done.stderr.startswith(error)
        assert not (release.path / "build").exists()
