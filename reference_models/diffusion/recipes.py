"""How the diffusion models are trained here, and what they reach, put together from four files.

In the plane the noised law of the data is known, and so is the best network. Besides the metrics of
`reference_models.recipes`:

    excess_loss      mean of (ε_θ − ε*)² over times and dimensions: the loss above the best possible one
    score_error      E|s − s*|²/E|s*|², s* the true score
    right_class      share of samples nearest to the mode of the class they were drawn for
    consistency_l1   mean |low image − reduced sample| of super-resolution, pixels in [0, 1]

Models of digits have two goals, a distance and a coverage: `evaluation.held_out.digits_found` says what else reaches
them.
"""

from reference_models.diffusion.recipes_images import IMAGES
from reference_models.diffusion.recipes_plane import IN_THE_PLANE
from reference_models.diffusion.recipes_scores import SCORES
from reference_models.diffusion.recipes_symbols import SYMBOLS
from reference_models.recipes import Recipe

RECIPES: dict[str, Recipe] = {**SCORES, **IN_THE_PLANE, **IMAGES, **SYMBOLS}
