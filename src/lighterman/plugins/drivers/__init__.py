"""The interfaces over the socket protocol, one module each: requests and answers as Docker's plugin API has
them.

A driver here is a `PluginClient` and knows nothing else; what the rooms above call is `plugins.interfaces`.
"""
