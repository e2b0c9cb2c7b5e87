"""From a config to units of work, with what each costs."""
