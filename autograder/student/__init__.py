"""The student's notebook as the judge sees it: names, handles and what can be asked of them.

    model = student.MADE(8, hidden=64)          # built in the sandbox: a Handle
    logits = model(x)                           # tensors come back as data
    call(model.log_prob, x, seed=3)             # under a seed
    gradient(model, x, wrt=0)                   # d sum(model(x)) / dx

Everything here also works on plain Python callables, which then run in this process, so that an assertion can be tried
on a function at hand. Errors in the student's code arrive as `errors.StudentFault`.
"""

from autograder.errors import MissingName
from autograder.student.answers import value_of
from autograder.student.asking import (
    Mode,
    accepts,
    call,
    call_with_echo,
    contents,
    gradient,
    jacobian,
    jacobian_blocks,
    keep,
    load_state_dict,
    optimiser,
    parameter_gradients,
    parameters,
    part_of,
    parts_with_graph,
    perturb,
    probe_beside,
    records,
    signature,
    state_dict,
)
from autograder.student.handles import Channel, Handle, is_callable, is_module, type_name
from autograder.student.local import as_handle
from autograder.student.notebook import Student
from autograder.student.training import run_fit, train_network

__all__ = [
    "Channel",
    "Handle",
    "MissingName",
    "Mode",
    "Student",
    "accepts",
    "as_handle",
    "call",
    "call_with_echo",
    "contents",
    "gradient",
    "is_callable",
    "is_module",
    "jacobian",
    "jacobian_blocks",
    "keep",
    "load_state_dict",
    "optimiser",
    "parameter_gradients",
    "parameters",
    "part_of",
    "parts_with_graph",
    "perturb",
    "probe_beside",
    "records",
    "run_fit",
    "signature",
    "state_dict",
    "train_network",
    "type_name",
    "value_of",
]
