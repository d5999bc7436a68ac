"""The plugin protocol and its processes."""
