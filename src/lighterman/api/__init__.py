"""Everything that listens to HTTP.

A request walks: connection -> `serve` (head, version, route) -> handler (decode, gate, one call of a room,
encode) -> answer. Four words. A *route* is a row of the one table in `routes.py`; a *gate* is what differs
for clients of an older version (`gates.py`); a *hijack* is a connection that leaves HTTP (`hijack.py`);
`Rooms` are the services that handlers call, brought together by the wiring. `decode.py` has Go's habits of
reading JSON, `errors.py` gives kinds of failure their statuses.
"""

from lighterman.api.rooms import EngineInfo, Rooms
from lighterman.api.serve import Audit, Deed, Front, Guard, Listener, request_id, serve

__all__ = ["Audit", "Deed", "EngineInfo", "Front", "Guard", "Listener", "Rooms", "request_id", "serve"]
