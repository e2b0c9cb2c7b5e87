"""The command `qnn`."""
