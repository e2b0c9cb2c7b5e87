"""Moment matrices: semidefinite hierarchies over words of commuting or non-commuting letters.

`bell` decides behaviours of Bell scenarios; `words`, `symmetry` and `hierarchy` are what it stands
on. Each is imported by its own name: they are compiled where they are used.
"""

__all__ = ["bell", "correlation_rounding", "csp", "hierarchy", "symmetry", "words"]
