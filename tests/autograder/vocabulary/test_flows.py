"""Bijections and volumes; the oracles are the probes' exact inverses, torch.distributions and the reference models."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from autograder.checks import (
    AffineFlow,
    AffinePair,
    Bend,
    Rotate,
    Scale,
    Student,
    TriangularPair,
    affine_flow_law,
    assert_every_coordinate_moves,
    assert_integrates_to_one,
    assert_inverse,
    assert_log_det,
    assert_passes,
    change_of_variables,
    dense_pair,
    invertible_matrix,
    triangular_pair,
)
from autograder.student.local import LocalChannel
from reference_models.flows.realnvp import RealNVP
from tests.autograder.vocabulary.flow_students import (
    Conv1x1,
    Coupling,
    Stack,
    coupling,
    coupling_by_autograd,
    coupling_by_indices,
    maf,
    maf_inverse,
    uncoupling,
)
from tests.autograder.vocabulary.forked import notebook
from tests.autograder.vocabulary.students import fails, generator, perturbed

F64 = torch.float64


def normal(seed: int, *shape: int, dtype: torch.dtype = F64) -> Tensor:
    return torch.randn(*shape, generator=generator(seed), dtype=F64).to(dtype)


IMAGE = (2, 2, 3)
CHECKERBOARD = torch.tensor([[1.0, 0, 1], [0, 1, 0]]).expand(IMAGE)
VECTOR = torch.tensor([1.0, 0, 0, 1, 0])
PAIRS = {IMAGE: AffinePair(*dense_pair(12, generator(1))), (5,): AffinePair(*dense_pair(5, generator(2)))}
MASKS = {IMAGE: CHECKERBOARD, (5,): VECTOR}
TRIANGULAR = TriangularPair(*triangular_pair(4, generator(3)))

RIGHT = [coupling, coupling_by_indices, coupling_by_autograd]


@pytest.mark.parametrize("right", RIGHT)
@pytest.mark.parametrize("shape", [IMAGE, (5,)])
@pytest.mark.parametrize("dtype", [F64, torch.float32])
@pytest.mark.parametrize("batch", [3, 64])
def test_right_couplings_pass_however_they_are_written(
    right: Any, shape: tuple[int, ...], dtype: torch.dtype, batch: int
) -> None:
    if right is coupling_by_autograd and batch == 64:
        batch = 7  # it is slow
    x, z = normal(1, batch, *shape, dtype=dtype), normal(2, batch + 1, *shape, dtype=dtype)
    mask, net = MASKS[shape], PAIRS[shape]
    assert_inverse(right, uncoupling, x, z, mask, net)
    assert_log_det(right, x, mask, net)
    assert_log_det(uncoupling, z, mask, net)
    assert_passes(right, x, mask, mask, net)


ERRORS = [
    ("sign", "off by", "the sign is flipped"),
    ("mean", "off by", "averaged over dimensions where a sum is asked for"),
    ("half", "off by", "half of what it should be"),
    ("over batch", "shape (6,), got ()", "summed over the batch"),
    ("over batch, expanded", "off by", "summed over the batch"),
    ("batch mean", "shape (6,), got ()", "averaged over the batch"),
    ("terms", "shape (6,), got (6, 12)", "terms of single entries: sum them"),
    ("column", "shape (6,), got (6, 1)", "squeeze"),
    ("square", "shape (6,), got (6, 6)", "broadcast"),
    ("pixels", "off by", "averaged over pixels where a sum is asked for"),
    ("determinant", "off by", "size of the determinant, not its logarithm"),
    ("bits", "off by", "bits where nats are asked for"),
    ("constant", "off by 0.1", "a constant term is missing or extra"),
    ("unmasked", "off by", None),
    ("sees all", "off by", None),
    ("nan", "NaN in 6 of 6", None),
]


@pytest.mark.parametrize(("error", "says", "hint"), ERRORS)
def test_each_wrong_volume_fails_and_is_explained_where_it_can_be(error: str, says: str, hint: str | None) -> None:
    for seed in range(5):
        x, net = normal(seed, 6, *IMAGE), AffinePair(*dense_pair(12, generator(seed)))
        fault = fails(
            lambda x=x, net=net: assert_log_det(lambda x, m, n: coupling(x, m, n, error), x, CHECKERBOARD, net),
            says=says,
            hint=hint,
        )
        assert "log-determinant of `forward`" in fault.message
        if says.startswith("off"):
            assert "at a (6, 2, 2, 3) float64 tensor with values from" in fault.message


def test_shift_before_scale_has_the_right_volume_and_is_no_inverse_of_the_right_map() -> None:
    x, net = normal(0, 6, 5), PAIRS[(5,)]
    wrong = lambda x, m, n: coupling(x, m, n, "shift first")  # noqa: E731
    assert_log_det(wrong, x, VECTOR, net)
    fails(lambda: assert_inverse(wrong, uncoupling, x, x + 1, VECTOR, net), says="`inverse` after `forward`")


@pytest.mark.parametrize("error", ["wrong order", "sees all"])
def test_wrong_inverses_fail(error: str) -> None:
    for seed in range(5):
        x, z, net = normal(seed, 6, 5), normal(50 + seed, 7, 5), AffinePair(*dense_pair(5, generator(seed)))
        back = lambda z, m, n: uncoupling(z, m, n, error)  # noqa: E731
        fails(lambda x=x, z=z, net=net, back=back: assert_inverse(coupling, back, x, z, VECTOR, net), says="off by")


def test_a_map_that_is_inverted_at_one_end_only_fails_at_the_other() -> None:
    x, z = normal(0, 6, 3).abs(), normal(1, 6, 3)
    fold = lambda x: (x.abs(), x.sum(1) * 0)  # noqa: E731
    same = lambda z: (z, z.sum(1) * 0)  # noqa: E731
    fails(lambda: assert_inverse(fold, same, x, z), says="`forward` after `inverse`")
    fails(lambda: assert_inverse(same, fold, z, x), says="`inverse` after `forward`")
    clamp = lambda z: (z.clamp(-1, 1), z.sum(1) * 0)  # noqa: E731
    fails(lambda: assert_inverse(same, clamp, x.clamp(0, 1), 3 * z), says="`forward` after `inverse`")


def test_a_module_that_remembers_what_it_was_last_given_fails() -> None:
    class Remembers(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            self.last = x
            return x.sin(), x.sum(1) * 0

        def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
            made, self.last = getattr(self, "last", z), z
            return made, z.sum(1) * 0

    flow = Remembers()
    fails(lambda: assert_inverse(flow, flow.inverse, normal(0, 6, 3), normal(1, 6, 3)), says="off by")


@pytest.mark.parametrize("dtype", [F64, torch.float32])
def test_autoregressive_flows_pass_and_their_errors_fail(dtype: torch.dtype) -> None:
    x, z = normal(1, 64, 4, dtype=dtype), normal(2, 6, 4, dtype=dtype)
    assert_inverse(maf, maf_inverse, x, z, TRIANGULAR, atol=1e-3 if dtype == torch.float32 else None)
    assert_log_det(maf, x, TRIANGULAR)
    assert_log_det(maf_inverse, z, TRIANGULAR)
    one_pass, from_z = (lambda z, n, e=e: maf_inverse(z, n, e) for e in ("one pass", "from z"))
    fails(lambda: assert_inverse(maf, one_pass, x, z, TRIANGULAR), says="off by")
    fails(lambda: assert_log_det(from_z, z, TRIANGULAR), says="off by")
    fails(lambda: assert_log_det(lambda x, n: maf(x, n, "multiplies"), x, TRIANGULAR), hint="sign")


def test_an_inverse_without_gradients_is_measured_through_the_map_that_it_undoes() -> None:
    z = normal(2, 6, 4)
    loop = torch.no_grad()(maf_inverse)
    fails(lambda: assert_log_det(loop, z, TRIANGULAR), says="has derivative 0", hint="graph is cut")
    assert_log_det(loop, z, TRIANGULAR, undone_by=maf)
    wrong = torch.no_grad()(lambda z, n: maf_inverse(z, n, "from z"))
    fails(lambda: assert_log_det(wrong, z, TRIANGULAR, undone_by=maf), says="log-determinant")


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_a_convolution_of_either_sign_counts_its_pixels(channels: int) -> None:
    failed = set()
    for seed in range(8):
        W = invertible_matrix(channels, generator(seed))
        x, z = normal(seed, 5, channels, 2, 3), normal(seed, 4, channels, 3, 2)
        right = Conv1x1(W)
        assert_inverse(right, right.inverse, x, z)
        assert_log_det(right, x)
        assert_log_det(right.inverse, z)
        fails(lambda W=W, x=x: assert_log_det(Conv1x1(W, "no pixels"), x), hint="averaged over pixels")
        if float(torch.linalg.det(W)) < 0:
            fails(lambda W=W, x=x: assert_log_det(Conv1x1(W, "logdet"), x), says="NaN")
            failed.add("logdet")
        wrong = Conv1x1(W, "transposed")
        fails(lambda wrong=wrong, x=x, z=z: assert_inverse(wrong, wrong.inverse, x, z), says="off by")
    assert failed == {"logdet"}


@pytest.mark.parametrize("wrong", ["overwritten", "order"])
def test_a_stack_of_layers_that_do_not_commute_shows_its_errors(wrong: str) -> None:
    layers = [Scale(torch.tensor([2.0, 0.5, -1.5], dtype=F64), 1.0), Rotate(0.7), Bend(0.6)]
    x, z = normal(0, 64, 3), normal(1, 6, 3)
    right, flow = Stack(layers), Stack(layers, wrong)
    assert_inverse(right, right.inverse, x, z)
    assert_log_det(right, x)
    assert_log_det(right.inverse, z)
    if wrong == "order":
        fails(lambda: assert_inverse(flow, flow.inverse, x, z), says="off by")
    else:
        fails(lambda: assert_log_det(flow, x), says="off by")


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda x: x, "it is one tensor of shape (6, 3)"),
        (lambda x: None, "it is None"),
        (lambda x: (x,), "a tuple of 1"),
        (lambda x: (x[:, :2], x.sum(1)), "makes (6, 2)"),
        (lambda x: (x[:3], x.sum(1)), "makes (3, 3)"),
        (lambda x: (x.sum(), x.sum(1)), "makes ()"),
        (lambda x: (x * torch.nan, x.sum(1)), "finite"),
        (lambda x: (x * torch.inf, x.sum(1)), "finite"),
        (lambda x: (x, None), "should be a tensor, got None"),
        (lambda x: (x.detach(), x.sum(1)), "has derivative 0"),
        (lambda x: (x[:, :1].expand(6, 3), x.sum(1)), "determinant 0: some direction is lost"),
        (lambda x: (x - x.mean(0), x.sum(1) * 0), "mixes the samples of a batch"),
        (lambda x: ((x - x.detach()).abs().sqrt(), x.sum(1)), "derivative of `forward` should be finite"),
        (lambda x: (x + 0j, x.sum(1)), "real"),
    ],
)
def test_what_has_no_volume_fails_before_any_arithmetic(wrong: Callable[[Tensor], Any], says: str) -> None:
    fails(lambda: assert_log_det(wrong, normal(0, 6, 3)), says=says)


def test_identity_and_empty_answers_of_a_map_are_seen() -> None:
    identity = lambda x: (x, x.new_zeros(len(x)))  # noqa: E731
    assert_log_det(identity, normal(0, 6, 3))
    assert_inverse(identity, identity, normal(0, 1, 3), normal(1, 1, 3))
    fails(lambda: assert_inverse(lambda x: x[:, :0], lambda z: z, normal(0, 6, 3), normal(1, 6, 3), output=None))
    with pytest.raises(ValueError, match="at least one sample"):
        assert_inverse(identity, identity, normal(0, 0, 3), normal(1, 6, 3))


# change of variables


def test_a_density_is_that_of_its_law_whatever_the_student_says_of_its_volume() -> None:
    A, b = invertible_matrix(3, generator(5)), normal(6, 3)
    law = torch.distributions.MultivariateNormal(*affine_flow_law(A, b))
    x = normal(7, 64, 3)
    flow = AffineFlow(A, b)
    lying = lambda x: (flow(x)[0], flow(x)[1] + 100)  # noqa: E731
    for fn in (flow, lying):
        torch.testing.assert_close(change_of_variables(fn, x), law.log_prob(x))
    torch.testing.assert_close(change_of_variables(lambda x: flow(x)[0], x, output=None), law.log_prob(x))
    uniform = change_of_variables(lambda x: (x * 2, 0), x, base_log_prob=lambda z: torch.zeros(len(z)))
    torch.testing.assert_close(uniform, torch.full((64,), 3 * 0.6931471805599453, dtype=F64))


@pytest.mark.parametrize("dtype", [F64, torch.float32])
def test_a_density_agrees_with_a_reference_model(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    flow = perturbed(RealNVP((1, 2, 4), width=4)).to(dtype).eval()
    x = normal(0, 5, 1, 2, 4, dtype=dtype)
    found = change_of_variables(flow.forward, x, output=0)
    torch.testing.assert_close(found, flow.log_prob(x).double().detach(), rtol=0, atol=1e-9 if dtype == F64 else 1e-3)


# passing and moving


def test_exchanged_and_leaking_masks_are_told_apart() -> None:
    x, net = normal(0, 64, 5), PAIRS[(5,)]
    swapped = lambda x: coupling(x, VECTOR, net, "roles")  # noqa: E731
    fails(lambda: assert_passes(swapped, x, VECTOR), says="changes 2 of them", hint="the other way round")
    fails(lambda: assert_passes(lambda x: (x * 1.001, 0), x, VECTOR), says="changes 2 of them", hint=None)
    fails(lambda: assert_passes(lambda x: (x, 0), x, VECTOR), says="3 of 3 stay as they were in all 64 samples")
    assert_passes(lambda x: (x, 0), x, VECTOR, others_move=False)
    assert_passes(lambda x: (x, 0), x, torch.ones(5))
    fails(lambda: assert_passes(lambda x: (x * torch.nan, 0), x, VECTOR), says="finite")
    fails(lambda: assert_passes(lambda x: (x[:, :4], 0), x, VECTOR), says="shape")
    single = x.clone()
    one = lambda x: (x + (x == single) * VECTOR[[1, 0, 2, 3, 4]] * (torch.arange(len(x)) == 9)[:, None], 0)  # noqa: E731
    fails(lambda: assert_passes(one, x, VECTOR), says="changes 1 of them")
    for mask in (torch.ones(4), torch.full((5,), 0.5)):
        with pytest.raises(ValueError, match="a mask holds 0 and 1"):
            assert_passes(swapped, x, mask)


def stack_of(masks: list[list[float]], *others: nn.Module) -> Stack:
    return Stack([*(Coupling(torch.tensor(mask), seed) for seed, mask in enumerate(masks)), *others])


A, B = [1.0, 0, 1, 0], [0.0, 1, 0, 1]
MIX = AffineFlow(invertible_matrix(4, generator(9)))


@pytest.mark.parametrize("dtype", [F64, torch.float32])
@pytest.mark.parametrize("batch", [4, 64])
def test_couplings_that_alternate_move_everything(dtype: torch.dtype, batch: int) -> None:
    x = normal(0, batch, 4, dtype=dtype)
    for flow in (
        stack_of([A, B]),
        stack_of([A, B, A]),
        Stack([Coupling(torch.tensor(A), 0), MIX, Coupling(torch.tensor(A), 1)]),
    ):
        assert_every_coordinate_moves(flow, x)
        assert_inverse(flow, flow.inverse, x, x + 1, atol=1e-3 if dtype == torch.float32 else None)


@pytest.mark.parametrize(
    ("flow", "still"),
    [
        (stack_of([A]), 2),
        (stack_of([A, A, A]), 2),
        (stack_of([A, A], Scale(torch.tensor([2.0, 0.5, 3.0, 0.7]), 1.0)), 2),
        (stack_of([A, A], Rotate(0.7)), 2),
        (stack_of([A, A], MIX), 2),
        (Stack([MIX, *(Coupling(torch.tensor(A), s) for s in range(2)), MIX]), 2),
        (stack_of([[1.0, 0, 1, 0], [1.0, 1, 0, 1]]), 1),
        (Stack([MIX]), 4),
    ],
)
@pytest.mark.parametrize("dtype", [F64, torch.float32])
def test_masks_that_do_not_alternate_fail_also_behind_linear_layers(
    flow: Stack, still: int, dtype: torch.dtype
) -> None:
    x = normal(0, 16, 4, dtype=dtype)
    assert_inverse(flow, flow.inverse, x, x + 1, atol=1e-3 if dtype == torch.float32 else None)  # nothing else sees it
    assert_log_det(flow, x)
    fails(lambda: assert_every_coordinate_moves(flow, x), says=f"but {still} of the 4 of its result are affine")


def test_in_an_affine_flow_only_copies_are_looked_for() -> None:
    x = normal(0, 16, 4)
    assert_every_coordinate_moves(MIX, x, beyond_affine=False)
    permute = lambda x: (x[:, [1, 0, 3, 2]], 0)  # noqa: E731
    fails(
        lambda: assert_every_coordinate_moves(permute, x, beyond_affine=False),
        says="4 of the 4 of its result are copies",
    )
    fails(lambda: assert_every_coordinate_moves(stack_of([A]), x, beyond_affine=False), says="2 of the 4")
    with pytest.raises(ValueError, match="two samples"):
        assert_every_coordinate_moves(MIX, x[:1])


# densities on a grid

MIXTURE = torch.distributions.MixtureSameFamily(
    torch.distributions.Categorical(torch.tensor([0.3, 0.7], dtype=F64)),
    torch.distributions.MultivariateNormal(
        torch.tensor([[2.0, 0.0], [-1.0, 1.0]], dtype=F64),
        torch.tensor([[[0.3, 0.1], [0.1, 0.5]], [[1.0, -0.4], [-0.4, 0.6]]], dtype=F64),
    ),
)
BOX = [(-8.0, 8.0), (-8.0, 8.0)]


@pytest.mark.parametrize("dtype", [F64, torch.float32])
def test_right_densities_have_integral_one_on_a_box_and_on_the_range_of_samples(dtype: torch.dtype) -> None:
    assert_integrates_to_one(MIXTURE.log_prob, BOX, dtype=dtype)
    torch.manual_seed(0)
    assert_integrates_to_one(MIXTURE.log_prob, MIXTURE.sample((20_000,)), dtype=dtype)
    one = torch.distributions.Normal(torch.tensor(1.0, dtype=F64), 0.5)
    assert_integrates_to_one(lambda x: one.log_prob(x[:, 0]), [(-4, 6)], dtype=dtype)
    three = Stack([Scale(torch.tensor([2.0, 0.7, -1.0], dtype=F64)), Rotate(0.7), Bend(0.6)])
    assert_integrates_to_one(three.log_prob, [(-6, 6)] * 3, points=60, dtype=dtype)


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (lambda x: -MIXTURE.log_prob(x), "the sign is flipped"),
        (lambda x: MIXTURE.log_prob(x) / 2, "averaged over the 2 dimensions"),
        (lambda x: MIXTURE.log_prob(x) + 1.8378770664093454, "(D/2) ln 2π is missing, with D = 2"),
        (lambda x: MIXTURE.log_prob(x) / torch.tensor(2.0).log(), "in bits"),
        (lambda x: MIXTURE.log_prob(x) + 0.1, None),
        (lambda x: MIXTURE.log_prob(x.abs()), None),
    ],
)
def test_functions_that_are_no_density_fail(wrong: Callable[[Tensor], Tensor], hint: str | None) -> None:
    fault = fails(lambda: assert_integrates_to_one(wrong, BOX), says="should be a density, with integral 1", hint=hint)
    assert "over [-8, 8] × [-8, 8] (200 points a side) yours has" in fault.message


@pytest.mark.parametrize(
    "wrong",
    [
        lambda x: MIXTURE.log_prob(x) * torch.nan,
        lambda x: MIXTURE.log_prob(x) + torch.inf,
        lambda x: MIXTURE.log_prob(x)[:, None],
        lambda x: MIXTURE.log_prob(x).sum(),
        lambda x: None,
    ],
)
def test_nan_and_other_shapes_have_no_integral(wrong: Callable[[Tensor], Any]) -> None:
    fails(lambda: assert_integrates_to_one(wrong, BOX))


def test_folding_two_modes_onto_one_is_seen_by_the_integral_of_the_measured_density() -> None:
    fold = lambda x: (x.abs() - 2, 0)  # noqa: E731
    fails(lambda: assert_integrates_to_one(lambda x: change_of_variables(fold, x), [(-9, 9)]), says="yours has 1.95")
    for box, points in (([(1.0, 0.0)], 9), ([(0.0, 1.0)] * 4, 9), ([(0.0, 1.0)], 1)):
        with pytest.raises(ValueError, match=r"a grid has|each coordinate"):
            assert_integrates_to_one(lambda x: x[:, 0], box, points=points)


SOURCE = """
import torch
from torch import nn
class Flow(nn.Module):
    def __init__(self, layers):
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.drop = nn.Dropout(0.5)
    def forward(self, x):
        total = x.new_zeros(len(x))
        for layer in self.layers:
            x, logdet = layer(x)
            total = total + logdet
        return self.drop(x), total
    def inverse(self, z):
        total = z.new_zeros(len(z))
        for layer in reversed(self.layers):
            z, logdet = layer.inverse(z)
            total = total + logdet
        return z, total
def coupling_forward(x, mask, net):
    s, t = net(mask * x)
    return mask * x + (1 - mask) * (x * s.exp() + t), ((1 - mask) * s).flatten(1).sum(1)
"""


NAMED = """
import torch
from typing import NamedTuple
class Mapped(NamedTuple):
    result: torch.Tensor
    logdet: torch.Tensor
def forward(x):
    return Mapped(x.sinh(), x.cosh().log().sum(1))
def inverse(z):
    return Mapped(z.asinh(), -z.asinh().cosh().log().sum(1))
def short(x):
    return Mapped(x.sinh(), x.cosh().log().sum())
"""


def test_a_named_tuple_is_a_tuple() -> None:
    with notebook(NAMED) as student:
        assert_inverse(student.forward, student.inverse, normal(0, 6, 3), normal(1, 5, 3))
        assert_log_det(student.forward, normal(0, 6, 3))
        assert_passes(student.forward, normal(0, 6, 3), torch.zeros(3))
        assert change_of_variables(student.forward, normal(0, 6, 3)).shape == (6,)
        fails(lambda: assert_log_det(student.short, normal(0, 6, 3)), hint="summed over the batch")


def test_flows_and_probes_in_a_worker_are_measured_in_evaluation_mode() -> None:
    x, z = normal(0, 6, 4), normal(1, 5, 4)
    with notebook(SOURCE) as student:
        layers = [
            student.probe("Scale", torch.tensor([2.0, 0.5, 1.5, -1.0], dtype=F64)),
            student.probe("Rotate", 0.7),
            student.probe("Bend", 0.6),
        ]
        flow = student.Flow(layers)
        assert_inverse(flow, flow.inverse, x, z)
        assert_log_det(flow, x)
        assert_log_det(flow.inverse, z)
        assert_every_coordinate_moves(flow, x)
        fails(lambda: assert_log_det(flow, x, mode="train"))
        net = student.probe("AffinePair", *dense_pair(4, generator(4)))
        mask = torch.tensor([1.0, 0, 0, 1], dtype=F64)
        assert_log_det(student.coupling_forward, x, mask, net)
        assert_passes(student.coupling_forward, x, mask, mask, net)


def test_a_student_of_this_process_is_asked_through_handles() -> None:
    student = Student(LocalChannel({"coupling": coupling, "uncoupling": uncoupling}))
    net = student.probe("AffinePair", *dense_pair(5, generator(2)))
    x, z = normal(0, 6, 5), normal(1, 7, 5)
    assert_inverse(student.coupling, student.uncoupling, x, z, VECTOR, net)
    assert_log_det(student.coupling, x, VECTOR, net, what="`coupling_forward`")
