"""The project's documents, whose examples the tests run."""

from __future__ import annotations

import json
import re
from typing import Any

from harness import PROJECT


def blocks(document: str, kind: str) -> list[str]:
    """The blocks of that kind, as ```sh begins one."""
    text = (PROJECT / "docs" / document).read_text()
    return re.findall(rf"^```{kind}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def members(document: str) -> dict[str, Any]:
    """What its json blocks, each a member of devcontainer.json, are together."""
    found: dict[str, Any] = {}
    for block in blocks(document, "json"):
        found.update(json.loads(f"{{{block}}}"))
    return found
