"""Taskmaster's core: the shim that is the parent of everything, the policy, the wire, the clients and the CLI."""

__version__ = "0.1.0"
