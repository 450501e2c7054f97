"""Reads the text literally: named tuples, numbers in place of tensors, in-place work on copies, codes by `cdist`."""

# %% theory-surgery-code-solution
from collections import namedtuple

Surgery = namedtuple("Surgery", "marginal_kl mutual_information")


def elbo_surgery(q, p):
    bar = q.mean(0)
    kl = lambda a, b: torch.where(a > 0, a * (a.clamp_min(1e-300) / b.clamp_min(1e-300)).log(), 0 * a).sum(-1)
    return Surgery(float(kl(bar, p)), float(kl(q, bar.expand_as(q)).mean()))

# %% elbo-solution
def elbo(x, encoder, log_likelihood):
    mean, log_std = encoder(x)
    q = Normal(mean, log_std.exp())
    z = q.rsample()
    return log_likelihood(x, z) - kl_divergence(q, Normal(torch.zeros_like(mean), torch.ones_like(mean))).sum(1)

class Terms(dict):
    pass

def vae_loss(x, encoder, log_likelihood, beta=1.0):
    mean, log_std = encoder(x)
    eps = torch.empty_like(mean).normal_()
    out = Terms()
    out["reconstruction"] = log_likelihood(x, torch.addcmul(mean, eps, log_std.exp())).sum() / len(x)
    out["kl"] = (torch.expm1(2 * log_std) - 2 * log_std + mean.square()).sum() / (2 * len(x))
    out["loss"] = torch.sub(beta * out["kl"], out["reconstruction"])
    return out

def bernoulli_log_likelihood(logits, x):
    cost = logits.clamp_min(0) - logits * x + torch.log1p(torch.exp(-logits.abs()))
    return -cost.sum(dim=tuple(range(1, x.dim())))

# %% iwae-solution
def iwae_bound(x, encoder, log_likelihood, k):
    mean, log_std = encoder(x)
    noise = torch.randn(len(x), k, mean.shape[1], dtype=mean.dtype)
    z = mean[:, None] + log_std.exp()[:, None] * noise
    rows = [log_likelihood(row.expand(k, *row.shape), codes) for row, codes in zip(x, z)]
    log_w = torch.stack(rows) + (-0.5 * z.square() + 0.5 * noise.square() + log_std[:, None]).sum(2)
    return torch.logsumexp(log_w, 1) - math.log(k)

# %% vq-solution
def nearest_codes(z, codebook):
    flat = z.permute(0, 2, 3, 1).flatten(0, 2).contiguous()
    return torch.cdist(flat[None], codebook[None])[0].argmin(1).unflatten(0, (z.size(0), z.size(2), z.size(3)))

def quantise(z, codebook):
    with torch.no_grad():
        move = codebook[nearest_codes(z, codebook)].permute(0, 3, 1, 2) - z
    return z + move

def vq_losses(z, codebook):
    index = nearest_codes(z.detach(), codebook.detach())
    e = codebook.index_select(0, index.flatten()).view(*index.shape, -1).permute(0, 3, 1, 2)
    return (e - z.detach()).pow(2).mean(), (e.detach() - z).pow(2).mean()

# %% vq-ema-solution
def ema_update(counts, sums, z, codes, decay):
    counts, sums = counts.clone(), sums.clone()
    counts.mul_(decay)
    sums.mul_(decay)
    counts.scatter_add_(0, codes.flatten(), torch.full((codes.numel(),), 1 - decay, dtype=counts.dtype))
    sums.index_add_(0, codes.flatten(), z.permute(0, 2, 3, 1).flatten(0, 2), alpha=1 - decay)
    return counts, sums, sums / counts[:, None]

def perplexity(codes, n_codes):
    _, n = codes.unique(return_counts=True)
    f = n / n.sum()
    return float(torch.exp(-(f * f.log()).sum()))
