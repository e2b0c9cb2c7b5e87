"""A sweep as YAML: read, checked against the registries, resolved."""

__all__ = [
    "beta",
    "descriptions",
    "flat",
    "kinds",
    "metric",
    "paths",
    "reading",
    "retraining",
    "section",
    "settings",
    "vocabularies",
    "yaml_text",
]
