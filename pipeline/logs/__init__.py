"""What is said while a command runs, without secrets."""

__all__ = ["console", "log_lines", "messages", "redact", "shell"]
