"""OCI runtime-spec types and the pure builders of their parts."""
