"""Interactive use: every byte comes back at once, also one that could begin our end mark (\\036)."""

from __future__ import annotations

import os

from harness import Machine


def test_pingpong_of_every_byte(created: Machine) -> None:
    """As ssh over stdio does it: nothing more is sent before the answer is there."""
    with created.popen("command", "cat") as process:
        assert process.stdin and process.stdout
        for last in range(256):
            ping = b"x" * 63 + bytes([last])
            process.stdin.write(ping)
            process.stdin.flush()
            pong = b""
            while len(pong) < len(ping):
                piece = os.read(process.stdout.fileno(), 4096)
                assert piece, f"the stream ended at byte {last}"
                pong += piece
            assert pong == ping
        process.stdin.close()
        assert process.stdout.read() == b""
        assert process.wait(30) == 0
