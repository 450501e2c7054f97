r"""Features: the space in which samples are compared. A classifier of digits, and an adapter for any other network.

Distances between pixels say little about images; distances between the activations of a network trained to tell
classes apart say more, which is why the Fréchet distance, precision and recall and their kin are taken there. For
digits the network is `DigitClassifier`, with weights beside this file for 8×8 pixels and for 16×16, to which larger
ones are reduced; for anything else `ModuleFeatures` reads any layer of any torch or torchvision module.

    features  φ(x) = h_L(x)                     the layer before the logits, (N, 32)
    logits    W φ(x) + b                        log-odds of the ten classes, (N, 10), for the Inception score

Measured: the shipped weights name 98.9 % of the 360 held-out digits correctly, those for 16×16 pixels 99.7 % of 2000
drawn ones (`train_digit_classifier` makes them anew). The scale of a Fréchet distance on the former's features, whose
total variance is 97: training against held-out digits 0.78, training digits against as many of uniform noise 77.

GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium (Heusel et al., 2017),
https://arxiv.org/abs/1706.08500
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from reference_models.parts.require import one_of

__all__ = ["WEIGHTS", "DigitClassifier", "ModuleFeatures", "digit_classifier", "digit_features", "digit_logits"]

WEIGHTS = {  # by side of the images, in pixels
    8: Path(__file__).parent / "weights" / "digit_classifier.safetensors",
    16: Path(__file__).parent / "weights" / "drawn_classifier.safetensors",
}
_AT_ONCE = 1024  # images


class DigitClassifier(nn.Module):
    """A convolutional network for digits (N, 1, S, S): `features(x)` of shape (N, F), `forward(x)` logits (N, 10).

    side: S, 8 or 16.

    The layer of features ends in a SiLU, not a ReLU: no feature is constant on the digits, so covariances have full
    rank.
    """

    def __init__(self, width: int = 32, num_features: int = 32, side: int = 8) -> None:
        super().__init__()
        one_of("side", side, (8, 16))
        first: list[nn.Module] = [nn.Conv2d(1, width, 3, padding=1), nn.SiLU()]
        if side == 16:
            first += [nn.MaxPool2d(2), nn.Conv2d(width, width, 3, padding=1), nn.SiLU()]  # (N, width, 8, 8)
        self.body = nn.Sequential(
            *first,
            nn.Conv2d(width, 2 * width, 3, padding=1),
            nn.SiLU(),
            nn.MaxPool2d(2),  # (N, 2 width, 4, 4)
            nn.Conv2d(2 * width, 2 * width, 3, padding=1),
            nn.SiLU(),
            nn.AvgPool2d(2),  # (N, 2 width, 2, 2)
            nn.Flatten(),
            nn.Dropout(0.2),
            nn.Linear(8 * width, num_features),
            nn.SiLU(),
        )
        self.head = nn.Linear(num_features, 10)

    def features(self, x: Tensor) -> Tensor:
        """Images (N, 1, S, S) in [0, 1] to features (N, F)."""
        return self.body(2 * x - 1)

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, 1, S, S) in [0, 1] to logits (N, 10)."""
        return self.head(self.features(x))


@cache
def digit_classifier(
    dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu", side: int = 8
) -> DigitClassifier:
    """The trained classifier of images of this side, 8 or 16, in evaluation mode, its parameters frozen."""
    with torch.device("meta"):  # draws no random numbers
        model = DigitClassifier(side=side)
    model.load_state_dict(load_file(WEIGHTS[side]), assign=True)
    return model.to(device=device, dtype=dtype).eval().requires_grad_(False)


def digit_features(images: Tensor) -> Tensor:
    """Features (N, 32) of images (N, 1, S, S) with values in [0, 1], in the images' dtype and on their device.

    S is 8, or at least 16, and more than 16 is reduced to 16 by averages.

    Gradients reach the images, never the classifier. Raises ValueError for another shape, or for values outside [0, 1].
    """
    images, model = _prepared(images)
    return torch.cat([model.features(part) for part in images.split(_AT_ONCE)])


def digit_logits(images: Tensor) -> Tensor:
    """Logits (N, 10) of images (N, 1, S, S) with values in [0, 1]; otherwise as `digit_features`."""
    images, model = _prepared(images)
    return torch.cat([model(part) for part in images.split(_AT_ONCE)])


def _prepared(images: Tensor) -> tuple[Tensor, DigitClassifier]:
    """The images at a side that has a classifier, and that classifier."""
    _require_digits(images)
    if images.shape[-1] > 16:
        images = nn.functional.adaptive_avg_pool2d(images, 16)
    return images, digit_classifier(images.dtype, images.device, images.shape[-1])


def _require_digits(images: Tensor) -> None:
    square = images.ndim == 4 and images.shape[1] == 1 and images.shape[2] == images.shape[3]
    fits = square and (images.shape[3] == 8 or images.shape[3] >= 16)
    if not fits or len(images) == 0 or not images.is_floating_point():
        raise ValueError(
            f"images must be floats of shape (N, 1, S, S), S = 8 or S ≥ 16, got {images.dtype} {tuple(images.shape)}"
        )
    low, high = float(images.detach().min()), float(images.detach().max())
    if not (low >= -1e-4 and high <= 1 + 1e-4):
        raise ValueError(f"every pixel must lie in [0, 1] (clamp what leaves it), got values in [{low:g}, {high:g}]")


class ModuleFeatures:
    """Features from a layer of any network: `extractor(images)` gives (N, F) for images (N, C, H, W).

    module: the network, e.g. `torchvision.models.inception_v3(weights="DEFAULT")`; it is used in evaluation mode,
        without gradients, and handed back in the mode it had. Images are moved to its device and dtype.
    layer: dotted name of the submodule whose output is read, e.g. "avgpool"; the network's own output when None. It
        is read as the submodule gives it, before an in-place layer after it may change it; that of the last call when
        the network calls it several times.
    size: (H, W) to which images are resized first (bilinear, antialiased), None for as they are.
    mean, std: per channel, subtracted and divided after resizing, e.g. (0.485, 0.456, 0.406) and (0.229, 0.224,
        0.225) for ImageNet; as many as the images have channels, or one for all.
    pool: average an output (N, F, H, W) over H and W; otherwise all of it is flattened.

    Raises ValueError for an unknown layer, a std that is not positive, images that are not floats of as many channels
    as mean and std have, or a layer that gives anything but a tensor of N rows.
    """

    def __init__(
        self,
        module: nn.Module,
        layer: str | None = None,
        *,
        size: tuple[int, int] | None = None,
        mean: Sequence[float] = (0.0,),
        std: Sequence[float] = (1.0,),
        pool: bool = True,
        batch_size: int = 256,
    ) -> None:
        named = dict(module.named_modules())
        if layer is not None and layer not in named:
            raise ValueError(f"no layer {layer!r} in {type(module).__name__}; it has {', '.join(filter(None, named))}")
        self.channels = max(len(mean), len(std))
        if not {len(mean), len(std)} <= {1, self.channels} or not mean or not std:
            raise ValueError(f"mean and std must have one number, or one a channel, got {tuple(mean)} and {tuple(std)}")
        if not all(s > 0 for s in std):
            raise ValueError(f"every std must be positive, got {tuple(std)}")
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        self.module, self.read = module, module if layer is None else named[layer]
        self.size, self.mean, self.std, self.pool, self.batch_size = size, tuple(mean), tuple(std), pool, batch_size

    def __call__(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) to features (N, F)."""
        if images.ndim != 4 or len(images) == 0 or not images.is_floating_point():
            raise ValueError(f"images must be floats of shape (N, C, H, W), got {images.dtype} {tuple(images.shape)}")
        if self.channels not in (1, images.shape[1]):
            raise ValueError(f"mean and std are for {self.channels} channels, got images of {images.shape[1]}")
        modes = {part: part.training for part in self.module.modules()}
        try:
            self.module.eval()
            with torch.no_grad():
                return torch.cat([self._features(part) for part in images.split(self.batch_size)])
        finally:
            for part, training in modes.items():
                part.training = training

    def _features(self, images: Tensor) -> Tensor:
        caught: list[object] = []
        # a copy: torchvision's networks go on in place, by ReLU(inplace=True) and by out += identity
        hook = self.read.register_forward_hook(
            lambda module, inputs, output: caught.append(output.clone() if isinstance(output, Tensor) else output)
        )
        try:
            self.module(self._prepared(images))
        finally:
            hook.remove()
        output = caught[-1] if caught else None
        if not isinstance(output, Tensor) or output.ndim == 0 or len(output) != len(images):
            got = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
            raise ValueError(f"the layer must give a tensor with a row an image, got {got} for {len(images)} images")
        if self.pool and output.ndim == 4:
            return output.mean(dim=(2, 3))
        return output.flatten(start_dim=1) if output.ndim > 1 else output[:, None]

    def _prepared(self, images: Tensor) -> Tensor:
        own = next((p for p in self.module.parameters() if p.is_floating_point()), images)
        images = images.to(device=own.device, dtype=own.dtype)
        if self.size is not None and tuple(images.shape[2:]) != self.size:
            images = nn.functional.interpolate(images, self.size, mode="bilinear", antialias=True, align_corners=False)
        mean, std = images.new_tensor(self.mean), images.new_tensor(self.std)
        return (images - mean[:, None, None]) / std[:, None, None]
