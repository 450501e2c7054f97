"""Keyed seeds: every seed is a hash of its own under a secret number, so that none tells anything of another.

    key = key_of(salt, "inputs", "hw1", "ada")
    seed_from(key, "test_x", 3)          # a number for `torch.manual_seed`
    generator_from(key, "test_x")        # a generator

`torch.manual_seed` keeps 32 bits of its seed, few enough to try them all, and its Mersenne Twister can be run forwards
and backwards by whoever has seen some 20,000 bits of it. `generator_from` therefore sets the whole state, and what is
shown to student code while something drawn from the same generator is withheld is drawn `apart`.
"""

from __future__ import annotations

import hashlib
import hmac
import struct

import numpy as np
import torch

SEED_BITS = 63  # what crosses the wire, and what torch takes, as a signed number
CHILD_BITS = 62  # of one draw
_STATE = slice(24, 24 + 624 * 8)  # the words of the twister in torch's state of a CPU generator, 8 bytes each


def key_of(salt: int, *parts: str | int) -> bytes:
    """A key of 32 bytes from a secret number and what it is for."""
    return derived(hashlib.sha256(str(salt).encode()).digest(), *parts)


def derived(key: bytes, *parts: str | int) -> bytes:
    """Another key, for something more special. Parts are told apart by lengths: ("ab", "c") is not ("a", "bc")."""
    written = [f"{type(part).__name__}:{part}".encode() for part in parts]
    message = b"".join(struct.pack("<Q", len(part)) + part for part in written)
    return hmac.new(key, struct.pack("<Q", len(written)) + message, hashlib.sha256).digest()


def seed_from(key: bytes, *parts: str | int) -> int:
    """A number from 0 to 2⁶³ − 1."""
    return int.from_bytes(derived(key, *parts)[:8], "big") >> (64 - SEED_BITS)


def generator_from(key: bytes, *parts: str | int) -> torch.Generator:
    """A generator whose whole state follows from a key."""
    words = np.frombuffer(hashlib.shake_256(derived(key, *parts)).digest(624 * 4), dtype="<u4")
    generator = torch.Generator()
    state = bytearray(generator.get_state().numpy().tobytes())
    state[_STATE] = words.astype("<u8").tobytes()
    generator.set_state(torch.frombuffer(state, dtype=torch.uint8))
    return generator


def apart(generator: torch.Generator | None) -> torch.Generator | None:
    """A new generator that follows from one draw of `generator`, and whose numbers do not tell that one's state."""
    if generator is None:
        return None
    drawn = torch.randint(2**CHILD_BITS, (4,), generator=generator).tolist()
    return generator_from(hashlib.sha256(struct.pack("<4q", *drawn)).digest())
