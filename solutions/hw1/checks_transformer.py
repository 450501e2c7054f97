"""Homework 1, hidden checks of part 4: the causal image transformer, alone and with its cache."""

from __future__ import annotations

import pytest
import torch

from autograder.checks import (
    Wrong,
    assert_binary,
    assert_causal,
    assert_close,
    assert_dtype,
    assert_finite,
    assert_no_graph,
    assert_normalised,
    assert_shape,
    assert_unchanged_arguments,
    call_with_echo,
    conditional_log_probs,
    contents,
    dependence_matrix,
    load_state_dict,
    parameters,
    perturb,
    state_dict,
)

from ..common.draws import F64, bits, normal, randint
from .laws import attention
from .properties import assert_images_do_not_mix, assert_interacts


@pytest.mark.graded("transformer-mask", points=0.25)
def test_mask_of_fewer_queries_than_keys(student, rng):
    """The queries are the last positions: each may attend to itself and to everything before."""
    t_k = randint(rng, 6, 9)
    for t_q, keys in ((1, 1), (1, t_k), (2, t_k), (4, t_k), (t_k, t_k)):
        mask = assert_shape(student.causal_mask(t_q, keys), (t_q, keys), f"`causal_mask({t_q}, {keys})`")
        assert_dtype(mask, torch.bool, "`causal_mask`")
        wrong = int((mask != torch.ones(t_q, keys).tril(keys - t_q).bool()).sum())
        if wrong:
            raise Wrong(f"`causal_mask({t_q}, {keys})` is wrong at {wrong} of {t_q * keys} places")


@pytest.mark.graded("transformer-mask", points=0.3)
def test_attention_is_the_formula(student, rng):
    """`attention` is the scaled, masked softmax of the text, also for fewer queries than keys and large scores."""
    for heads, t_q, t_k, d in ((1, 4, 4, 3), (2, 3, 7, 5), (3, 1, 6, 2)):
        q, k, v = normal(rng, 2, heads, t_q, d), normal(rng, 2, heads, t_k, d), normal(rng, 2, heads, t_k, d)
        right, unscaled, twice = (attention(q, k, v, scale) for scale in (d**-0.5, 1.0, 1 / d))
        hints = {"scores are not divided by √d": unscaled, "scores are divided by d instead of √d": twice}
        assert_close(student.attention(q, k, v), right, "`attention(q, k, v)`", alternatives=hints)
        large = student.attention(1000 * q, k, v)
        assert_close(large, attention(1000 * q, k, v, d**-0.5), "`attention` for scores of size 1000")


@pytest.mark.graded("transformer-log-prob", points=0.1)
def test_tokens_are_the_pixels_moved_by_one(student, rng):
    """`shift_right` puts START in front and drops the last pixel, for any batch, as `long`."""
    for batch, n in ((1, 1), (3, 2), (5, randint(rng, 6, 12))):
        x = bits(rng, batch, n).float()
        tokens = assert_unchanged_arguments(student.shift_right, x, what="`shift_right`")
        assert_dtype(tokens, torch.long, "`shift_right`")
        assert_close(tokens, torch.cat([torch.full((batch, 1), 2.0), x[:, :-1]], 1).long(), "`shift_right`")


def transformer(student, seed, *sizes):
    """With weights far from their initial values, in double precision."""
    model = student.ImageTransformer(*sizes)
    perturb(model, 0.3, seed=seed)
    return model.double().eval()


@pytest.mark.graded("transformer-log-prob", points=0.1)
def test_transformer_sees_all_earlier_pixels_and_no_later_one(student, seed, rng, figures):
    """No logit sees its own pixel or a later one, all see every earlier pixel, and probabilities sum to 1."""
    for heads, layers in ((1, 1), (2, 3)):
        model = transformer(student, seed, 6, 8, heads, layers)
        matrix = dependence_matrix(model, (4, 6), dtype=F64, generator=rng, what="the model")
        panels = {"which logit (row) sees which pixel (column)": matrix > 0, "expected": torch.ones(6, 6).tril(-1)}
        figures.heatmap(f"Dependences of a transformer of {layers} layers", panels)
        assert_causal(model, (4, 6), dependence=1.0, dtype=F64, generator=rng, what="the logit of your transformer")
        assert_images_do_not_mix(model, bits(rng, 4, 6), seed % 2**32, "your transformer")
        assert_shape(model(bits(rng, 1, 6)), (1, 6), "the logits of a single image")

        early = torch.arange(6)[None] == torch.tensor([[0], [2]])
        assert_interacts(model, bits(rng, 8, 6), early[:1], early[1:], (4,), seed, "the logit of your transformer at 4")

        def log_prob(x, model=model):
            return conditional_log_probs(model(x), x).sum(1)

        assert_normalised(log_prob, 6, dtype=F64, what="the law of your transformer")


@pytest.mark.graded("transformer-log-prob", points=0.05)
def test_position_matters_to_the_transformer(student, seed, rng):
    """Exchanging two earlier pixels of different value changes the later logits."""
    model = transformer(student, seed, 7, 8, 2, 1)
    x = bits(rng, 3, 7)
    x[:, 0], x[:, 2] = 1.0, 0.0
    y = x.clone()
    y[:, 0], y[:, 2] = 0.0, 1.0
    a, b = (assert_finite(assert_shape(model(images), (3, 7)), "the logits") for images in (x, y))
    change = (a - b).abs()[:, 4:].max()
    if not float(change) > 1e-9:
        raise Wrong("exchanging the pixels 0 and 2 changes no logit from pixel 4 on: positions do not enter the model")


@pytest.mark.graded("transformer-log-prob", points=0.1)
def test_block_attends(student, seed, rng):
    """A block sees all earlier positions whatever their order, none after, and weighs them against each other."""
    for heads, n in ((1, 5), (2, 6)):
        block, h = random_block(student, seed, heads), normal(rng, 3, n, 8)
        out = block_output(block, h, "`block(h)`")
        for j in range(n):
            changed = h.clone()
            changed[:, j] = normal(rng, 3, 8)
            change = (block_output(block, changed, "`block(h)`") - out).abs().amax((0, 2)) / out.abs().max()  # (n,)
            if bool((change[:j] > 1e-9).any()):
                raise Wrong(f"a block leaks: its output at a position before {j} depends on its input at position {j}")
            if not bool((change[j:] > 1e-9).all()):
                raise Wrong(f"a block is blind: some output from position {j} on does not depend on its input there")
        swapped = h[:, [2, 1, 0, *range(3, n)]]
        moved = (block_output(block, swapped, "`block(h)`") - out)[:, 3:].abs().max() / out.abs().max()
        if not float(moved) <= 1e-9:
            raise Wrong("exchanging two positions changes the output of a block at later ones: attention has no order")
        values = []
        for positions in ([], [0], [1], [0, 1]):
            changed = h.clone()
            changed[:, positions] = -h[:, positions]
            values.append(block_output(block, changed, "`block(h)`")[:, -1])
        if not float((values[0] - values[1] - values[2] + values[3]).abs().max()) > 1e-9 * float(out.abs().max()):
            raise Wrong("what a block takes from one position does not depend on the others: there is no softmax")


@pytest.mark.graded("transformer-log-prob", points=0.05)
def test_block_adds_what_it_computes_from_normalised_numbers(student, seed, rng):
    """With all parameters near zero a block changes nothing, and what it adds to large numbers is not large."""
    block, h = random_block(student, seed, 2), normal(rng, 3, 5, 8)
    state, own = state_dict(block), parameters(block)
    load_state_dict(block, state | {name: 1e-6 * value for name, value in own.items()})
    if not float((block_output(block, h, "`block(h)`") - h).abs().max()) <= 1e-3:
        raise Wrong("with all parameters near zero a block should give h back: a residual sum is missing")
    load_state_dict(block, state)
    added, large = ((block_output(block, x, "`block(h)`") - x).abs().max() for x in (h, 1e4 * h))
    if not float(large) <= 100 * float(added):
        raise Wrong(
            "what a block adds to h grows with h: a layer normalisation is missing in front of one of its parts"
        )


@pytest.mark.graded("transformer-log-prob", points=0.1)
def test_block_continues(student, seed, rng):
    """A block that continues with one position or with several gives what it gives for all of them at once."""
    for heads, cuts in ((1, (2, 3, 6)), (2, (1, 4, 5, 7))):
        block, h = random_block(student, seed, heads), normal(rng, 3, cuts[-1], 8)
        past, parts, start = None, [], 0
        for stop in cuts:
            answer = two(block(h[:, start:stop]) if past is None else block(h[:, start:stop], past), "`Block`")
            part, past = answer
            parts.append(assert_shape(part, (3, stop - start, 8), "`block(h, past)`"))
            start = stop
        whole = block_output(block, h, "`block(h)`")
        assert_close(torch.cat(parts, 1), whole, "a block that continues", atol=1e-9, rtol=1e-9)


@pytest.mark.graded("transformer-log-prob", points=0.05)
def test_heads_differ(student, seed, rng):
    """The number of heads matters: one head and two give different blocks of the same weights."""
    one, two_heads = random_block(student, seed, 1), random_block(student, seed, 2)
    state = state_dict(one)
    if {k: v.shape for k, v in state.items()} != {k: v.shape for k, v in state_dict(two_heads).items()}:
        return  # heads that are modules of their own
    load_state_dict(two_heads, state)
    h = normal(rng, 2, 5, 8)
    a, b = (block_output(block, h, "`block(h)`") for block in (one, two_heads))
    if not float((a - b).abs().max()) > 1e-9:
        raise Wrong("a block of two heads computes the same as one of one head with the same weights")


def random_block(student, seed, heads):
    """With weights far from their initial values, in double precision."""
    block = student.Block(8, heads)
    perturb(block, 0.3, seed=seed)
    return block.double().eval()


def block_output(block, h, what):
    return assert_finite(assert_shape(two(block(h), "`Block`")[0], h.shape, what), what)


def two(answer, what):
    """The two things that a block or a step returns; the second may be anything."""
    answer = contents(answer)
    if not isinstance(answer, tuple | list) or len(answer) != 2:
        raise Wrong(f"{what} should return two things: the result and the new past")
    return answer[0], answer[1]


@pytest.mark.graded("transformer-cache", points=0.2)
def test_steps_give_the_logits_of_the_whole(student, seed, rng):
    """Feeding `shift_right(x)` token by token gives the logits of the model, for several blocks and heads."""
    for heads, layers in ((1, 1), (2, 2), (4, 3)):
        n = randint(rng, 5, 8)
        model, x = transformer(student, seed, n, 8, heads, layers), bits(rng, 4, n)
        expected, tokens, past, steps = model_logits(model, x), student.shift_right(x).long(), None, []
        for i in range(n):
            logit, past = step(student, model, tokens[:, i], past)
            steps.append(logit)
        assert_close(torch.stack(steps, 1), expected, "the logits of all steps", atol=1e-9, rtol=1e-9)


def model_logits(model, x):
    return assert_finite(assert_shape(model(x), x.shape, "the logits of the model"), "the logits of the model")


def step(student, model, token, past):
    answer = two(student.transformer_step(model, token, past), "`transformer_step`")
    return assert_shape(answer[0], (len(token),), "the logits of a step"), answer[1]


@pytest.mark.graded("transformer-cache", points=0.15)
def test_a_step_leaves_its_past_as_it_was(student, seed, rng):
    """From one past one can go on with different tokens: a step changes nothing it was given."""
    model, x = transformer(student, seed, 5, 8, 2, 2), bits(rng, 3, 5)
    tokens, past = student.shift_right(x).long(), None
    for i in range(2):
        past = step(student, model, tokens[:, i], past)[1]
    _, after = call_with_echo(student.transformer_step, model, tokens[:, 2], past)
    if not same(past, after[2]):
        raise Wrong("`transformer_step` changes the past it was given: join keys and values into new tensors and lists")
    for other in (x, torch.cat([x[:, :1], 1 - x[:, 1:]], 1)):
        logit, _ = step(student, model, student.shift_right(other)[:, 2].long(), past)
        assert_close(logit, model_logits(model, other)[:, 2], "the logits after branching", atol=1e-9, rtol=1e-9)


@pytest.mark.graded("transformer-cache", points=0.2)
def test_a_past_is_worth_what_it_cost(student, seed, rng):
    """The past holds what the blocks have computed: under new weights, a step with it is not the new network's."""
    for heads, layers in ((1, 1), (2, 2)):
        model, x = transformer(student, seed, 6, 8, heads, layers), bits(rng, 8, 6)
        tokens, past = student.shift_right(x).long(), None
        for i in range(4):
            past = step(student, model, tokens[:, i], past)[1]
        perturb(model, 0.5, seed=seed + 1)
        old, new = step(student, model, tokens[:, 4], past)[0], model_logits(model, x)[:, 4]
        if not float((old - new).abs().max()) > 1e-7 * float(new.abs().max()):
            raise Wrong(
                "after the weights were exchanged a step still gives the logits of the new network: "
                "it computes the earlier positions again instead of keeping their keys and values"
            )


def same(a, b):
    """Equal nested lists and tuples of tensors; what stays in the sandbox is compared by its behaviour instead."""
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and torch.equal(a.nan_to_num(nan=0.5), b.nan_to_num(nan=0.5))
    if isinstance(a, list | tuple):
        return isinstance(b, list | tuple) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return isinstance(b, dict) and same(list(a.items()), list(b.items()))
    return type(a) is type(b)


@pytest.mark.graded("transformer-cache", points=0.2)
def test_cached_sampling_equals_uncached(student, seed, rng):
    """With the same uniform numbers cached and uncached sampling give the same images."""
    for heads, layers in ((1, 1), (2, 3)):
        n = randint(rng, 5, 9)
        model, u = transformer(student, seed, n, 8, heads, layers), torch.rand(50, n, generator=rng, dtype=F64)
        expected = torch.zeros(50, n, dtype=F64)
        for i in range(n):
            expected[:, i] = (u[:, i] < model_logits(model, expected)[:, i].sigmoid()).double()
        value = assert_no_graph(student.sample_cached, model, u, of=model, what="`sample_cached`")
        assert_binary(assert_shape(value, (50, n), "`sample_cached`"), "`sample_cached`")
        assert_dtype(value, F64, "`sample_cached` for float64 numbers")
        differ = int((value != expected).any(1).sum())
        if differ:
            raise Wrong(f"{differ} of 50 images differ from those of uncached sampling with the same numbers")
