"""Schemathesis against a real engine, by the OpenAPI document of its routes: `make fuzz`, as root.

tests/security/test_fuzz.py is the short run that every `make test` has, with requests of our own making; here
a tool that others wrote asks each operation what the document allows and what it does not.
"""
