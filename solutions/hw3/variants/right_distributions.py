"""Uses `torch.distributions` everywhere, with `Independent` laws and their own sampling."""

# %% theory-ppca-solution
from torch.distributions import LowRankMultivariateNormal


def ppca_posterior(x, W, mu, sigma):
    precision = torch.eye(W.shape[1], dtype=W.dtype) + W.T @ W / sigma**2
    law = MultivariateNormal(torch.zeros(W.shape[1], dtype=W.dtype), precision_matrix=precision)
    return (x - mu) @ W @ law.covariance_matrix / sigma**2, law.covariance_matrix


def ppca_log_prob(x, W, mu, sigma):
    return LowRankMultivariateNormal(mu, W, sigma**2 * torch.ones(len(W), dtype=W.dtype)).log_prob(x)

# %% em-solution
from torch.distributions import Categorical, MixtureSameFamily


def gmm_log_prob(x, weights, means, covs):
    return MixtureSameFamily(Categorical(weights), MultivariateNormal(means, covs)).log_prob(x)

def e_step(x, weights, means, covs):
    log_joint = Categorical(weights).logits + MultivariateNormal(means, covs).log_prob(x.unsqueeze(1))
    return torch.exp(log_joint - torch.logsumexp(log_joint, 1, keepdim=True))

def m_step(x, resp, shared=False):
    weights = resp.mean(0)
    means = torch.stack([(r[:, None] * x).sum(0) / r.sum() for r in resp.T])
    covs = torch.stack([torch.cov(x.T, aweights=r, correction=0).reshape(x.shape[1], x.shape[1]) for r in resp.T])
    if shared:
        covs = (weights[:, None, None] * covs).sum(0).expand(covs.shape).contiguous()
    return weights, means, covs

def fit_gmm(x, weights, means, covs, n_steps):
    history = []
    for step in range(n_steps + 1):
        history.append(float(gmm_log_prob(x, weights, means, covs).mean()))
        if step < n_steps:
            weights, means, covs = m_step(x, e_step(x, weights, means, covs))
    return weights, means, covs, history

# %% gaussians-solution
def _normal(mean, log_std):
    return Normal(torch.as_tensor(mean), torch.as_tensor(log_std).exp(), validate_args=False)

def normal_kl(mean_1, log_std_1, mean_2=0.0, log_std_2=0.0):
    return kl_divergence(_normal(mean_1, log_std_1), _normal(mean_2, log_std_2))

def normal_nll(x, mean, log_std):
    return -_normal(mean, log_std).log_prob(x)

def reparametrise(mean, log_std):
    return _normal(mean, log_std).rsample()

# %% elbo-solution
from torch.distributions import Bernoulli, Independent


def _posterior(x, encoder):
    mean, log_std = encoder(x)
    return Independent(Normal(mean, log_std.exp()), 1), Independent(Normal(0 * mean, torch.ones_like(mean)), 1)

def elbo(x, encoder, log_likelihood):
    q, p = _posterior(x, encoder)
    z = q.rsample()
    return log_likelihood(x, z) + p.log_prob(z) - q.log_prob(z)

def vae_loss(x, encoder, log_likelihood, beta=1.0):
    q, p = _posterior(x, encoder)
    terms = {"reconstruction": log_likelihood(x, q.rsample()).mean(), "kl": kl_divergence(q, p).mean()}
    terms["loss"] = beta * terms["kl"] - terms["reconstruction"]
    return terms

def bernoulli_log_likelihood(logits, x):
    return Independent(Bernoulli(logits=logits, validate_args=False), x.dim() - 1).log_prob(x)

# %% vamp-solution
def vamp_log_prob(z, encoder, pseudo_inputs):
    mean, log_std = encoder(pseudo_inputs)
    parts = Independent(Normal(mean, log_std.exp()), 1)
    return MixtureSameFamily(Categorical(torch.ones(len(mean), dtype=mean.dtype)), parts).log_prob(z)

def vamp_sample(n, encoder, pseudo_inputs):
    mean, log_std = encoder(pseudo_inputs)
    parts = Independent(Normal(mean, log_std.exp()), 1)
    return MixtureSameFamily(Categorical(torch.ones(len(mean), dtype=mean.dtype)), parts).sample((n,))

# %% gumbel-solution
def gumbel_softmax(logits, tau, hard=False, u=None):
    standard = torch.distributions.Gumbel(torch.zeros_like(logits), torch.ones_like(logits))
    g = standard.sample() if u is None else standard.icdf(u)
    soft = torch.softmax((logits + g) / tau, dim=-1)
    if not hard:
        return soft
    one_hot = torch.zeros_like(soft).scatter(-1, soft.argmax(-1, keepdim=True), 1.0)
    return one_hot - soft.detach() + soft
