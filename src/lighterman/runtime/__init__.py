"""Zygote, monitors and OCI runtimes."""
