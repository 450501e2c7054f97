"""How richer decoders, priors and posteriors, discrete and implicit codes are trained, and what they reach."""

from reference_models.recipes import Recipe

RICHER: dict[str, Recipe] = {}
