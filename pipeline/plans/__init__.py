"""From a config to units of work with ids that follow from content, and what each costs."""

__all__ = ["estimates", "plan", "units"]
