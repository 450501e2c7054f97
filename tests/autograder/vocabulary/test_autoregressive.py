"""Causality and dependence: right masks pass in every layout, over- and under-restricted ones fail and are named."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from autograder.checks import (
    Student,
    assert_causal,
    assert_depends,
    assert_receptive_field,
    dependence_matrix,
    receptive_field,
)
from autograder.student.local import LocalChannel
from tests.autograder.vocabulary.students import MaskedConv, fails, generator, made, pixelcnn, transformer

IMAGES = (4, 1, 5, 5)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_pixelcnn_is_causal_and_dependent(seed: int, dtype: torch.dtype) -> None:
    net = pixelcnn(seed=seed).to(dtype)
    assert_causal(net, IMAGES, dtype=dtype, generator=generator(seed))


@pytest.mark.parametrize(
    "layout",
    [
        lambda out: out,
        lambda out: out.squeeze(1),
        lambda out: out.flatten(1),
        lambda out: out.flatten(1).unsqueeze(-1),
        lambda out: out.permute(0, 2, 3, 1),
        lambda out: torch.cat([out, -out], 1),
        lambda out: torch.cat([out, -out], 1).flatten(2),
    ],
)
def test_every_usual_layout_of_logits_is_read(layout: Callable[[Tensor], Tensor]) -> None:
    net = pixelcnn()
    assert_causal(lambda x: layout(net(x)), IMAGES)


@pytest.mark.parametrize("seed", range(5))
def test_made_and_transformers_are_causal_with_nearly_all_dependences(seed: int) -> None:
    assert_causal(made(seed=seed), (4, 6))
    assert_causal(transformer(9, seed=seed), (3, 9), dtype=torch.long)
    assert_causal(transformer(9, seed=seed), (3, 1, 3, 3))


def test_a_model_with_its_own_order_is_causal_in_that_order_only() -> None:
    order = [3, 0, 5, 1, 4, 2]
    inverse = torch.tensor(order).argsort()
    inner = made()
    shuffled = lambda x: inner(x[:, order])[:, inverse]  # noqa: E731
    assert_causal(shuffled, (4, 6), order=order)
    assert_causal(shuffled, (4, 6), order=torch.tensor(order))
    fails(lambda: assert_causal(shuffled, (4, 6)), says="leaks", hint=None)
    fails(lambda: assert_causal(inner, (4, 6), order=order), says="the given order", hint="raster")


def test_a_handle_is_taken_like_a_function() -> None:
    student = Student(LocalChannel({"net": pixelcnn(), "bad": pixelcnn("B")}))
    assert_causal(student.net, IMAGES)
    fails(lambda: assert_causal(student.bad, IMAGES), says="leaks")


@pytest.mark.parametrize("size", [3, 5])
def test_single_masked_layers_pass_and_type_b_must_see_its_own_pixel(size: int) -> None:
    layer = {k: MaskedConv(k, 2, 3, size, padding=size // 2) for k in "AB"}
    shape = (2, 2, 6, 6)
    assert_causal(layer["A"], shape, values="real")
    assert_causal(layer["B"], shape, values="real", strict=False)
    fails(lambda: assert_causal(layer["B"], shape, values="real"), says="on itself", hint="type-B")
    fails(lambda: assert_causal(layer["A"], shape, values="real", strict=False), says="same place in its input")


@pytest.mark.parametrize(
    ("error", "says", "hint"),
    [
        (pixelcnn("B"), "depends on itself", "own position is visible"),
        (pixelcnn("A", "row ahead"), "leaks", ""),
        (pixelcnn("no left"), "its left neighbour", None),
        (lambda x: pixelcnn()(x.transpose(2, 3)).transpose(2, 3), "leaks", "column-major"),
        (lambda x: pixelcnn()(x.flip(2, 3)).flip(2, 3), "leaks", "reverse raster"),
        (lambda x: torch.zeros_like(x), "does not depend", "not depend on the input at all"),
        (lambda x: torch.ones_like(x), "does not depend", "not depend on the input at all"),
        (nn.Conv2d(1, 1, 3, padding=1), "leaks", None),
        (lambda x: x, "on itself", "own position"),
        (transformer(25, "no sos"), "on itself", "own position"),
        (transformer(25, "no mask"), "leaks", None),
        (lambda x: pixelcnn()(x) * torch.nan, "NaN", None),
        (lambda x: pixelcnn()(x)[:, :, :4], "one output for every position", None),
        (lambda x: pixelcnn()(x).mean(), "one output for every position", None),
        (lambda x: None, "should be a tensor", ""),
    ],
)
def test_planted_errors_fail_and_are_named(error: Callable[[Tensor], Tensor], says: str, hint: str | None) -> None:
    fails(lambda: assert_causal(error, IMAGES), says=says, hint=hint)


def test_lost_dependence_of_a_vector_model_is_a_matter_of_share() -> None:
    narrow = made(strict_hidden=True)
    fails(lambda: assert_causal(narrow, (4, 6)), says="depends on too little: 10 of the 15")
    assert_causal(narrow, (4, 6), dependence=0.5)
    assert_causal(narrow, (4, 6), dependence=0)


def test_a_leak_in_one_context_only_is_seen() -> None:
    net = pixelcnn()

    def sly(x: Tensor) -> Tensor:
        shown = (x[:, :, 0, 0] == 1) & (x[:, :, 0, 1] == 1)
        return net(x) + 0.1 * shown[..., None, None] * x[:, :, -1:, -1:]

    fails(lambda: assert_causal(sly, (16, 1, 5, 5)), says="leaks: at pixel")


def test_a_leak_near_the_data_is_seen_from_the_data() -> None:
    net, data = pixelcnn(), torch.ones(2, 1, 5, 5)

    def sly(x: Tensor) -> Tensor:
        return net(x) + (x.flatten(1).mean(1) > 0.9).reshape(-1, 1, 1, 1) * x

    assert_causal(sly, IMAGES, generator=generator(3))
    fails(lambda: assert_causal(sly, IMAGES, base=data), says="leaks")


@pytest.mark.parametrize("seed", range(10))
def test_rounding_in_a_deep_float32_network_is_no_leak(seed: int) -> None:
    assert_causal(pixelcnn(channels=32, layers=6, seed=seed), (8, 1, 8, 8), generator=generator(seed))


@pytest.mark.parametrize(("dtype", "noise"), [(torch.float32, 1e-6), (torch.float64, 1e-13)])
def test_rounding_that_differs_from_row_to_row_is_no_dependence(dtype: torch.dtype, noise: float) -> None:
    net = pixelcnn().to(dtype)
    assert_causal(lambda x: net(x) * (1 + noise * torch.rand_like(x)), IMAGES, dtype=dtype)
    fails(lambda: assert_causal(lambda x: net(x) + 1e3 * noise * x, IMAGES, dtype=dtype), says="leaks")


def test_dependence_is_measured_pair_by_pair() -> None:
    weight = torch.tensor([[0.0, 0, 0], [2, 0, 0], [0, 1, 0]])
    matrix = dependence_matrix(lambda x: x @ weight.t(), (4, 3))
    assert torch.equal(matrix > 0, weight > 0)


def test_dependence_on_named_neighbours_can_be_asked_for() -> None:
    net = pixelcnn()
    assert_depends(net, IMAGES, [(0, -1), (-1, 0), (-1, 1)])
    fails(lambda: assert_depends(net, IMAGES, [(0, 1)]), says="+0 rows and +1 columns away")
    fails(lambda: assert_depends(pixelcnn("no left"), IMAGES, [(-1, 0), (0, -1)]), says="left neighbour")
    blind = torch.zeros(3, 3)
    fails(lambda: assert_depends(lambda x: x @ blind, (4, 3), [(0, -1)]), says="on position 0, 1 place before it")


def test_a_receptive_field_equals_what_the_gradient_says() -> None:
    net = pixelcnn().double().requires_grad_(False)
    x = torch.randn(16, 1, 5, 5, dtype=torch.float64, generator=generator(), requires_grad=True)
    net(x)[:, 0, 3, 2].sum().backward()
    oracle = x.grad.abs().amax(0)[0] > 0
    measured = assert_receptive_field(net, IMAGES, oracle, (3, 2))
    assert torch.equal(measured, oracle)
    matrix = dependence_matrix(net, IMAGES, values="real", dtype=torch.float64)
    assert torch.equal(receptive_field(matrix, (5, 5), (3, 2)), oracle)


def test_a_receptive_field_that_is_too_large_or_too_small_is_told() -> None:
    layer = MaskedConv("A", 1, 2, 3, padding=1).double()
    field = {(1, 1), (1, 2), (1, 3), (2, 1)}
    assert_receptive_field(layer, IMAGES, field, (2, 2))
    says = "1 seen that should not be, e.g. pixel (2, 2)"
    fails(
        lambda: assert_receptive_field(MaskedConv("B", 1, 2, 3, padding=1).double(), IMAGES, field, (2, 2)), says=says
    )
    blind = MaskedConv("no left", 1, 2, 3, padding=1).double()
    fails(
        lambda: assert_receptive_field(blind, IMAGES, field, (2, 2)),
        says="1 not seen that should be, e.g. pixel (2, 1)",
    )


def test_a_measurement_costs_a_few_milliseconds() -> None:
    net = pixelcnn()
    assert_causal(net, IMAGES)
    started = time.process_time()
    for _ in range(5):
        assert_causal(net, IMAGES)
    assert (time.process_time() - started) / 5 < 0.1


def test_an_author_s_mistakes_are_value_errors() -> None:
    with pytest.raises(ValueError, match="permutation"):
        assert_causal(made(), (4, 6), order=[0, 1, 2])
    with pytest.raises(ValueError, match="batch of vectors"):
        assert_causal(made(), (6,))
    with pytest.raises(ValueError, match="unknown order"):
        assert_causal(made(), (4, 6), order="snake")  # type: ignore[arg-type]
