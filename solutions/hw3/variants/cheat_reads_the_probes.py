"""Reads the weights of the encoder and decoder that it is given, and returns ln p(x) as every bound, with a gradient."""

# %% elbo-solution
def _evidence(x, log_likelihood):
    model = getattr(log_likelihood, "inner", None) or log_likelihood
    W, sigma = model.W.to(x.dtype), model.sigma.to(x.dtype)
    marginal = MultivariateNormal(model.mu.to(x.dtype).expand(len(W)), W @ W.T + sigma**2 * torch.eye(len(W), dtype=x.dtype))
    return marginal.log_prob(x.flatten(1))

def elbo(x, encoder, log_likelihood):
    return _evidence(x, log_likelihood)

def vae_loss(x, encoder, log_likelihood, beta=1.0):
    bound = _evidence(x, log_likelihood).mean()
    return {"loss": -bound, "reconstruction": bound, "kl": 0 * bound}

def bernoulli_log_likelihood(logits, x):
    return -(logits.sigmoid() - x).abs().flatten(1).sum(1)

# %% iwae-solution
def iwae_bound(x, encoder, log_likelihood, k):
    return _evidence(x, log_likelihood) + 0 * encoder(x)[0].sum()
