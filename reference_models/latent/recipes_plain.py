"""How mixtures, pPCA, the VAE and its bounds, hierarchies and vector quantisation are trained, and what they reach."""

from reference_models.recipes import Recipe

PLAIN: dict[str, Recipe] = {}
