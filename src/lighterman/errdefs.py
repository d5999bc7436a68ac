"""Kinds of failure, and nothing else.

An error is raised where the fact is known, with the text that Docker's clients know. Its class says the
kind; only `api/errors.py` knows that kinds have HTTP statuses.
"""


class EngineError(Exception):
    """The common root; never raised itself."""


class NotModified(EngineError):
    """What was asked for is so already."""


class InvalidParameter(EngineError):
    """The request itself is wrong, whatever the engine's state."""


class Unauthorized(EngineError):
    """Credentials are missing or wrong."""


class Forbidden(EngineError):
    """Never allowed, or not to this client."""


class NotFound(EngineError):
    """The object named does not exist."""


class Conflict(EngineError):
    """The object's present state does not allow it."""


class System(EngineError):
    """The host, the kernel, the runtime or a peer failed."""


class Unimplemented(EngineError):
    """The API has it, this engine does not (yet)."""


class Unavailable(EngineError):
    """Not now: a service that this needs is not there."""
