"""Sentences of ours for errors of student code that hidden checks meet.

torch's own words hold sizes, positions and values of what it was given, and a notebook can put anything into an
exception. Who reads the text of a hidden check's error thus reads the check's question. These sentences say what kind
of error it was: every word of them stands in this file.
"""

from __future__ import annotations

import builtins
import re

KINDS = {
    "missing": "something that is asked for is not there",
    "signature": "a function could not be called as the task says: its parameters are others",
    "wrong": "what came back is not the tensor that is asked for",
    "limit": "what came back is larger than it can be",
    "unsendable": "what your code returned is too large, too deep, or of a kind that is no data",
}
OUT_OF_MEMORY = "your code ran out of memory"
OWN = "an error of its own making"
SENTENCES = tuple(
    (re.compile(pattern), sentence)
    for pattern, sentence in (
        # the order matters: what is special comes before what is general
        ("same dtype|scalar type|dtype", "two tensors, or a tensor and a layer, that differ in dtype"),
        ("cannot be multiplied|batch1|mat1|mat2|vec", "matrices that can not be multiplied: their inner sizes differ"),
        ("[Kk]ernel size", "a kernel that is larger than the image it is laid on"),
        ("channels|expected input", "an input with another number of channels or dimensions than the layer takes"),
        (
            "is invalid for input of size|view size is not compatible|shape '",
            "a reshape that does not keep all elements",
        ),
        ("[Dd]imension (out of range|specified)|dims|dimensions", "a dimension that the tensor does not have"),
        ("out of bounds|out of range", "an index outside of what it looks into"),
        ("must match|equal size|[Ss]ize mismatch|expand|broadcast", "tensors whose sizes do not fit each other"),
        (
            "in-?place operation|modified by an inplace",
            "a tensor changed in place although a gradient needs it as it was",
        ),
        ("second time", "a second backward pass through a graph that is gone"),
        ("does not require grad|grad_fn|grad can be implicitly", "a gradient asked for where there is no graph"),
        ("detach\\(\\)", "a tensor with a gradient that must be detached first (`.detach()`)"),
        ("converted to Scalar|is ambiguous|only one element", "a tensor of many numbers where one number is meant"),
        ("unpack", "another number of values than there are names to unpack them to"),
        ("same device|on device|cuda", "tensors on different devices"),
    )
)
BY_TYPE = {
    "AttributeError": "an attribute that the object does not have",
    "NameError": "a name that is not defined",
    "UnboundLocalError": "a name that is not defined",
    "KeyError": "a key that is not there",
    "IndexError": "an index outside of what it looks into",
    "ZeroDivisionError": "a division by zero",
    "TypeError": "a value of another type than the operation takes",
    "ValueError": "a value that the operation does not take",
    "RecursionError": "a recursion that does not end",
    "AssertionError": "an assertion in your own code that does not hold",
    "ModuleNotFoundError": "a module that is not installed",
    "ImportError": "an import that fails",
    "FileNotFoundError": "a file that is not there",
}
TORCH = ("RuntimeError", "IndexError", "ValueError", "TypeError")


def sentence_of(name: str, message: str) -> str:
    """What kind of error an exception is, without a word of its own.

    Args:
        name: of the exception's type, as the sandbox gives it.
    """
    if name in TORCH:
        for pattern, sentence in SENTENCES:
            if pattern.search(message):
                return f"your code met {sentence} ({name})"
    if name in BY_TYPE:
        return f"your code met {BY_TYPE[name]} ({name})"
    known = getattr(builtins, name, None) if name.isidentifier() else None
    if isinstance(known, type) and issubclass(known, BaseException):
        return f"your code raised {OWN} ({name})"
    return f"your code raised {OWN}"
