"""How the latent-variable models are trained here, and what they reach, put together from four files.

On "bars", whose entropy is known, a model must come within half a nat of it; the docstrings name the exceptions.
Every model of digits must come within a `frechet_digits` of 10: digits with noise of standard deviation 0.2 on their
pixels lie at about 8, held-out digits at 0.8.
"""

from reference_models.latent.recipes_bounds import BOUNDS
from reference_models.latent.recipes_codes import CODES
from reference_models.latent.recipes_mixtures import MIXTURES
from reference_models.latent.recipes_richer import RICHER
from reference_models.recipes import Recipe

RECIPES: dict[str, Recipe] = {**MIXTURES, **BOUNDS, **CODES, **RICHER}
