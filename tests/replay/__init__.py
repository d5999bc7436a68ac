"""Recorded answers of dockerd, and how an answer of ours is compared with one.

`recorded` reads a file of recorded requests and answers (one JSON object a line) and keeps track of which of
our ids stands for which recorded one; `normal` takes out of a body what differs from run to run (ids, times,
sizes, addresses, pids) and tells the differences that are left. All of it is pure: who sends the requests is
tests/differential.
"""
