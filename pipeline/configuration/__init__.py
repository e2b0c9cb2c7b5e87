"""A sweep as YAML: read, checked against the registries, resolved."""

__all__ = [
    "flat",
    "kinds",
    "metric",
    "paths",
    "reading",
    "section",
    "settings",
    "vocabularies",
    "yaml_text",
]
