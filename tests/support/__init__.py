"""What the tests and the benchmarks stand on: real engines, real clients, real networks, nothing pretended.

Start with `engines`: an `Engine` is our daemon with roots, socket and bridge of its own, a `Reference` is the
distribution's dockerd beside it. Each lives in a `Neighbourhood` (`net`): a network namespace that plays
the host, with a second one that plays the world outside, so that two engines and the machine they run on
never meet, and so that what an engine leaves behind can be counted exactly. `cli` is the unchanged docker
command, `http` speaks to the socket without any client's help, `images` makes images, `registry` serves
them, `leaks` counts what is left.
"""
