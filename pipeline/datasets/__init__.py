"""From a source (a file, a folder, a URI, scikit-learn) to shards of rows."""

__all__ = [
    "batches",
    "csv_text",
    "embedded",
    "examples",
    "files",
    "problems",
    "recognized",
    "shards",
    "sources",
    "spellings",
    "splitting",
]
