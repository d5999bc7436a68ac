"""Image references: the field's grammar, pure."""
