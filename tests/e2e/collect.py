"""For CMakeLists.txt: every test of tests/e2e and tests/sim, a line each: "nomad" (it needs one), "slow" or "-", and its
id.

It runs in tests/. The exit code is pytest's.
"""

from __future__ import annotations

import contextlib
import sys

import pytest


class Collector:
    """A pytest plugin that keeps the items."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        for item in session.items:
            needs = next((m for m in ("nomad", "slow") if item.get_closest_marker(m)), "-")
            self.lines.append(f"{needs} {item.nodeid}")


def main() -> int:
    collector = Collector()
    options = ["--collect-only", "-qq", "-p", "no:cacheprovider", "--rootdir=.", "e2e", "sim"]
    with contextlib.redirect_stdout(sys.stderr):
        code = pytest.main(options, plugins=[collector])
    print("\n".join(collector.lines))
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
