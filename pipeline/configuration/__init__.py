"""A sweep as YAML: read, checked against the registries, resolved."""

__all__ = [
<<<<<<< HEAD
    "descriptions",
    "flat",
    "kinds",
    "metric",
    "paths",
    "reading",
=======
    "beta",
    "flat",
    "kinds",
    "reading",
    "retraining",
>>>>>>> main
    "section",
    "settings",
    "vocabularies",
    "yaml_text",
]
