"""PixelVAE: a variational autoencoder whose decoder draws the image pixel by pixel.

With independent pixels given z the code must carry every detail, noise included. An autoregressive decoder takes the
details over, and the code is left with what pixels nearby do not tell:

    p(x | z) = Π_i p(x_i | x_1, .., x_{i-1}, z)                            (section 3)
    L(x) = E_q[Σ_i log p(x_i | x_<i, z)] - KL(q(z | x) ‖ p(z))

z is brought to the size of the image by the decoder, and the map s(z) biases every gate of a gated PixelCNN. A strong
enough PixelCNN needs no code at all (KL = 0: posterior collapse); a few layers, hence a small receptive field, leave
it the large structure. The likelihood reads x itself: teacher forcing in training, one pass a pixel in sampling.

"PixelVAE: A Latent Variable Model for Natural Images" (Gulrajani et al., 2017), https://arxiv.org/abs/1611.05013
NOTE: the paper joins s(z) to the image as further input channels of the PixelCNN; here it enters each gate (eq. 5 of
"Conditional Image Generation with PixelCNN Decoders"). Both let every pixel see all of s(z), and only z of the future.
"""

import math
from collections.abc import Sequence

import torch
from torch import Generator, Tensor, nn

from reference_models.autoregressive.gated_pixelcnn import GatedPixelCNN
from reference_models.latent.vae import VAE, GaussianEncoder, StandardNormal
from reference_models.parts.networks import MLP, ConvDecoder, ConvEncoder
from reference_models.parts.raster import complete_image, image_log_prob
from reference_models.parts.require import at_least, has_event_shape
from reference_models.parts.training import evaluating


class PixelCNNLikelihood(nn.Module):
    """p(x | s) of images given a map s, by a gated PixelCNN: a Likelihood for any decoder that makes maps.

    Args:
        net: a GatedPixelCNN with condition_features = E; its levels K and image_shape (C, H, W) are the image's.
    """

    def __init__(self, net: GatedPixelCNN) -> None:
        super().__init__()
        at_least("condition_features of the PixelCNN", net.condition_features, 1)
        self.net = net

    def _check(self, s: Tensor) -> None:
        has_event_shape("s", s, (self.net.condition_features, *self.net.image_shape[1:]))

    def log_prob(self, x: Tensor, s: Tensor) -> Tensor:
        """Returns log p(x | s) in nats, one pass; x: (N, C, H, W) floats k/(K-1), s: (N, E, H, W) -> (N,)."""
        self._check(s)
        return image_log_prob(lambda y: self.net.logits(y, s), x, self.net.image_shape, self.net.levels, s.dtype)

    def sample(self, s: Tensor, *, generator: Generator | None = None) -> Tensor:
        """Returns one image for each map, (N, E, H, W) -> (N, C, H, W): C·H·W passes, each over the rows so far."""
        self._check(s)
        blank = s.new_zeros(len(s), *self.net.image_shape)
        nothing = torch.zeros_like(blank, dtype=torch.bool)
        with evaluating(self):
            return complete_image(
                lambda y: self.net.logits(y, s[:, :, : y.shape[2]]), blank, nothing, self.net.levels, generator
            )


class PixelVAE(VAE):
    """A VAE with a PixelCNN behind its decoder.

    Args:
        image_shape: (C, H, W). levels: K values a pixel; floats k/(K-1), binary images {0, 1}.
        latent_dim: d.
        hidden: widths of the encoder's perceptron; the decoder mirrors them.
        maps: E, feature maps of s(z).
        features, layers, first_kernel, kernel: of the PixelCNN. The rows above a pixel that it sees grow by
            kernel // 2 a layer; few layers keep the code in use.
    """

    likelihood: PixelCNNLikelihood

    def __init__(
        self,
        image_shape: Sequence[int] = (1, 8, 8),
        levels: int = 2,
        latent_dim: int = 8,
        hidden: Sequence[int] = (128,),
        *,
        maps: int = 8,
        features: int = 16,
        layers: int = 2,
        first_kernel: int = 3,
        kernel: int = 3,
    ) -> None:
        size = (maps, *image_shape[1:])
        pixels = math.prod(image_shape)
        encoder = nn.Sequential(nn.Flatten(), MLP(pixels, hidden, 2 * latent_dim))
        decoder = nn.Sequential(MLP(latent_dim, tuple(reversed(hidden)), math.prod(size)), nn.Unflatten(1, size))
        net = GatedPixelCNN(
            image_shape,
            levels,
            features=features,
            layers=layers,
            first_kernel=first_kernel,
            kernel=kernel,
            condition_features=maps,
        )
        self._assemble(encoder, decoder, net, latent_dim)

    def _assemble(self, encoder: nn.Module, decoder: nn.Module, net: GatedPixelCNN, latent_dim: int) -> None:
        VAE.__init__(
            self,
            GaussianEncoder(encoder),
            decoder,
            StandardNormal(latent_dim),
            PixelCNNLikelihood(net),
            event_shape=net.image_shape,
        )

    @classmethod
    def mnist(cls, layers: int = 5) -> "PixelVAE":
        """Binary MNIST: convolutions on both sides of 64 latent variables, a 7×7 gated layer, then 5×5 ones of 32 maps.

        layers: of the PixelCNN, the first included; the paper varies their number.
        """
        model = cls.__new__(cls)
        net = GatedPixelCNN((1, 28, 28), 2, features=32, layers=layers, first_kernel=7, kernel=5, condition_features=32)
        model._assemble(ConvEncoder((1, 28, 28), 128, base=32), ConvDecoder(64, (32, 28, 28), base=32), net, 64)
        return model
