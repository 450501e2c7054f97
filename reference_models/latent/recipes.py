"""The training recipes of the folder: one a family, the two halves of the catalogue put together."""

from reference_models.latent.recipes_plain import PLAIN
from reference_models.latent.recipes_richer import RICHER
from reference_models.recipes import Recipe

RECIPES: dict[str, Recipe] = {**PLAIN, **RICHER}
