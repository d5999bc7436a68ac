"""Layers as mounts."""
