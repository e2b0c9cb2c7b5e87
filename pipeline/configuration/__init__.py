"""A sweep as YAML: read, checked against the registries, resolved."""

__all__ = ["flat", "kinds", "reading", "section", "settings", "vocabularies", "yaml_text"]
