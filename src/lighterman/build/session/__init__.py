"""Sessions: what a client lends the engine while it builds.

Three words. A *session* is a connection that has left HTTP and on which the roles are swapped: the client
serves, the engine calls (gRPC over h2c). Its *methods* are what the client said that it serves. What they are
for is in a module each: `files` (the build's context), `lends` (credentials, secrets), `agent` (ssh).

A build names its session by id, perhaps before the session has come. gRPC costs 6 MB and a fifth of a second
(measured), so it is imported when the first session comes, and outside of the event loop's thread.

Source: POST /session of the API; buildkit's session package as dockerd 20.10.24 has it.
"""

from lighterman.build.session.sessions import NoSuchSession, Session, Sessions, SessionWish

__all__ = ["NoSuchSession", "Session", "SessionWish", "Sessions"]
