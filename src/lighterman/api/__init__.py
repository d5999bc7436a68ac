"""Everything that listens to HTTP."""
