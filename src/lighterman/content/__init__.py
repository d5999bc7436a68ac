"""Bytes by digest, and the processes that move them."""

from lighterman.content.blobs import Content
from lighterman.content.workers import Workers

__all__ = ["Content", "Workers"]
