"""How fast and how heavy our engine is beside the distribution's dockerd, in one interleaved run.

`python -m benchmarks` (as root) starts both in network namespaces of their own, each with its bridge, and
measures by turns, so that what else the machine does strikes both alike. A *row* (`rows`) is one thing
measured; what is printed are medians and the ratio. `python -m benchmarks.start_path` shows where each
millisecond of a start goes. All is measured at the API, on a connection that stays open: no client's own
start is in the numbers.
"""
