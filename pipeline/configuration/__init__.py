"""A sweep as YAML: read, checked against the registries, resolved."""

__all__ = [
    "beta",
    "flat",
    "kinds",
    "reading",
    "retraining",
    "section",
    "settings",
    "vocabularies",
    "yaml_text",
]
