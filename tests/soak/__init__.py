"""A soak: clients that do a random mix of everything while the engine and monitors are killed beneath them.

`actor.py` is one client with its model of what must be true; `soak.py` lets many of them work, kills, and
looks for what is left. `python -m tests.soak --seconds 3600` is the long run, tests/engine/test_soak.py the
short one.
"""
