"""Builds: from a Dockerfile and its context to an image.

Three words. The *outline* is the graph of stages, decided before anything happens; a *step* is one
instruction, whose image is found in the cache or made; a *context* is the directory that COPY and ADD take
from. The grammar of Dockerfiles is in `lib.dockerfile`, what steps do to files is worker's work
(`content`), programs run in containers.

`builds.py` is the way in, `build.py` one build, `stage.py` one stage; `transfer.py` is COPY and ADD,
`running.py` is RUN. Nothing of this room is imported before somebody builds.
"""

from lighterman.build.builds import Builds
from lighterman.build.collect import Rule, default_rules
from lighterman.build.prune import FILTERS
from lighterman.build.session import SessionWish
from lighterman.build.wish import BuildWish

__all__ = ["FILTERS", "BuildWish", "Builds", "Rule", "SessionWish", "default_rules"]
