"""OCI: the runtime specification as types, and the pure builders of what Docker puts into it.

Used by module. `spec` has the types; `defaults` what every container has; `capabilities`, `devices` and
`seccomp` answer the wishes of a HostConfig. Nothing here knows a container's life.
"""
