"""Bridges, endpoints, ports, DNS."""
