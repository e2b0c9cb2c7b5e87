"""Sending a sweep to a Ray cluster as a job: the client, what is shipped, the job itself."""

__all__ = ["client", "shipping", "submit"]
