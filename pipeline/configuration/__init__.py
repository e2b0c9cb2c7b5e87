"""A sweep as YAML: read, checked, resolved."""
