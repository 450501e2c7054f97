"""The training recipes of the folder: densities of the plane, dequantised images, and RealNVP, which takes both."""

from __future__ import annotations

from reference_models.data import DataSet
from reference_models.flows.realnvp import RealNVP
from reference_models.flows.recipes_images import IMAGE_RECIPES, IMAGES, image_learner, small_realnvp, uniform
from reference_models.flows.recipes_plane import BEYOND, PLANE, PLANE_RECIPES, plane_learner
from reference_models.recipes import Learner, Recipe


def _realnvp(data: DataSet) -> Learner:
    """Vectors by likelihood, images by the dequantised bound."""
    if len(data.event_shape) == 3:
        return image_learner(uniform(small_realnvp), data)
    return plane_learner(RealNVP(data.event_shape, couplings=8, hidden=(128, 128)), lr=3e-3)


RECIPES: dict[str, Recipe] = {
    **PLANE_RECIPES,
    **IMAGE_RECIPES,
    "realnvp": Recipe(_realnvp, (*PLANE, *IMAGES), BEYOND, minutes=0.8, batch_size=256),
}
