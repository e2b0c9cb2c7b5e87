"""Running a plan: driver, dispatch, resume, progress."""

__all__ = [
    "background",
    "cluster",
    "dispatch",
    "driver",
    "events",
    "interrupts",
    "lease",
    "progress",
    "resume",
    "worker",
]
