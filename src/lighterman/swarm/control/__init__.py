"""The API's verbs on what a swarm holds: services, tasks, secrets, configs, networks.

Each takes the manager's store first. What a client wishes is completed (`spec`), judged (`check`, `refusals`
has the words) and written down; what comes of it is the leader's business. Answers are made of the state when
they are asked for (`view`). Objects are found by id, by name or by the beginning of an id (`find`).

Source: moby, daemon/cluster, and SwarmKit, manager/controlapi, whose texts these are: clients know them.
"""
