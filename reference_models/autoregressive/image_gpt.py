"""Image GPT: a causal transformer over the values of an image, read in raster order.

The image is a sequence x_1..x_T of levels. A start token and the first T − 1 values go in, T conditionals come out,
each position attending to itself and those before it:

    p(x) = Π_t p(x_t | x_<t),    n^l = h^l + Attention(LN h^l),    h^{l+1} = n^l + MLP(LN n^l)      (section 2)
    logits_t = W LN h^L_t,       h^0_1 = start + position_1,   h^0_t = e(x_{t−1}) + position_t

Sampling keeps keys and values: a new value costs one row of attention in each layer instead of all of them.

Reference: "Generative Pretraining from Pixels" (Chen et al., 2020), https://proceedings.mlr.press/v119/chen20s.html.

NOTE: the start token may depend on a class, which makes p(x | class); the paper's model is unconditional.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Generator, Tensor, nn

from reference_models.parts.attention import KeyValueCache, TransformerBlock
from reference_models.parts.raster import checked_completion, from_levels, to_levels
from reference_models.parts.require import at_least, has_event_shape, one_of
from reference_models.parts.sampling import draw_categorical
from reference_models.parts.shapes import flatten_batch, restore_batch
from reference_models.parts.training import evaluating


class ImageGPT(nn.Module):
    """A density on images of K levels (or K colours of a palette, with C = 1).

    image_shape: (C, H, W); levels: K. dim, heads, depth: of the transformer; dropout: in training.
    num_classes: 0, or how many start tokens; then log_prob and sample take `condition`, classes of shape (*B,).
    """

    def __init__(
        self,
        image_shape: Sequence[int] = (1, 8, 8),
        levels: int = 2,
        *,
        dim: int = 32,
        heads: int = 4,
        depth: int = 2,
        num_classes: int = 0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        at_least("levels", levels, 2)
        at_least("depth", depth, 1)
        at_least("num_classes", num_classes, 0)
        if len(image_shape) != 3 or min(image_shape) < 1:
            raise ValueError(f"image_shape must be (C, H, W) with positive entries, got {tuple(image_shape)}")
        C, H, W = image_shape
        self.image_shape, self.levels, self.num_classes = (C, H, W), levels, num_classes
        self.start = nn.Embedding(max(num_classes, 1), dim)
        self.token = nn.Embedding(levels, dim)
        self.position = nn.Parameter(torch.randn(math.prod(image_shape), dim) * 0.1)
        self.blocks = nn.ModuleList(TransformerBlock(dim, heads, causal=True, dropout=dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, levels, bias=False)

    @classmethod
    def paper(cls, size: Literal["S", "M", "L"] = "S") -> ImageGPT:
        """iGPT-S, -M, -L on 32×32 images of 512 palette colours: 76M, 455M and 1.4B parameters (section 3)."""
        one_of("size", size, ("S", "M", "L"))
        depth, dim, heads = {"S": (24, 512, 8), "M": (36, 1024, 8), "L": (48, 1536, 16)}[size]
        return cls((1, 32, 32), 512, dim=dim, heads=heads, depth=depth)

    def logits(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """Unnormalised log-conditionals: floats k/(K−1) or integers k, (N, C, H, W), to (N, K, C, H, W).

        condition: classes, long (N,), where the model has classes.
        """
        C, H, W = self.image_shape
        tokens = to_levels(x, self.levels).permute(0, 2, 3, 1).flatten(1)  # (N, T), channels innermost
        inputs = torch.cat([self._start(len(x), condition), self.token(tokens[:, :-1])], dim=1)  # (N, T, dim)
        return self._transform(inputs, None).reshape(len(x), H, W, C, self.levels).permute(0, 4, 3, 1, 2)

    def log_prob(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        """log p(x) in nats, summed over pixels and channels: (*B, C, H, W) to (*B,).

        Raises ValueError when the shape does not fit, a value is not one of the K levels or a class not one of them.
        """
        has_event_shape("x", x, self.image_shape)
        k, batch = flatten_batch(to_levels(x, self.levels), 3)
        log_p = torch.log_softmax(self.logits(k, None if condition is None else condition.reshape(-1)), dim=1)
        return restore_batch(log_p.gather(1, k.unsqueeze(1)).sum(dim=(1, 2, 3, 4)), batch)

    def sample(
        self, n: int, *, condition: Tensor | None = None, generator: Generator | None = None, cached: bool = True
    ) -> Tensor:
        """n images, floats k/(K−1), shape (n, C, H, W). condition: a class for all, (), or one each, (n,)."""
        blank = self.position.new_zeros(n, *self.image_shape)
        if condition is not None:
            condition = condition.expand(n)
        known = torch.zeros_like(blank, dtype=torch.bool)
        return self.complete(blank, known, condition=condition, generator=generator, cached=cached)

    def complete(
        self,
        x: Tensor,
        known: Tensor,
        *,
        condition: Tensor | None = None,
        generator: Generator | None = None,
        cached: bool = True,
    ) -> Tensor:
        """Images that agree with x where `known` and are drawn in raster order elsewhere.

        x: floats k/(K−1), shape (*B, C, H, W), not changed; known: bool, the same shape; condition: classes (*B,).
        cached: keep keys and values, or run the whole sequence for each value (slow, the same draws).
        """
        flat, mask, batch = checked_completion(x, known, self.image_shape, self.levels, self.position.dtype)
        N, C, H, W = flat.shape
        mask = mask.permute(0, 2, 3, 1).flatten(1)  # (N, T)
        given = (flat.nan_to_num() * (self.levels - 1)).round().long().permute(0, 2, 3, 1).flatten(1)
        with evaluating(self):
            inputs = self._start(N, None if condition is None else condition.reshape(-1))  # (N, t, dim), grows
            caches = [KeyValueCache() for _ in self.blocks] if cached else None
            tokens = torch.where(mask, given, 0)
            for t in range(tokens.shape[1]):
                logits = self._transform(inputs[:, -1:] if cached else inputs, caches, first=t if cached else 0)[:, -1]
                tokens[:, t] = torch.where(mask[:, t], tokens[:, t], draw_categorical(logits, generator))
                inputs = torch.cat([inputs, self.token(tokens[:, t : t + 1])], dim=1)
        image = tokens.reshape(N, H, W, C).permute(0, 3, 1, 2)
        return restore_batch(from_levels(image, self.levels, self.position.dtype), batch)

    def _start(self, n: int, condition: Tensor | None) -> Tensor:
        """The start tokens, (n, 1, dim)."""
        if self.num_classes == 0 and condition is None:
            condition = torch.zeros(n, dtype=torch.long, device=self.position.device)
        elif (
            self.num_classes == 0
            or condition is None
            or condition.shape != (n,)
            or bool(((condition < 0) | (condition >= self.num_classes)).any())
        ):
            got = None if condition is None else condition.tolist() if condition.numel() < 8 else tuple(condition.shape)
            raise ValueError(f"the condition must be {n} of {self.num_classes} classes, got {got}")
        start: Tensor = self.start(condition)
        return start.unsqueeze(1)

    def _transform(self, inputs: Tensor, caches: list[KeyValueCache] | None, first: int = 0) -> Tensor:
        """Logits after each input, (N, t, dim) to (N, t, K); the inputs stand at positions first, first + 1, ..."""
        h = inputs + self.position[first : first + inputs.shape[1]]
        for i, block in enumerate(self.blocks):
            h = block(h, None if caches is None else caches[i])
        return self.head(self.norm(h))
