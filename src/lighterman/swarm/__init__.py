"""Orchestration over etcd."""
