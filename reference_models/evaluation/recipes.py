"""The one model that evaluation trains: the classifier of digits behind the features.

Metrics: `accuracy`, the part of held-out digits whose most likely class is their label; `frechet_digits`, the Fréchet
distance between training and held-out digits on the features just trained, in their own unit. The weights that are
shipped come from `train_digit_classifier`, which takes the same steps for a fixed number of epochs.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor, nn

from reference_models.data import DataSet
from reference_models.evaluation.features import DigitClassifier
from reference_models.evaluation.frechet import frechet_distance
from reference_models.evaluation.train_digit_classifier import accuracy, classification_loss
from reference_models.recipes import Figure, Goal, Images, Learner, Minimise, Recipe


def classifier(data: DataSet) -> Learner:
    """The classifier with its loss on varied digits."""

    def loss(model: nn.Module, x: Tensor, y: Tensor | None, generator: Generator) -> Tensor:
        if y is None:
            raise ValueError("a classifier needs labels")
        return classification_loss(model, x, y, generator=generator)

    def metrics(model: DigitClassifier, data: DataSet, generator: Generator) -> dict[str, float]:
        if data.held_out_labels is None:
            raise ValueError("a classifier needs labels")
        with torch.no_grad():
            distance = frechet_distance(model.features(data.train), model.features(data.held_out))
        return {
            "accuracy": accuracy(model, data.held_out, data.held_out_labels),
            "frechet_digits": distance.item(),
        }

    def figure(model: DigitClassifier, data: DataSet, generator: Generator) -> Figure:
        """The held-out digits the classifier is least and most sure of."""
        with torch.no_grad():
            confidence: Tensor = model(data.held_out).softmax(1).max(dim=1).values
        order = confidence.argsort()
        return Images({"least sure": data.held_out[order[:64]], "most sure": data.held_out[order[-64:]]})

    return Minimise(DigitClassifier(), loss=loss, metrics=metrics, figure=figure, lr=3e-3, decay=True)


RECIPES: dict[str, Recipe] = {
    "digit-classifier": Recipe(
        classifier,
        ("digits",),
        (Goal("accuracy", at_least=0.97),),
        minutes=0.75,
        batch_size=64,
        apart="it generates nothing",
    ),
}
