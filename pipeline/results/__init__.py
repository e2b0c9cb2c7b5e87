"""A run's folder: its files, rows, summary, and their verification."""
