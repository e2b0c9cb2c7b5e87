"""The training problem, over one output or several, and its second layers."""
