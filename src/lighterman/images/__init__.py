"""Names, manifests and prune."""
