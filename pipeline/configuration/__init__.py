"""A sweep as YAML: read, checked against the registries, resolved."""

__all__ = [
    "descriptions",
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
