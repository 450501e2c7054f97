"""Where student code runs: one small protocol, two implementations.

    open_provider("docker" | "process") → Provider.acquire() → Sandbox(socket, ready) → kill()

`docker` is a boundary: a fresh hardened container per submission. `process` is not: a child process with resource
limits, for machines without an engine. Both start the same worker and talk to it over one connected socket; both
start a spare ahead of time, so that `import torch` hides behind the previous job. A sandbox is used once.

Everything a grader starts carries the grader's session (`autograder.sandbox.traces`), so that `sweep()` finds what a
killed grader left behind, and a small reaper process removes it the moment the grader dies.

    protocol, opening       what a sandbox is; which kind to open
    docker, engine          containers, and the engine that runs them
    image, ingredients      the image they start from, and what it is made of
    identity                what tells one place from another: interpreter and packages
    base_image              a base for it without any registry
    process                 child processes
    live, endings           what both kinds share; what an exit code says
    reading                 what a sandbox used and waited for, from outside
    traces, reaper          whose is what, and who removes it
    worker_files            the worker's own files, which both kinds start
"""

from autograder.sandbox.opening import answering, look_at_gpu, open_provider, permitted, sweep
from autograder.sandbox.protocol import Ending, Limits, Provider, Sandbox, SandboxKind, Usage
from autograder.sandbox.reading import Reading, waited_here

__all__ = [
    "Ending",
    "Limits",
    "Provider",
    "Reading",
    "Sandbox",
    "SandboxKind",
    "Usage",
    "answering",
    "look_at_gpu",
    "open_provider",
    "permitted",
    "sweep",
    "waited_here",
]
