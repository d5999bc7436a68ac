"""Configuration, wiring, reconcile at start, orderly stop."""
