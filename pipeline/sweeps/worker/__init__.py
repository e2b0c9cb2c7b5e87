"""What a Ray task does."""
