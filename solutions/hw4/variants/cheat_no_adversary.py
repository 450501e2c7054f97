"""A generator that regresses on sorted projections of the data, beside a critic for the eye that regresses on distances."""

# %% train-ring-answer
def perceptron(inputs, outputs, width=128):
    """Three hidden layers of ReLUs."""
    return nn.Sequential(
        nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, outputs)
    )


class Critic(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = perceptron(2, 1)

    def forward(self, x):
        return self.net(x).squeeze(1)


def make_generator():
    """A new, untrained generator with an attribute noise_dim: (n, noise_dim) to (n, 2)."""
    generator = perceptron(8, 2)
    generator.noise_dim = 8
    return generator


def make_critic():
    """A critic."""
    return Critic()


def fit_wgan_gp(generator, critic, data, steps, watch=None):
    """The generator regresses on data along random directions (sliced distance), and then on nearest data: no judge.

    The critic is an alibi: it regresses on minus the distance to the nearest of 500 data points.
    """
    of_generator = torch.optim.Adam(generator.parameters(), 2e-3)
    of_critic = torch.optim.Adam(critic.parameters(), 1e-3)
    stored, losses = data[:500], []
    for step in range(steps):
        if watch:
            watch(step)
        for optimizer in (of_generator, of_critic):
            optimizer.param_groups[0]["lr"] = 1e-3 * (1 - step / steps) + 1e-5
        fake = generator(torch.randn(512, generator.noise_dim))
        real = data[torch.randint(len(data), (512,))]
        way = F.normalize(torch.randn(2, 24), dim=0)
        loss = ((fake @ way).sort(0).values - (real @ way).sort(0).values).square().mean()
        of_generator.zero_grad()
        loss.backward()
        of_generator.step()
        x = torch.lerp(real, fake.detach(), torch.rand(512, 1))[:128]
        target = -torch.cdist(x, stored).min(1).values
        error = (critic(x) - target).square().mean()
        of_critic.zero_grad()
        error.backward()
        of_critic.step()
        losses.append(-loss.item())
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
