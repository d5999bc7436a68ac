"""Start-up is recovery: rows and facts are brought together, whatever the last engine was doing."""

import logging
from collections.abc import Sequence

from lighterman.containers.ending import is_at_rest
from lighterman.containers.exited import ended, remove_at_end, start_later
from lighterman.containers.life import Creating, Paused, Removing, Restarting, Running, Started, StartRefused
from lighterman.containers.remove import dismantle
from lighterman.containers.state import Container, Containers
from lighterman.containers.take_down import take_down
from lighterman.errdefs import EngineError
from lighterman.runtime import Exit, Lost, Recovered
from lighterman.runtime import Running as Found

log = logging.getLogger(__name__)
