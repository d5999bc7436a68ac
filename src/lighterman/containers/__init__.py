"""The life of containers."""
