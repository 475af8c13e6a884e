"""The templates that the provider writes for a secret (src/spec/vault.c), recognised by their shape: no template engine."""

from __future__ import annotations

import json
import re
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Fields = dict[str, Any]

_STRING = r'"((?:[^"\\]|\\.)*)"'
_PATH = re.compile(rf"\{{\{{ with secret {_STRING} \}}\}}")
_FIELD = re.compile(
    rf"\{{\{{ \$v := index \$fields {_STRING} \}}\}}.*?"
    r"\{\{ if le \(len \$v\) (\d+) \}\}(export )?(?:\{\{ end \}\})?([A-Za-z_]\w*)=(.*?)(?:\{\{ end \}\})?\n"
)
_QUOTED = """'{{ $v | replaceAll "'" "'\\\\''" }}'"""


class LoginRefused(Exception):
    """Vault does not let the task in: nothing is rendered."""


class Missing(Exception):
    """There is nothing at the path, or it may not be read: the template is tried again."""


class Failed(Exception):
    """The template ends the task."""


@dataclass
class Line:
    """One field as one variable: quoted for a shell and exported unless it is long, or JSON unless it is long."""

    field: str
    name: str
    limit: int
    shell: bool

    def text(self, value: str) -> str:
        if self.shell:
            quoted = value.replace("'", "'\\''")
            return f"{'export ' if len(value.encode()) <= self.limit else ''}{self.name}='{quoted}'\n"
        shown = _go_json(value)
        return f"{self.name}={shown}\n" if len(shown.encode()) <= self.limit else "\n"


@dataclass
class Template:
    path: str
    lines: list[Line]

    def render(self, read: Callable[[str], Fields | None]) -> str:
        fields = read(self.path)
        if fields is None:
            raise Missing(f"vault.read({self.path})")
        return "\n" + "".join(line.text(self._value(fields, line.field)) for line in self.lines)

    def _value(self, fields: Fields, name: str) -> str:
        value = fields.get(name)
        text = value if isinstance(value, str) else _go_json(value)
        if value is None or "\0" in text:
            what = "is not there" if value is None else "holds a NUL byte, which no variable can"
            message = f"Vault: {self.path}: field '{name}' {what}"
            raise Failed(
                f'Template failed: (dynamic): execute: template: :2:66: executing "" at <sprig_fail "{message}">: '
                f"error calling sprig_fail: {message}"
            )
        return text


def parse(text: str) -> Template | None:
    """None where the text is no template of ours."""
    path = _PATH.match(text)
    if path is None:
        return None
    lines = []
    for field, limit, export, name, value in _FIELD.findall(text):
        shell = value == _QUOTED
        if not shell and value != "{{ $v }}" or bool(export) != shell:
            raise ValueError(f"a template of an unknown shape: {text!r}")
        lines.append(Line(_go_string(field), name, int(limit), shell))
    if len(lines) != text.count("$v := index") or not lines:
        raise ValueError(f"a template of an unknown shape: {text!r}")
    return Template(urllib.parse.unquote(_go_string(path[1])), lines)


def variables(text: str) -> dict[str, str]:
    """What Nomad reads from a rendered file with Envvars."""
    return {name: json.loads(value) for name, value in (line.split("=", 1) for line in text.split("\n") if line)}


def _go_string(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)


def _go_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
