"""Dockerfiles and the build graph."""
