"""The distribution protocol, as a client."""

from lighterman.registry.client import Registry

__all__ = ["Registry"]
