"""What is said while a command runs, without secrets."""
