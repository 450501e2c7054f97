"""Every seed is a keyed hash of its own: who sees one, or all numbers drawn from it, knows nothing of another."""

from __future__ import annotations

import itertools

import torch


def bits(generator: torch.Generator, n: int = 4096) -> list[int]:
    return torch.randint(0, 2, (n,), generator=generator).tolist()


def test_keys_differ_in_every_part_and_parts_do_not_run_together():
    from autograder.seeds import key_of

    keys = {key_of(*parts) for parts in [(1, "ab", "c"), (1, "a", "bc"), (1, "ab"), (2, "ab", "c"), (1, "ab", "c", "")]}
    assert len(keys) == 5
    assert key_of(2**200 + 1, "x") != key_of(2**201 + 1, "x")
    assert key_of(1, "ab", "c") == key_of(1, "ab", "c")


def test_a_generator_takes_its_whole_state_from_its_key():
    from autograder.seeds import generator_from, key_of

    key = key_of(7, "x")
    assert bits(generator_from(key)) == bits(generator_from(key))
    assert bits(generator_from(key)) != bits(generator_from(key_of(7, "y")))
    # torch's own seeds choose among 2**32 streams; this one is none of theirs that its number would name
    assert bits(generator_from(key)) != bits(torch.Generator().manual_seed(generator_from(key).initial_seed()))
    drawn = torch.rand(200_000, generator=generator_from(key), dtype=torch.float64)
    assert abs(float(drawn.mean()) - 0.5) < 5 / (12 * 200_000) ** 0.5
    lag = float(((drawn[:-1] - 0.5) * (drawn[1:] - 0.5)).mean()) * 12
    assert abs(lag) < 5 / 200_000**0.5


def test_what_is_drawn_apart_does_not_tell_the_generator_it_came_from():
    from autograder.seeds import apart

    one, two = (torch.Generator().manual_seed(3) for _ in range(2))
    child, same = apart(one), apart(two)
    assert bits(child) == bits(same)
    assert bits(one) == bits(two)
    assert bits(apart(one)) != bits(child)
    drawn = bits(torch.Generator().manual_seed(3), 20_000)
    first = bits(apart(torch.Generator().manual_seed(3)), 64)
    assert all(drawn[k : k + 64] != first for k in range(20_000 - 64))


def test_seeds_of_calls_do_not_follow_from_one_another():
    from autograder.seeds import key_of, seed_from

    seeds = [seed_from(key_of(7, "calls"), k) for k in range(1000)]
    assert len(set(seeds)) == 1000
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert len({b - a for a, b in itertools.pairwise(seeds)}) == 999
