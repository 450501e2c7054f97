"""Diagonal BiLSTM: the PixelRNN whose states gather the whole image above and to the left.

An LSTM sweeps the image along its diagonals: the state at a pixel comes from the states to its left and above it. A
second LSTM sweeps from the other side; moved down by one row, so that it never sees ahead, it is added to the first:

    [o, f, i, g](r, j) = σ(K^ss_0 h(r, j−1) + K^ss_1 h(r−1, j) + K^is x(r, j)),    c, h as in eq. 3, c from (r, j−1)
    out(r, j) = h→(r, j) + h←(r−1, j)

To make one step out of each diagonal, row r is moved r places to the right (figure 3); a diagonal is then a column, and
the state-to-state part a convolution of two taps down the column before.

Reference: "Pixel Recurrent Neural Networks" (van den Oord, Kalchbrenner, Kavukcuoglu, 2016), sections 3.2 and 3.3,
table 1, https://arxiv.org/abs/1601.06759.

NOTE: the paper speaks of the entire context. One pixel of it is missing: the last of the row directly above, which the
A mask hides from its own position and which stands before no other of its row, is seen only within that mask's reach.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reference_models.autoregressive.row_lstm import lstm_update
from reference_models.parts.raster import RasterConv2d, RasterHead, RasterModel, centred, to_conditionals
from reference_models.parts.require import at_least


def skew(x: Tensor) -> Tensor:
    """Moves row r by r places to the right, zeros around: (N, F, H, W) to (N, F, H, H + W − 1)."""
    n, maps, height, width = x.shape
    padded = F.pad(x, (0, height)).reshape(n, maps, height * (width + height))
    return padded[..., :-height].reshape(n, maps, height, width + height - 1)


def unskew(x: Tensor, width: int) -> Tensor:
    """Undoes `skew`: (N, F, H, H + W − 1) to (N, F, H, W)."""
    rows = [row[..., r : r + width] for r, row in enumerate(x.unbind(dim=2))]
    return torch.stack(rows, dim=2)


class DiagonalLSTM(nn.Module):
    """One sweep from the top left: (N, 2h, H, W) to states (N, h, H, W)."""

    def __init__(self, features: int, channels: int) -> None:
        super().__init__()
        self.features = features
        self.input_to_state = RasterConv2d("B", 2 * features, 4 * features, 1, channels, gates=4)
        self.state_to_state = nn.Conv1d(features, 4 * features, 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        n, _, height, width = x.shape
        # (N, 4h, H, H + W − 1); zeros on the left of the image, where states then stay zero: tanh(0) enters the cell
        inputs = skew(self.input_to_state(x))
        h = c = x.new_zeros(n, self.features, height)
        columns = []
        for t in range(inputs.shape[-1]):
            from_left_and_above = self.state_to_state(F.pad(h, (1, 0)))  # taps: the row above, then the row itself
            h, c = lstm_update(from_left_and_above + inputs[..., t], c)
            columns.append(h)
        return unskew(torch.stack(columns, dim=-1), width)


class DiagonalBiLSTMLayer(nn.Module):
    """One residual layer, (N, 2h, H, W) to the same shape."""

    def __init__(self, features: int, channels: int) -> None:
        super().__init__()
        self.rightward = DiagonalLSTM(features, channels)
        self.leftward = DiagonalLSTM(features, channels)
        self.out = RasterConv2d("B", features, 2 * features, 1, channels)

    def forward(self, x: Tensor) -> Tensor:
        right: Tensor = self.rightward(x)
        left: Tensor = self.leftward(x.flip(-1)).flip(-1)
        states = right + F.pad(left, (0, 0, 1, 0))[:, :, :-1]  # one row down: what is right of a pixel is ahead of it
        return x + self.out(states)


class DiagonalBiLSTM(RasterModel):
    """A density on images of K levels.

    image_shape: (C, H, W); levels: K. features: h, a layer carries 2h maps; layers: how many; head: maps of the head;
    first_kernel: odd side of the A layer.
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
    ) -> None:
        super().__init__(image_shape, levels)
        at_least("features", features, 1)
        at_least("layers", layers, 1)
        channels = self.image_shape[0]
        self.first = RasterConv2d("A", channels, 2 * features, first_kernel, channels)
        self.layers = nn.Sequential(*(DiagonalBiLSTMLayer(features, channels) for _ in range(layers)))
        self.head = RasterHead(2 * features, head, channels, levels)

    @classmethod
    def paper(cls) -> DiagonalBiLSTM:
        """CIFAR-10: 12 layers with h = 128, a head of 1024 maps (section 5)."""
        return cls((3, 32, 32), 256, features=128, layers=12, head=1024)

    def logits(self, x: Tensor) -> Tensor:
        """Unnormalised log-conditionals, (N, C, h, W) floats k/(K−1) to (N, K, C, h, W)."""
        features: Tensor = self.head(self.layers(self.first(centred(x))))
        return to_conditionals(features, self.image_shape[0], self.levels)
