"""Training a two-layer network: problem, relaxation, pricing, rounding, certified result."""
