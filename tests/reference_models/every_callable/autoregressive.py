"""How to call what stands in `reference_models/autoregressive`."""

from __future__ import annotations

import torch

from reference_models.autoregressive import (
    MADE,
    NADE,
    ConditionalPixelCNN,
    DiagonalBiLSTM,
    GatedPixelCNN,
    ImageGPT,
    PixelCNN,
    PixelCNNPlusPlus,
    RowLSTM,
    WaveNet,
    pixelcnn_pp,
    wavenet,
)
from tests.reference_models.every_callable.rows import Row, With, bits, built, fixed, gen

SHAPE = (1, 3, 3)
SMALL = {"features": 4, "head": 5}


def image_gpt(**k) -> ImageGPT:
    return built(ImageGPT, **{"image_shape": SHAPE, "dim": 8, "heads": 2, "depth": 1} | k)


def wave(**k) -> WaveNet:
    return built(WaveNet, **{"levels": 4, "dilations": (1, 2), "residual": 4, "gates": 4, "skip": 4, "length": 6} | k)


def conditional(**k) -> ConditionalPixelCNN:
    return built(ConditionalPixelCNN, **{"image_shape": SHAPE, "condition_features": 3, "layers": 1} | SMALL | k)


def pp(**k) -> PixelCNNPlusPlus:
    return built(PixelCNNPlusPlus, **{"image_shape": (1, 4, 4), "levels": 3, "features": 4, "mixtures": 2} | k)


def made(**k) -> MADE:
    return built(MADE, 5, **{"hidden": (6,)} | k)


TOP = torch.zeros(4, *SHAPE, dtype=torch.bool)
TOP[:, :, 0] = True
IMAGES = bits(2, *SHAPE)
Y = torch.tensor([1, 2])
C, C4 = fixed(2, 3).double(), fixed(4, 3).double()
CLASSES = torch.tensor([0, 1, 2, 1])
NUMBERS = torch.tensor([[0, 1, 2, 3, 1, 0], [3, 3, 1, 0, 2, 2]])
ONE_HOT = torch.nn.functional.one_hot(NUMBERS, 4).movedim(-1, 1)
OTHER = {"features": 6, "head": 7, "first_kernel": 5}
ROWS = [
    Row(
        "autoregressive.conditional_pixelcnn.ConditionalPixelCNN",
        conditional,
        levels=3,
        condition_features=4,
        layers=2,
        kernel=With(5, layers=2),
        **OTHER,
    ),
    Row(
        "autoregressive.conditional_pixelcnn.ConditionalPixelCNN.sample",
        lambda **k: conditional().sample(4, condition=CLASSES, **k),
    ),
    Row(
        "autoregressive.conditional_pixelcnn.ConditionalPixelCNN.complete",
        lambda **k: conditional().complete(bits(4, *SHAPE), TOP, condition=CLASSES, **k),
    ),
    Row(
        "autoregressive.diagonal_bilstm.DiagonalBiLSTM",
        lambda **k: built(DiagonalBiLSTM, **{"image_shape": SHAPE, "layers": 1} | SMALL | k),
        levels=3,
        layers=2,
        **OTHER,
    ),
    Row(
        "autoregressive.gated_pixelcnn.GatedPixelCNN",
        lambda **k: built(GatedPixelCNN, **{"image_shape": SHAPE, "layers": 1} | SMALL | k),
        levels=3,
        layers=2,
        kernel=With(5, layers=2),
        condition_features=2,
        **OTHER,
    ),
    Row(
        "autoregressive.gated_pixelcnn.GatedPixelCNN.logits",
        lambda **k: built(GatedPixelCNN, SHAPE, layers=1, condition_features=2, **SMALL).logits(IMAGES, **k),
        s=With(fixed(2, 2, 3, 3), s=fixed(2, 2, 3, 3, seed=1)),
    ),
    Row(
        "autoregressive.image_gpt.ImageGPT",
        image_gpt,
        levels=3,
        dim=12,
        depth=2,
        num_classes=2,
        dropout=0.5,
    ),
    Row("autoregressive.image_gpt.ImageGPT", lambda **k: image_gpt(**k).logits(IMAGES), heads=4, dropout=0.5),
    Row(
        "autoregressive.image_gpt.ImageGPT.logits",
        lambda **k: image_gpt(num_classes=3).logits(IMAGES, **k),
        condition=With(Y, condition=Y.flip(0)),
    ),
    Row(
        "autoregressive.image_gpt.ImageGPT.log_prob",
        lambda **k: image_gpt(num_classes=3).log_prob(IMAGES, **k),
        condition=With(Y, condition=Y.flip(0)),
    ),
    Row(
        "autoregressive.image_gpt.ImageGPT.sample",
        lambda **k: image_gpt(num_classes=3).sample(4, **{"condition": CLASSES} | k),
        condition=CLASSES.flip(0),
    ),
    Row(
        "autoregressive.image_gpt.ImageGPT.complete",
        lambda **k: image_gpt(num_classes=3).complete(bits(4, *SHAPE), TOP, **{"condition": CLASSES} | k),
        condition=CLASSES.flip(0),
    ),
    Row("autoregressive.made.MADE", made, hidden=(7,), order=[4, 3, 1, 2, 0], direct=True),
    Row(
        "autoregressive.made.MADE.sample_degrees",
        lambda **k: made(hidden=(6, 6)).sample_degrees(**k),
        order=False,
        connectivity=False,
    ),
    Row(
        "autoregressive.made.MADE.masks", lambda **k: made().masks(**k), degrees=made().sample_degrees(generator=gen(4))
    ),
    Row(
        "autoregressive.made.MADE.logits",
        lambda **k: made().logits(bits(2, 5), **k),
        degrees=made().sample_degrees(generator=gen(4)),
    ),
    Row(
        "autoregressive.made.MADE.log_prob",
        lambda **k: made().log_prob(bits(2, 5), **k),
        degrees=made().sample_degrees(generator=gen(4)),
    ),
    Row(
        "autoregressive.made.MADE.sample",
        lambda **k: made().sample(9, **{"generator": gen()} | k),
        degrees=made().sample_degrees(generator=gen(4)),
    ),
    Row(
        "autoregressive.nade.NADE",
        lambda **k: built(NADE, 5, **k).log_prob(bits(2, 5)),
        hidden=6,
        order=[4, 3, 1, 2, 0],
    ),
    Row("autoregressive.nade.NADE.sample", lambda **k: built(NADE, 5).sample(9, **k)),
    Row(
        "autoregressive.pixelcnn.PixelCNN",
        lambda **k: built(PixelCNN, **{"image_shape": SHAPE, "blocks": 1} | SMALL | k),
        levels=3,
        blocks=2,
        kernel=5,
        **OTHER,
    ),
    Row("autoregressive.pixelcnn_pp.shifted", lambda **k: pixelcnn_pp.shifted(bits(1, 2, 3, 3), **k), down=1, right=1),
    Row(
        "autoregressive.pixelcnn_pp.Above",
        lambda **k: built(pixelcnn_pp.Above, 2, 3, **k)(bits(1, 2, 4, 4)),
        kernel=(2, 5),
        stride=2,
    ),
    Row(
        "autoregressive.pixelcnn_pp.AboveLeft",
        lambda **k: built(pixelcnn_pp.AboveLeft, 2, 3, **k)(bits(1, 2, 4, 4)),
        kernel=(2, 3),
        stride=2,
    ),
    Row(
        "autoregressive.pixelcnn_pp.PixelCNNPlusPlus",
        pp,
        image_shape=(3, 4, 4),
        features=6,
        blocks=2,
        resolutions=1,
        mixtures=3,
        dropout=0.5,
    ),
    Row(
        "autoregressive.pixelcnn_pp.PixelCNNPlusPlus",
        lambda **k: pp(**k).log_prob(bits(2, 1, 4, 4)),
        levels=5,
        dropout=0.5,
    ),
    Row("autoregressive.pixelcnn_pp.PixelCNNPlusPlus.sample", lambda **k: pp().sample(3, **k)),
    Row(
        "autoregressive.row_lstm.RowLSTM",
        lambda **k: built(RowLSTM, **{"image_shape": SHAPE, "layers": 1} | SMALL | k),
        levels=3,
        layers=2,
        kernel=With(5, layers=2),
        **OTHER,
    ),
    Row(
        "autoregressive.wavenet.mu_law_encode",
        lambda **k: wavenet.mu_law_encode(torch.linspace(-1, 1, 9), **k),
        levels=16,
    ),
    Row(
        "autoregressive.wavenet.mu_law_decode",
        lambda **k: wavenet.mu_law_decode(torch.arange(9), **k),
        levels=16,
        dtype=torch.float64,
    ),
    Row(
        "autoregressive.wavenet.WaveNet",
        wave,
        levels=5,
        dilations=(1, 4),
        kernel=3,
        residual=5,
        gates=5,
        skip=5,
        condition_features=2,
    ),
    Row("autoregressive.wavenet.WaveNet", lambda **k: wave(**k).log_prob(NUMBERS), dilations=(2, 2)),
    Row("autoregressive.wavenet.WaveNet", lambda **k: wave(**k).sample(2, generator=gen()).shape, length=5),
    Row(
        "autoregressive.wavenet.WaveNet.logits",
        lambda **k: wave(condition_features=3).logits(ONE_HOT.double(), **{"condition": C} | k),
        condition=C.flip(0),
    ),
    Row(
        "autoregressive.wavenet.WaveNet.log_prob",
        lambda **k: wave(condition_features=3).log_prob(NUMBERS, **{"condition": C} | k),
        condition=C.flip(0),
    ),
    Row(
        "autoregressive.wavenet.WaveNet.sample",
        lambda **k: wave(condition_features=3).sample(4, **{"condition": C4} | k),
        length=4,
        condition=C4.flip(0),
    ),
]
APART = {
    "autoregressive.image_gpt.ImageGPT.image_shape": (
        "autoregressive/test_image_gpt.py",
        "test_probabilities_of_all_images_sum_to_one",
    ),
    "autoregressive.conditional_pixelcnn.ConditionalPixelCNN.image_shape": (
        "autoregressive/test_conditional_pixelcnn.py",
        "test_samples_follow_the_law_of_their_class",
    ),
    "autoregressive.diagonal_bilstm.DiagonalBiLSTM.image_shape": (
        "autoregressive/test_diagonal_bilstm.py",
        "test_probabilities_of_all_images_sum_to_one",
    ),
    "autoregressive.gated_pixelcnn.GatedPixelCNN.image_shape": (
        "autoregressive/test_gated_pixelcnn.py",
        "test_probabilities_of_all_images_sum_to_one",
    ),
    "autoregressive.pixelcnn.PixelCNN.image_shape": (
        "autoregressive/test_pixelcnn.py",
        "test_probabilities_of_all_images_sum_to_one",
    ),
    "autoregressive.row_lstm.RowLSTM.image_shape": (
        "autoregressive/test_row_lstm.py",
        "test_probabilities_of_all_images_sum_to_one",
    ),
    "autoregressive.image_gpt.ImageGPT.paper.size": ("autoregressive/test_image_gpt.py", "test_the_papers_sizes"),
    "autoregressive.image_gpt.ImageGPT.sample.cached": (
        "autoregressive/test_image_gpt.py",
        "test_cached_samples_equal_plain_ones",
    ),
    "autoregressive.image_gpt.ImageGPT.complete.cached": (
        "autoregressive/test_image_gpt.py",
        "test_cached_samples_equal_plain_ones",
    ),
    "autoregressive.wavenet.WaveNet.sample.cached": (
        "autoregressive/test_wavenet.py",
        "test_queues_give_the_draws_of_the_whole_network",
    ),
    "autoregressive.pixelcnn_pp.GatedResidual.forward.shortcut": (
        "autoregressive/test_pixelcnn_pp.py",
        "test_a_block_is_a_gate_on_top_of_its_input",
    ),
}
