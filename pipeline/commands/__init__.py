"""The command `qnn`: what each subcommand reads, does and says, with its exit code."""

__all__ = ["cli", "doctor", "jobs", "options", "retraining", "submission", "sweep", "terminal"]
