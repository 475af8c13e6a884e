"""A simulated Nomad for tests: `from sim import Sim`, or `python -m sim` from the tests directory."""

from .server import Sim

__all__ = ["Sim"]
