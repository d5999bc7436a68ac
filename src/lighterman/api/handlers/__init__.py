"""The handlers, by section of the API. Each decodes, gates, calls one function of a room, and encodes."""
