"""What every model of this half promises: the protocol, honest randomness, inputs and training flags left alone."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from reference_models.latent.beta_vae import BetaVAE
from reference_models.latent.dip_vae import DIPVAE
from reference_models.latent.gaussian_mixture import MixtureOfGaussians, spread_start
from reference_models.latent.hierarchical_vae import HierarchicalVAE, Scale
from reference_models.latent.iwae import IWAE
from reference_models.latent.posterior_collapse import GuardedVAE
from reference_models.latent.ppca import PPCA
from reference_models.latent.vae import mlp_vae
from reference_models.latent.vqvae import VQVAE
from reference_models.latent.vqvae2 import VQVAE2
from reference_models.protocols import LatentVariableModel
from tests.reference_models.helpers import close, perturb

SHAPE = (1, 4, 4)
MODELS: dict[str, Callable[[], nn.Module]] = {
    "gaussian-mixture": lambda: MixtureOfGaussians(spread_start(torch.randn(20, 3), 2)),
    "ppca": lambda: PPCA(torch.randn(3, 2), torch.randn(3), 0.5),
    "vae": lambda: mlp_vae(SHAPE, 2, (5,)),
    "iwae": lambda: IWAE.mlp(SHAPE, 3),
    "beta-vae": lambda: BetaVAE.mlp(SHAPE, 2),
    "dip-vae": lambda: DIPVAE.mlp(SHAPE, 2),
    "posterior-collapse": lambda: GuardedVAE(SHAPE, 3, latent_dim=2, hidden=(5,)),
    "hierarchical-vae": lambda: HierarchicalVAE(SHAPE, [Scale(1, 1, 2), Scale(2, 1, 1)], width=2),
    "vq-vae": lambda: VQVAE.conv(SHAPE, 4, 2, hidden=4, halvings=1, prior_hidden=4),
    "vq-vae-2": lambda: VQVAE2(SHAPE, 4, 2, hidden=4, inner=4),
}


@pytest.mark.parametrize("name", MODELS)
def test_keeps_the_promises_of_a_latent_variable_model(name: str, generator: torch.Generator) -> None:
    """elbo = reconstruction − kl, finite, the same for the same generator state and not for another where anything is
    drawn; x and the global random state unchanged; samples of its shape, repeatable, without graph."""
    model = perturb(MODELS[name](), 0.1).train()
    assert isinstance(model, LatentVariableModel)
    x = torch.randn(5, 3) if name in ("gaussian-mixture", "ppca") else (torch.rand(5, *SHAPE) < 0.5).double()
    kept, state = x.clone(), torch.get_rng_state()
    bound = model.elbo(x, generator=generator)
    assert close(bound.value, bound.reconstruction - bound.kl)
    assert bool(bound.value.isfinite().all())
    other = model.elbo(x, generator=generator).value
    drawn = name not in ("gaussian-mixture", "ppca", "vq-vae", "vq-vae-2")
    assert close(other, bound.value, 0.0) is not drawn
    assert close(model.elbo(x, generator=generator.manual_seed(0)).value, bound.value, 0.0)
    first = model.sample(4, generator=generator.manual_seed(0))
    assert first.shape == (4, *x.shape[1:])
    assert not first.requires_grad
    assert close(model.sample(4, generator=generator.manual_seed(0)), first, 0.0)
    assert all(part.training for part in model.modules())
    assert torch.equal(state, torch.get_rng_state())
    assert torch.equal(kept, x)
