"""PixelCNN: an image density whose conditionals come from masked convolutions, all pixels in one pass.

A convolution whose kernel is zero from the centre on (mask A) or after it (mask B) sees the rows above and what is to
the left. One A layer and a stack of B layers see further and further back, never ahead:

    p(x) = Π_i p(x_i | x_<i),    input → 7×7 A → residual blocks (1×1, 3×3 B, 1×1) → 1×1 B → 1×1 B → softmax  (table 1)

The price of the simple mask is a blind spot: each layer looks up and to both sides but on its own row only to the left,
so what is above and to the right of the 45° cone (for 3×3 kernels) is never seen, however deep the stack.
`gated_pixelcnn` removes it.

Reference: "Pixel Recurrent Neural Networks" (van den Oord, Kalchbrenner, Kavukcuoglu, 2016), sections 3.3–3.5 and
table 1, https://arxiv.org/abs/1601.06759.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from reference_models.parts.raster import RasterConv2d, RasterHead, RasterModel, centred, to_conditionals
from reference_models.parts.require import at_least
from reference_models.parts.residual import Residual


def residual_block(features: int, kernel: int, channels: int) -> Residual:
    """2h → h → h → 2h maps by 1×1, k×k and 1×1 convolutions, each after a ReLU, all under mask B (figure 5, left)."""
    reduce = RasterConv2d("B", 2 * features, features, 1, channels)
    look = RasterConv2d("B", features, features, kernel, channels)
    expand = RasterConv2d("B", features, 2 * features, 1, channels)
    return Residual(nn.ReLU(), reduce, nn.ReLU(), look, nn.ReLU(), expand)


class PixelCNN(RasterModel):
    """A density on images of K levels.

    image_shape: (C, H, W); levels: K. features: h, a block carries 2h maps; blocks: how many; head: maps of the head.
    first_kernel, kernel: odd sides of the A layer and of the blocks' middle convolution.
    """

    def __init__(
        self,
        image_shape: Sequence[int] = (1, 8, 8),
        levels: int = 2,
        *,
        features: int = 16,
        blocks: int = 3,
        head: int = 32,
        first_kernel: int = 7,
        kernel: int = 3,
    ) -> None:
        super().__init__(image_shape, levels)
        at_least("features", features, 1)
        at_least("blocks", blocks, 0)
        channels = self.image_shape[0]
        self.first = RasterConv2d("A", channels, 2 * features, first_kernel, channels)
        self.blocks = nn.Sequential(*(residual_block(features, kernel, channels) for _ in range(blocks)))
        self.head = RasterHead(2 * features, head, channels, levels)

    @classmethod
    def paper(cls) -> PixelCNN:
        """CIFAR-10: 15 blocks with h = 128, a head of 1024 maps (section 5)."""
        return cls((3, 32, 32), 256, features=128, blocks=15, head=1024)

    def logits(self, x: Tensor) -> Tensor:
        """Unnormalised log-conditionals, (N, C, h, W) floats k/(K−1) to (N, K, C, h, W)."""
        features: Tensor = self.head(self.blocks(self.first(centred(x))))
        return to_conditionals(features, self.image_shape[0], self.levels)
