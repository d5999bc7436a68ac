"""Lighterman: a Docker Engine in Python. `ARCHITECTURE.md` is the map of the rooms in this package."""

__version__ = "26.11.0"
