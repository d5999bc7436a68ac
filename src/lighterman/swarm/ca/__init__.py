"""Who may take part in a swarm: certificates, tokens, and keys that people copy.

`certificates` makes roots and leafs and reads them, `tokens` makes and reads the texts of `docker swarm
join-token` and `unlock-key`. All of it is pure but for chance; clocks are arguments.
"""
