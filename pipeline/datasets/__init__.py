"""From a source to shards of rows."""
