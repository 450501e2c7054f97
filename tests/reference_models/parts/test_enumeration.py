"""The states of binary units, against NumPy's binary digits."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from reference_models.parts.enumeration import binary_states, binary_states_in_chunks, state_index
from tests.reference_models.helpers import numpy


@pytest.mark.parametrize("n", [1, 3, 6])
def test_row_k_holds_the_binary_digits_of_k(n):
    expected = [[int(digit) for digit in np.binary_repr(k, n)] for k in range(2**n)]
    states = binary_states(n, torch.zeros(()))
    assert numpy(states).tolist() == expected
    assert state_index(states).tolist() == list(range(2**n))
    assert state_index(states[-1]).shape == ()


@pytest.mark.parametrize("chunk", [1, 5, 8, 100])
def test_chunks_are_the_rows_in_order(chunk):
    parts = list(binary_states_in_chunks(3, torch.zeros(()), chunk))
    assert max(len(part) for part in parts) == min(chunk, 8)
    assert torch.equal(torch.cat(parts), binary_states(3, torch.zeros(())))


def test_states_take_their_precision_from_a_tensor_or_a_module():
    assert binary_states(2, torch.zeros((), dtype=torch.float32)).dtype == torch.float32
    assert binary_states(2, torch.nn.Linear(1, 1).float()).dtype == torch.float32


def test_what_is_no_state_is_refused():
    for n in (0, 23):
        with pytest.raises(ValueError, match=f"for n from 1 to 22, got n = {n}"):
            binary_states(n, torch.zeros(()))
    with pytest.raises(ValueError, match=r"states must hold zeros and ones, got values in \[-1, 1\]"):
        state_index(torch.tensor([1.0, -1.0]))
