"""A release made of a copy of the project, so that the project's own build and release stay as they are."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import PROJECT

PARTS = ("CMakeLists.txt", "CMakePresets.json", "provider.yaml.in", "cmake", "hack", "include", "src")
BUILD_LIMIT = 600.0


@dataclass(frozen=True)
class Release:
    """hack/build.sh's work, in `path`/release."""

    path: Path

    @property
    def yaml(self) -> Path:
        return self.path / "release" / "provider.yaml"

    def build(self, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.path / "hack" / "build.sh", *args],
            env={"PATH": os.environ["PATH"], "HOME": str(self.path), **env},
            capture_output=True,
            text=True,
            timeout=BUILD_LIMIT,
            check=False,
        )


def copy_project(to: Path) -> Release:
    to.mkdir()
    for part in PARTS:
        source = PROJECT / part
        if source.is_dir():
            shutil.copytree(source, to / part)
        else:
            shutil.copy2(source, to / part)
    return Release(to)


# -- as much YAML as provider.yaml has: block mappings and lists, plain and quoted scalars, block text, comments

_KEY = re.compile(r'("(?:[^"\\]|\\.)*"|[A-Za-z_][\w.-]*):(?: (.*))?$')


def scalar(text: str) -> str:
    if text.startswith('"'):
        value = json.loads(text)  # a double-quoted scalar with JSON's escapes
        assert isinstance(value, str)
        return value
    if text.startswith("'"):
        assert text.endswith("'") and len(text) > 1, text
        assert "'" not in text[1:-1].replace("''", ""), text
        return text[1:-1].replace("''", "'")
    assert not re.search(r"^[&*!|>%@`\[\]{},?#-]|: |:$| #", text), f"not a plain scalar: {text}"
    return text


def parse(text: str) -> Any:
    """YAML's meaning as dicts, lists and strings; an assertion where it is not well-formed."""
    assert "\t" not in text
    lines = [
        (len(x) - len(x.lstrip()), x.strip()) for x in text.splitlines() if x.strip() and not x.strip().startswith("#")
    ]
    value, rest = _block(lines, 0)
    assert rest == len(lines), lines[rest]
    return value


def _block(lines: list[tuple[int, str]], at: int) -> tuple[Any, int]:
    indent = lines[at][0]
    if lines[at][1].startswith("- "):
        items: list[Any] = []
        while at < len(lines) and lines[at][0] == indent and lines[at][1].startswith("- "):
            inner = lines[at][1][2:]
            if _KEY.match(inner):
                lines[at] = (indent + 2, inner)
                value, at = _block(lines, at)
            else:
                value, at = scalar(inner), at + 1
            items.append(value)
        return items, at
    found: dict[str, Any] = {}
    while at < len(lines) and lines[at][0] == indent and not lines[at][1].startswith("- "):
        match = _KEY.match(lines[at][1])
        assert match is not None, f"no mapping: {lines[at][1]}"
        key = scalar(match[1])
        assert key not in found, f"{key} is there twice"
        at += 1
        if match[2]:
            found[key] = scalar(match[2])
        else:
            assert at < len(lines) and lines[at][0] > indent, f"{key} has no value"
            found[key], at = _block(lines, at)
    assert at == len(lines) or lines[at][0] < indent or lines[at][1].startswith("- "), f"odd indent: {lines[at][1]}"
    return found, at
