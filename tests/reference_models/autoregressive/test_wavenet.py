"""WaveNet: enumeration, the receptive field, one layer by hand, queues against the whole network, the μ-law."""

import math

import pytest
import torch
import torch.nn.functional as F

from reference_models.autoregressive.wavenet import WaveNet, mu_law_decode, mu_law_encode
from reference_models.exact import departs_from_law, every_state
from tests.reference_models.autoregressive.laws import every_parameter_learns, parameters, rolled, strong, strong_law
from tests.reference_models.helpers import close, perturb


def small(levels=2, **sizes) -> WaveNet:
    return WaveNet(levels, **{"dilations": (1, 2), "residual": 6, "gates": 5, "skip": 7, "length": 6, **sizes})


@pytest.mark.parametrize(("levels", "length", "kernel"), [(2, 8, 2), (3, 5, 3)])
def test_probabilities_of_all_sequences_sum_to_one(levels, length, kernel) -> None:
    model = perturb(small(levels, kernel=kernel), 0.5)
    x = (every_state((length,), levels) * (levels - 1)).round().long()
    assert close(model.log_prob(x).exp().sum(), 1.0)


@pytest.mark.parametrize(
    ("kernel", "dilations", "samples"), [(2, (1,), 3), (2, (1, 2, 4), 9), (3, (1, 2), 9), (2, (1, 2, 1, 2), 8)]
)
def test_the_receptive_field_is_the_samples_just_before(kernel, dilations, samples) -> None:
    """1 + (k − 1)(1 + Σ dilations) samples, the newest of them t − 1, by autograd; all of them count."""
    model = small(3, kernel=kernel, dilations=dilations, residual=8, gates=8, skip=8)
    strong(model)
    assert model.receptive_field == samples
    T = samples + 4
    x = torch.rand(8, 3, T, requires_grad=True)
    logits = model.logits(x)
    for t in range(T):
        (gradient,) = torch.autograd.grad(logits[..., t].sin().sum(), x, retain_graph=True)
        seen = (gradient != 0).any(0).any(0).nonzero().flatten().tolist()
        assert seen == list(range(max(0, t - samples), t))


def test_a_stack_of_ten_layers_sees_1024_samples() -> None:
    """Section 2.1: dilations 1, 2, ..., 512 with two taps have a receptive field of 1024."""
    with torch.device("meta"):
        model = WaveNet(2, dilations=[2**i for i in range(10)], residual=1, gates=1, skip=1)
    assert 1 + sum(layer.dilated.memory for layer in model.layers) == 1024


def test_the_logits_are_those_of_the_network_written_out() -> None:
    """Loops over time and taps, for two layers of dilations 1 and 2 with a condition (eq. 2 and figure 4)."""
    model = perturb(small(3, condition_features=2), 0.5)
    one_hot = F.one_hot(torch.randint(0, 3, (7,)), 3).T * 1.0  # (K, T)
    h = torch.randn(2)

    def conv(layer: torch.nn.Conv1d, x: dict[int, torch.Tensor], t: int) -> torch.Tensor:
        taps, d = layer.kernel_size[0], layer.dilation[0]
        past = [x.get(t - (taps - 1 - m) * d, torch.zeros(layer.in_channels)) for m in range(taps)]
        return sum(layer.weight[:, :, m] @ past[m] for m in range(taps)) + layer.bias

    inputs = {t + 1: one_hot[:, t] for t in range(6)}  # at time t the network reads x_{t−1}
    x = {t: conv(model.first, inputs, t) for t in range(7)}
    skip = {t: torch.zeros(7) for t in range(7)}
    for layer in model.layers:
        z = {}
        for t in range(7):
            f, g = (conv(layer.dilated, x, t) + layer.V.weight[:, :, 0] @ h).reshape(2, 5)
            z[t] = f.tanh() * g.sigmoid()
            skip[t] = skip[t] + layer.skip.weight[:, :, 0] @ z[t] + layer.skip.bias
        if layer.residual is not None:
            x = {t: x[t] + layer.residual.weight[:, :, 0] @ z[t] + layer.residual.bias for t in range(7)}
    _, one, _, two = model.head
    logits = model.logits(one_hot[None], h[None])[0]
    for t in range(7):
        a = one.weight[:, :, 0] @ skip[t].clamp(min=0) + one.bias
        assert close(logits[:, t], two.weight[:, :, 0] @ a.clamp(min=0) + two.bias, 1e-12)


def test_samples_follow_the_law(generator: torch.Generator) -> None:
    """20000 sequences of four bits; fails by chance once in a million seeds."""
    model = small()
    log_p = strong_law(model, lambda x: model.log_prob(x.long()), every_state((4,)), rolled)
    samples = model.sample(20_000, length=4, generator=generator)
    assert samples.dtype == torch.long
    assert not departs_from_law(samples * 1.0, log_p)
    assert departs_from_law(rolled(samples * 1.0), log_p)


@pytest.mark.parametrize("kernel", [2, 3])
@pytest.mark.parametrize("condition", ["none", "global", "series"])
def test_queues_give_the_draws_of_the_whole_network(kernel, condition) -> None:
    """Past the receptive field, so that queues have turned over; the same random numbers, the same samples."""
    E = 0 if condition == "none" else 2
    model = perturb(small(5, kernel=kernel, dilations=(1, 2, 4), condition_features=E), 0.5)
    h = {"none": None, "global": torch.randn(3, 2), "series": torch.randn(3, 2, 40)}[condition]

    def draw(cached: bool) -> torch.Tensor:
        source = torch.Generator(model.first.weight.device).manual_seed(5)
        return model.sample(3, length=40, condition=h, generator=source, cached=cached)

    assert torch.equal(draw(True), draw(False))
    assert len(draw(True).unique()) > 2


def test_queued_logits_equal_those_of_the_whole_network() -> None:
    """Every step, to rounding, with the queues well past the receptive field."""
    model = perturb(small(4, dilations=(1, 2, 4), kernel=3), 0.5)
    one_hot = F.one_hot(torch.randint(0, 4, (2, 40)), 4).transpose(1, 2) * 1.0
    whole = model.logits(one_hot)
    queues = model._queues(2)
    newest = torch.zeros(2, 4)
    for t in range(40):
        assert close(model._step(newest, queues, None), whole[..., t], 1e-12)
        newest = one_hot[..., t]


def test_a_global_condition_is_a_constant_series_and_matters() -> None:
    model = perturb(small(3, condition_features=2), 0.5)
    x, h = torch.randint(0, 3, (4, 6)), torch.randn(4, 2)
    given = model.log_prob(x, condition=h)
    assert close(model.log_prob(x, condition=h[:, :, None].expand(-1, -1, 6)), given, 1e-12)
    assert (model.log_prob(x, condition=-h) - given).abs().min() > 1e-3
    assert close(model.log_prob(x[0], condition=h[0]), given[0], 1e-12)


def test_a_series_acts_at_its_own_time_and_later() -> None:
    model = perturb(small(3, condition_features=2), 0.5)
    x, h = torch.rand(1, 3, 8), torch.randn(1, 2, 8)
    other = h.clone()
    other[..., 5] += 1
    change = (model.logits(x, h) - model.logits(x, other)).abs().amax(dim=(0, 1))
    assert bool((change[:5] == 0).all())
    assert change[5] > 1e-6


def test_mu_law_by_hand() -> None:
    """f(½) = ln(1 + 127.5)/ln 256 = 0.875687; level round((f + 1)/2 · 255)."""
    audio = torch.tensor([-1.0, -0.5, 0.5, 1.0])
    f = math.log(128.5) / math.log(256)
    assert mu_law_encode(audio).tolist() == [0, round((1 - f) / 2 * 255), round((1 + f) / 2 * 255), 255]
    assert mu_law_encode(audio).tolist() == [0, 16, 239, 255]
    for a in torch.linspace(-1, 1, 4001).tolist():
        f = math.copysign(math.log(1 + 255 * abs(a)) / math.log(256), a)
        level = (f + 1) / 2 * 255
        if abs(level % 1 - 0.5) > 1e-9:
            assert int(mu_law_encode(torch.tensor(a))) == round(level)
    assert close(mu_law_decode(torch.tensor([0, 255]), dtype=torch.float64), torch.tensor([-1.0, 1.0]), 1e-12)


def test_decoding_undoes_encoding_up_to_half_a_level() -> None:
    """Levels come back as they are; amplitudes to within the distance to the neighbouring level."""
    for levels in (16, 256):
        k = torch.arange(levels)
        values = mu_law_decode(k, levels, torch.float64)
        assert torch.equal(mu_law_encode(values, levels), k)
        audio = torch.linspace(-1, 1, 1001)
        distance = (values[mu_law_encode(audio, levels)] - audio).abs()
        assert bool((distance <= values.diff().max()).all())
        assert close(values, -values.flip(0), 1e-12)
    quiet, loud = mu_law_decode(torch.tensor([128, 129, 254, 255]), dtype=torch.float64).diff()[::2]
    assert loud > 200 * quiet  # finer where it is quiet


def test_batch_shapes_and_precisions_agree() -> None:
    model = perturb(small())
    x = every_state((6,)).long()
    assert close(torch.stack([model.log_prob(one) for one in x]), model.log_prob(x), 1e-12)
    single = model.float().log_prob(x)
    assert single.dtype == torch.float32
    assert close(single.double(), model.double().log_prob(x), 1e-5)
    assert model.float().sample(2).shape == (2, 6)


def test_every_parameter_learns() -> None:
    model = perturb(small(3, condition_features=2))
    x = torch.randint(0, 3, (64, 6))
    assert every_parameter_learns(model, -model.log_prob(x, condition=torch.randn(64, 2)).mean())


def test_the_size_of_the_full_model() -> None:
    """30 layers of two taps, 512 → 2·256, skips of 256, 1×1 back to 512 in all but the last; 3 · 1023 + 2 samples."""
    with torch.device("meta"):
        model = WaveNet.paper()
    layer = (2 * 512 * 512 + 512) + (256 * 256 + 256)
    expected = (2 * 256 * 512 + 512) + 30 * layer + 29 * (256 * 512 + 512) + 2 * (256 * 256 + 256)
    assert parameters(model) == expected
    assert model.receptive_field == 3 * 1023 + 2


@pytest.mark.parametrize(
    ("attempt", "sentence"),
    [
        (lambda: small(levels=1), "levels must be at least 2, got 1"),
        (lambda: small(kernel=1), "kernel must be at least 2, got 1"),
        (lambda: small(dilations=()), r"positive and at least one, got \(\)"),
        (lambda: small(dilations=(1, 0)), r"positive and at least one, got \(1, 0\)"),
        (lambda: small().log_prob(torch.tensor([0, 2])), r"one of 2 levels.*\[0, 2\]"),
        (lambda: small().log_prob(torch.zeros(1, 1, 4).long()), r"\(T,\) or \(N, T\) with T > 0, got \(1, 1, 4\)"),
        (
            lambda: small().log_prob(torch.zeros(3).long(), condition=torch.zeros(2)),
            r"shape \(N, 0\).*got shape \(1, 2\)",
        ),
        (lambda: small(condition_features=2).log_prob(torch.zeros(3).long()), "got none"),
        (lambda: small().sample(1, length=0), "length must be at least 1, got 0"),
        (lambda: mu_law_encode(torch.zeros(1), levels=1), "levels must be at least 2, got 1"),
        (lambda: mu_law_decode(torch.zeros(1).long(), levels=0), "levels must be at least 2, got 0"),
        (lambda: mu_law_encode(torch.tensor([0.0, 1.5])), r"audio must lie in \[-1, 1\], got values in \[0.0, 1.5\]"),
    ],
)
def test_bad_input_is_refused(attempt, sentence) -> None:
    with pytest.raises(ValueError, match=sentence):
        attempt()
