"""How to call what stands in `reference_models/exact`."""

from __future__ import annotations

import torch

from reference_models import exact
from tests.reference_models.every_callable.rows import Row, bits

LAW = torch.softmax(torch.tensor([1.0, 0.0, 0.0, 0.5]), 0).log()
ROWS = [
    Row(
        "exact.sampler_laws.law_of_sampler", lambda **k: exact.law_of_sampler([(0.5, 1.0, 0.2)], **k), mean=1.0, std=2.0
    ),
    Row("exact.states.every_state", lambda **k: exact.every_state((2,), **k), levels=3, like=torch.zeros(1).float()),
    Row("exact.states.state_number", lambda **k: exact.state_number(bits(4, 3), **k), levels=3),
    Row("exact.states.departs_from_law", lambda **k: exact.departs_from_law(bits(40, 2), LAW, **k), level=0.999),
]
APART = {
    "exact.gaussian_data.BestNoise.forward.y": (
        "exact/test_gaussian_data.py",
        "test_the_noise_is_what_the_guess_leaves",
    ),
    "exact.states.departs_from_law.levels": ("exact/test_states.py", "test_rare_states_are_counted_together"),
}
