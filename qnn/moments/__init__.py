"""Moment matrices: semidefinite hierarchies over words of commuting or non-commuting letters."""
