"""How the latent-variable models are trained here, and what they reach, put together from four files.

On "bars", whose entropy is known, a model must come within half a nat of it; the docstrings name the exceptions.
Models of digits have two goals, a distance and a coverage: `evaluation.held_out.digits_found` says what else reaches
them.
"""

from reference_models.latent.recipes_bounds import BOUNDS
from reference_models.latent.recipes_codes import CODES
from reference_models.latent.recipes_mixtures import MIXTURES
from reference_models.latent.recipes_richer import RICHER
from reference_models.recipes import Recipe

RECIPES: dict[str, Recipe] = {**MIXTURES, **BOUNDS, **CODES, **RICHER}
