"""Named tuples and lists for pairs, optional arguments, keyword calls, numbers in the place of tensors."""

# %% theory-discriminator-answer
from collections import namedtuple

Game = namedtuple("Game", "d value")

def optimal_discriminator(p, q, prior=0.5):
    safe = lambda x: torch.where(x > 0, x, torch.ones_like(x))
    m = prior * p + (1 - prior) * q
    value = prior * (p * (safe(prior * p) / m).log()).sum() + (1 - prior) * (q * (safe((1 - prior) * q) / m).log()).sum()
    return Game(prior * p / m, value)

# %% gan-steps-answer
def _descend(optimizer, loss):
    optimizer.zero_grad(set_to_none=False)
    loss.backward()
    optimizer.step()
    return loss.item()

def discriminator_step(generator, discriminator, optimizer, real, noise):
    fake = generator(noise).detach()
    return _descend(optimizer, F.softplus(-discriminator(real)).mean() + F.softplus(discriminator(fake)).mean())

def generator_step(generator, discriminator, optimizer, noise, kind="non-saturating"):
    return _descend(optimizer, generator_loss(discriminator(generator(noise)), kind=kind))

# %% critic-answer
Losses = namedtuple("Losses", ["critic", "generator"])

def critic_losses(real_scores, fake_scores):
    return Losses(fake_scores.mean() - real_scores.mean(), fake_scores.mean().neg())

def clip_parameters(critic, c):
    for p in critic.parameters():
        p.data = p.data.clamp(-c, c)

def wasserstein_1d(x, y):
    points = sorted(x.tolist() + y.tolist())
    total = 0.0
    for a, b in zip(points, points[1:]):
        total += (b - a) * abs((x <= a).double().mean().item() - (y <= a).double().mean().item())
    return total

# %% frechet-answer
Statistics = namedtuple("Statistics", "mean cov")

def feature_statistics(features):
    deviations = features - features.mean(dim=0, keepdim=True)
    outer = torch.einsum("ni,nj->ij", deviations, deviations)
    return Statistics(features.mean(0), outer / (features.shape[0] - 1))

def frechet_distance(mean_1, cov_1, mean_2, cov_2):
    eigenvalues = torch.linalg.eigvals(cov_1 @ cov_2)
    return ((mean_1 - mean_2).square().sum() + (cov_1 + cov_2).trace() - 2 * eigenvalues.sqrt().sum().real).item()

# %% precision-recall-answer
def precision_recall(real, fake, k=3):
    def share(points, centres):
        radius = torch.stack([(centres - c).norm(dim=1).sort().values[k] for c in centres])
        return torch.stack([((centres - p).norm(dim=1) <= radius).any() for p in points]).double().mean().item()
    return [share(points=fake, centres=real), share(points=real, centres=fake)]

# %% train-ring-metrics-answer
def evaluate_ring(real, fake, centres, sigma, k=5):
    precision, recall = precision_recall(real, fake, k)
    near = (fake[:, None] - centres).square().sum(2) <= (3 * sigma) ** 2
    modes = (near.double().mean(0) >= 0.02).sum()
    distance = frechet_distance(*feature_statistics(real), *feature_statistics(fake))
    return {"precision": precision, "recall": recall, "modes": modes, "frechet": distance}
