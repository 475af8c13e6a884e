"""What tests can make go wrong, and the record of what was asked."""

from __future__ import annotations

import asyncio
import random
import re
import time
from dataclasses import asdict, dataclass, field, fields
from typing import Any

ACTIONS = ("respond", "delay", "cut", "cut_body", "garbage", "ws_close")


@dataclass
class Recorded:
    """One request as it arrived."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: str = ""
    time: float = field(default_factory=time.monotonic)
    target: str = ""
    """Path and query as sent."""
    status: int = 0
    """0 until answered, and for a connection that was cut."""

    @property
    def token(self) -> str:
        return self.headers.get("X-Nomad-Token", "")


@dataclass
class Rule:
    """Apply `action` to requests whose "METHOD /path" matches the regular expression.

    respond: answer status+body.  delay: wait, then go on (a delay may be added to any action).  cut: close the
    connection before a byte is sent.  cut_body: send headers and `after` bytes of the real answer, then close.
    garbage: send `body` raw instead of HTTP.  ws_close: upgrade, then a close frame with code and reason.
    """

    match: str
    action: str = "respond"
    times: int | None = None
    """How often it applies; None is for ever."""
    skip: int = 0
    """How many matching requests pass untouched first."""
    delay: float = 0.0
    status: int = 500
    body: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    after: int = 0
    code: int = 1011
    reason: str = ""
    hits: int = 0
    id: int = 0

    def __post_init__(self) -> None:
        if self.action not in ACTIONS:
            raise ValueError(f"unknown action {self.action!r}: one of {', '.join(ACTIONS)}")
        re.compile(self.match)


EXEC_FAULTS = (
    "spurious_exit",
    "lost_tail",
    "exit_first",
    "one_byte",
    "hang",
    "no_stdin_close",
    "close",
    "cut",
    "silent",
    "delay",
    "chunk",
)


@dataclass
class ExecFault:
    """Something wrong with the next exec sessions.

    spurious_exit: `exited`, code 0, at once, and the process never starts (measured: 2-3% of plain runs).
    lost_tail: the last `bytes` of output that are still on their way when the process ends are dropped (#27146).
    exit_first: the exit frame comes before that last output (#10657).
    one_byte / chunk: output in frames of one / `bytes` bytes (the real server: 1024).
    hang: connected, but no process and no output.   no_stdin_close: stdin's close is ignored (1.9.0, #24171).
    close: after `bytes` bytes of output, a close frame with code and reason.   cut: the same without a frame.
    silent: after `bytes` bytes of output neither that nor a pong comes, and the connection stays (a node that is gone).
    delay: `seconds` before the process starts.
    """

    kind: str
    times: int | None = 1
    skip: int = 0
    probability: float = 1.0
    bytes: int = 0
    seconds: float = 0.0
    code: int = 1011
    reason: str = ""
    hits: int = 0
    closes: int = 0
    """How often no_stdin_close has ignored one."""
    id: int = 0

    def __post_init__(self) -> None:
        if self.kind not in EXEC_FAULTS:
            raise ValueError(f"unknown exec fault {self.kind!r}: one of {', '.join(EXEC_FAULTS)}")


class Faults:
    """Rules, exec faults and the record; changed from the loop's thread only."""

    def __init__(self, seed: int) -> None:
        self.rules: list[Rule] = []
        self.exec_faults: list[ExecFault] = []
        self.requests: list[Recorded] = []
        self._rng = random.Random(seed)
        self._ids = 0
        self._arrived = asyncio.Event()

    def record(self, request: Recorded) -> None:
        self.requests.append(request)
        self._arrived.set()
        self._arrived = asyncio.Event()

    async def wait_request(self, match: str) -> Recorded:
        """The first recorded request whose "METHOD /path?query" matches, now or later."""
        while True:
            for request in self.requests:
                if re.search(match, f"{request.method} {request.target}"):
                    return request
            await self._arrived.wait()

    def add_rule(self, rule: Rule) -> int:
        self._ids += 1
        rule.id = self._ids
        self.rules.append(rule)
        return rule.id

    def add_exec(self, fault: ExecFault) -> int:
        self._ids += 1
        fault.id = self._ids
        self.exec_faults.append(fault)
        return fault.id

    def clear(self) -> None:
        self.rules.clear()
        self.exec_faults.clear()

    def take_rule(self, method: str, path: str) -> Rule | None:
        """The first rule that applies; every matching rule before it counts its skips down."""
        for rule in self.rules:
            if not re.search(rule.match, f"{method} {path}"):
                continue
            if rule.skip > 0:
                rule.skip -= 1
                continue
            if rule.times is not None and rule.hits >= rule.times:
                continue
            rule.hits += 1
            return rule
        return None

    def take_exec(self) -> dict[str, ExecFault]:
        """All faults of one new exec session, by kind."""
        out: dict[str, ExecFault] = {}
        for fault in self.exec_faults:
            if fault.times is not None and fault.hits >= fault.times:
                continue
            if fault.skip > 0:
                fault.skip -= 1
                continue
            if self._rng.random() >= fault.probability:
                continue
            fault.hits += 1
            out.setdefault(fault.kind, fault)
        return out


def from_json(kind: type[Any], value: dict[str, Any]) -> Any:
    """A Rule or ExecFault from a control call's body; unknown keys are mistakes."""
    known = {f.name for f in fields(kind)} - {"hits", "closes", "id"}
    if unknown := set(value) - known:
        raise ValueError(f"unknown field {sorted(unknown)[0]!r}: one of {', '.join(sorted(known))}")
    return kind(**value)


def to_json(value: Any) -> dict[str, Any]:
    return asdict(value)
