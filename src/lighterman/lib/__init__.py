"""Small pure libraries, each worth publishing alone. Used by module; none knows a container."""
