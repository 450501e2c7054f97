"""Row LSTM: the PixelRNN that reads an image row by row.

An LSTM whose state is a whole row of feature maps. The input-to-state part is a convolution along the row under mask B,
computed for all rows at once; the state-to-state part is a convolution along the row above and needs no mask:

    [o_i, f_i, i_i, g_i] = σ(K^ss ∗ h_{i−1} + K^is ∗ x_i)
    c_i = f_i ⊙ c_{i−1} + i_i ⊙ g_i,    h_i = o_i ⊙ tanh(c_i)          (eq. 3; for the content gate g, σ means tanh)

With a kernel of three a state sees a triangle above it, one pixel wider each row: not the whole past, which the
diagonal BiLSTM reaches. Layers are residual: 2h maps in, an LSTM of h, 1×1 back to 2h (figure 5, right).

Reference: "Pixel Recurrent Neural Networks" (van den Oord, Kalchbrenner, Kavukcuoglu, 2016), sections 3.1 and 3.3,
table 1, https://arxiv.org/abs/1601.06759.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from reference_models.parts.raster import RasterConv2d, RasterHead, RasterModel, centred, to_conditionals
from reference_models.parts.require import at_least


def lstm_update(gates: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """The state and the cell after one step, (N, h, ·) each, from the four gates before their nonlinearities.

    gates: o, f, i, g in this order, (N, 4h, ·); c: the cell before, (N, h, ·).
    """
    o, f, i, g = gates.chunk(4, dim=1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


class RowLSTMLayer(nn.Module):
    """One residual layer, (N, 2h, H, W) to the same shape. kernel: odd, of both convolutions along the row."""

    def __init__(self, features: int, kernel: int, channels: int) -> None:
        super().__init__()
        if kernel % 2 == 0:
            raise ValueError(f"kernel must be odd, so that a state sees both sides alike, got {kernel}")
        self.features = features
        self.input_to_state = RasterConv2d("B", 2 * features, 4 * features, (1, kernel), channels, gates=4)
        self.state_to_state = nn.Conv1d(features, 4 * features, kernel, padding=kernel // 2, bias=False)
        self.out = RasterConv2d("B", features, 2 * features, 1, channels)

    def forward(self, x: Tensor) -> Tensor:
        inputs: Tensor = self.input_to_state(x)  # (N, 4h, H, W)
        n, _, height, width = x.shape
        h = c = x.new_zeros(n, self.features, width)
        rows = []
        for i in range(height):
            h, c = lstm_update(self.state_to_state(h) + inputs[:, :, i], c)
            rows.append(h)
        states = torch.stack(rows, dim=2)  # (N, h, H, W)
        return x + self.out(states)


class RowLSTM(RasterModel):
    """A density on images of K levels.

    image_shape: (C, H, W); levels: K. features: h, a layer carries 2h maps; layers: how many; head: maps of the head;
    first_kernel: odd side of the A layer; kernel: odd, along the rows.
    """

    def __init__(
        self,
        image_shape: Sequence[int] = (1, 8, 8),
        levels: int = 2,
        *,
        features: int = 16,
        layers: int = 2,
        head: int = 32,
        first_kernel: int = 7,
        kernel: int = 3,
    ) -> None:
        super().__init__(image_shape, levels)
        at_least("features", features, 1)
        at_least("layers", layers, 1)
        channels = self.image_shape[0]
        self.first = RasterConv2d("A", channels, 2 * features, first_kernel, channels)
        self.layers = nn.Sequential(*(RowLSTMLayer(features, kernel, channels) for _ in range(layers)))
        self.head = RasterHead(2 * features, head, channels, levels)

    @classmethod
    def paper(cls) -> RowLSTM:
        """CIFAR-10: 12 layers with h = 128, a head of 1024 maps (section 5)."""
        return cls((3, 32, 32), 256, features=128, layers=12, head=1024)

    def logits(self, x: Tensor) -> Tensor:
        """Unnormalised log-conditionals, (N, C, h, W) floats k/(K−1) to (N, K, C, h, W)."""
        features: Tensor = self.head(self.layers(self.first(centred(x))))
        return to_conditionals(features, self.image_shape[0], self.levels)
