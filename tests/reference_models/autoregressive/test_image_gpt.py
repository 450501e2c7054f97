"""Image GPT: enumeration, the transformer written out, cached against plain sampling, the paper's sizes."""

import math

import pytest
import torch

from reference_models.autoregressive.image_gpt import ImageGPT
from reference_models.exact import departs_from_law, every_state
from tests.reference_models.autoregressive.laws import every_parameter_learns, parameters, strong_law, transposed
from tests.reference_models.helpers import close, perturb


def small(shape=(1, 2, 3), levels=2, **sizes) -> ImageGPT:
    return ImageGPT(shape, levels, **{"dim": 8, "heads": 2, "depth": 2, **sizes})


@pytest.mark.parametrize(("shape", "levels"), [((1, 2, 3), 2), ((3, 1, 2), 3), ((1, 1, 1), 4)])
def test_probabilities_of_all_images_sum_to_one(shape, levels) -> None:
    model = perturb(small(shape, levels), 0.5)
    assert close(model.log_prob(every_state(shape, levels)).exp().sum(), 1.0)


def test_the_logits_are_those_of_the_transformer_written_out() -> None:
    """Loops over positions and heads for one block: layer norm, softmax over the past, GELU; two channels."""
    model = perturb(small((2, 2, 2), 3, dim=6, heads=2, depth=1), 0.5)
    k = torch.randint(0, 3, (2, 2, 2))
    sequence = [int(k[c, i, j]) for i in range(2) for j in range(2) for c in range(2)]
    start, token = model.start.weight[0], model.token.weight
    h = [model.position[t] + (start if t == 0 else token[sequence[t - 1]]) for t in range(8)]
    block = model.blocks[0]

    def norm(layer: torch.nn.LayerNorm, v: torch.Tensor) -> torch.Tensor:
        centred = v - v.mean()
        return layer.weight * centred / ((centred**2).mean() + 1e-5).sqrt() + layer.bias

    qkv = [block.attention.qkv(norm(block.norm_attention, v)).reshape(3, 2, 3) for v in h]  # q, k, v of two heads
    for t in range(8):
        mixed = []
        for head in range(2):
            scores = torch.stack([qkv[t][0, head] @ qkv[s][1, head] / math.sqrt(3) for s in range(t + 1)])
            weights = scores.exp() / scores.exp().sum()
            mixed.append(sum(weights[s] * qkv[s][2, head] for s in range(t + 1)))
        n = h[t] + block.attention.out(torch.cat(mixed))
        a = block.mlp[0](norm(block.norm_mlp, n))
        out = n + block.mlp[2](a * 0.5 * (1 + torch.erf(a / math.sqrt(2))))
        i, j, c = t // 4, t // 2 % 2, t % 2
        assert close(model.logits(k[None])[0, :, c, i, j], model.head.weight @ norm(model.norm, out), 1e-9)


def test_changing_a_value_changes_all_later_conditionals_and_no_other() -> None:
    """In raster order, channels innermost."""
    shape = (2, 2, 3)
    model = perturb(small(shape, 3), 0.5)
    x = torch.randint(0, 3, (4, *shape))
    before = model.logits(x).permute(0, 3, 4, 2, 1).flatten(1, 3)  # (N, T, K)
    for t in range(12):
        i, j, c = t // 6, t // 2 % 3, t % 2
        other = x.clone()
        other[:, c, i, j] = (other[:, c, i, j] + 1) % 3
        change = (model.logits(other).permute(0, 3, 4, 2, 1).flatten(1, 3) - before).abs().amax(dim=(0, 2))
        assert bool((change[: t + 1] == 0).all())
        assert bool((change[t + 1 :] > 1e-9).all())


def test_samples_follow_the_law(generator: torch.Generator) -> None:
    """20000 images of 2×2; fails by chance once in a million seeds."""
    model = small((1, 2, 2))
    log_p = strong_law(model, model.log_prob, every_state((1, 2, 2)), transposed)
    samples = model.sample(20_000, generator=generator)
    assert samples.shape == (20_000, 1, 2, 2)
    assert not departs_from_law(samples, log_p)
    assert departs_from_law(transposed(samples), log_p)


@pytest.mark.parametrize("num_classes", [0, 3])
def test_cached_samples_equal_plain_ones(num_classes) -> None:
    """The same random numbers, the same images: the caches hold what the whole sequence would compute."""
    model = perturb(small((2, 3, 3), 5, num_classes=num_classes), 0.5)
    y = torch.arange(6) % 3 if num_classes else None

    def draw(cached: bool) -> torch.Tensor:
        source = torch.Generator(model.position.device).manual_seed(2)
        return model.sample(6, condition=y, generator=source, cached=cached)

    assert torch.equal(draw(True), draw(False))
    assert len(draw(True).unique()) > 2


def test_cached_logits_equal_plain_ones() -> None:
    from reference_models.parts.attention import KeyValueCache

    model = perturb(small((1, 3, 3), 4), 0.5)
    inputs = torch.randn(2, 9, 8)
    whole = model._transform(inputs, None)
    caches = [KeyValueCache() for _ in model.blocks]
    for t in range(9):
        assert close(model._transform(inputs[:, t : t + 1], caches, first=t)[:, 0], whole[:, t], 1e-12)


def test_completion_draws_the_rest_given_what_is_known(generator: torch.Generator) -> None:
    """Top row known: the rest has its conditional law; fails by chance once in a million seeds."""
    model = small((1, 2, 2))
    strong_law(model, model.log_prob, every_state((1, 2, 2)), transposed)
    x = torch.tensor([[1.0, 0.0], [7.0, float("nan")]]).expand(20_000, 1, 2, 2)
    known = torch.tensor([[True, True], [False, False]]).expand(20_000, 1, 2, 2)
    done = model.complete(x, known, generator=generator)
    assert bool((done[:, 0, 0] == torch.tensor([1.0, 0.0])).all())
    rest = every_state((2,))
    images = torch.cat([torch.tensor([1.0, 0.0]).expand(4, 2), rest], dim=1).reshape(4, 1, 2, 2)
    log_p = torch.log_softmax(model.log_prob(images), dim=0)
    assert not departs_from_law(done[:, 0, 1], log_p)


def test_completion_keeps_what_is_known_in_each_image(generator: torch.Generator) -> None:
    model = perturb(small((2, 2, 2), 3), 0.5)
    x = torch.randint(0, 3, (32, 2, 2, 2), generator=generator) / 2
    known = torch.rand(x.shape, generator=generator) < 0.5
    before = x.clone()
    done = model.complete(x, known, generator=generator)
    assert torch.equal(x, before)
    assert torch.equal(done[known], x[known])
    assert model.complete(x[0], known[0], generator=generator).shape == (2, 2, 2)


def test_classes_have_laws_of_their_own(generator: torch.Generator) -> None:
    model = small((1, 2, 2), num_classes=2)
    x = every_state((1, 2, 2))
    strong_law(model, lambda x: model.log_prob(x, condition=torch.full((16,), 1)), x, transposed)
    laws = [model.log_prob(x, condition=torch.full((16,), c)) for c in (0, 1)]
    assert close(torch.stack(laws).exp().sum(1), torch.ones(2))
    samples = model.sample(20_000, condition=torch.tensor(1), generator=generator)
    assert not departs_from_law(samples, laws[1])
    assert departs_from_law(samples, laws[0])
    assert close(model.log_prob(x[3], condition=torch.tensor(1)), laws[1][3], 1e-12)


def test_batch_shapes_and_precisions_agree() -> None:
    model = perturb(small())
    x = every_state((1, 2, 3))
    assert close(torch.stack([model.log_prob(one) for one in x]), model.log_prob(x), 1e-12)
    assert close(model.log_prob(x.long()), model.log_prob(x), 0.0)
    single = model.float().log_prob(x.float())
    assert single.dtype == torch.float32
    assert close(single.double(), model.double().log_prob(x), 1e-5)
    assert model.float().sample(2).dtype == torch.float32


def test_every_parameter_learns_and_dropout_is_off_in_sampling() -> None:
    model = perturb(small((1, 2, 3), 3, dropout=0.3))
    x = torch.randint(0, 3, (64, 1, 2, 3))
    assert every_parameter_learns(model, -model.log_prob(x).mean())

    def draw() -> torch.Tensor:
        return model.sample(9, generator=torch.Generator(model.position.device).manual_seed(1))

    assert torch.equal(draw(), draw())
    assert model.training


@pytest.mark.parametrize(("size", "millions"), [("S", 76), ("M", 455), ("L", 1362)])
def test_the_papers_sizes(size, millions) -> None:
    """Section 3: 76M, 455M and 1.4B parameters, the last 1362M in the table of linear probes. Within one percent."""
    with torch.device("meta"):
        count = parameters(ImageGPT.paper(size))
    assert abs(count / 1e6 / millions - 1) < 0.01


@pytest.mark.parametrize(
    ("attempt", "sentence"),
    [
        (lambda: small(levels=1), "levels must be at least 2, got 1"),
        (lambda: small((2, 3)), r"image_shape must be \(C, H, W\) with positive entries, got \(2, 3\)"),
        (lambda: small(dim=9), "divisible by heads, got 9 and 2"),
        (lambda: ImageGPT.paper("XL"), "size must be one of 'S', 'M', 'L', got 'XL'"),
        (lambda: small().log_prob(torch.zeros(2, 3)), r"shape \(1, 2, 3\) or \(N, 1, 2, 3\), got \(2, 3\)"),
        (lambda: small().log_prob(torch.full((1, 2, 3), 0.5)), r"one of 2 levels.*\[0.5, 0.5\]"),
        (lambda: small(num_classes=2).log_prob(torch.zeros(1, 2, 3)), "1 of 2 classes, got None"),
        (lambda: small().log_prob(torch.zeros(1, 2, 3), condition=torch.tensor(0)), r"1 of 0 classes, got \[0\]"),
        (lambda: small(num_classes=2).sample(2, condition=torch.tensor([0, 2])), r"2 of 2 classes, got \[0, 2\]"),
    ],
)
def test_bad_input_is_refused(attempt, sentence) -> None:
    with pytest.raises(ValueError, match=sentence):
        attempt()
