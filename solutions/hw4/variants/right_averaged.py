"""A generator that answers with a running average of its weights, as classes; RMSprop for the critic, the critic three times."""

# %% train-ring-answer
class Net(nn.Module):
    def __init__(self, inputs, outputs, width=128):
        super().__init__()
        self.one, self.two, self.three = nn.Linear(inputs, width), nn.Linear(width, width), nn.Linear(width, width)
        self.out = nn.Linear(width, outputs)

    def forward(self, x):
        h = F.relu(self.one(x))
        h = F.relu(self.two(h))
        return self.out(F.relu(self.three(h)))

class Averaged(nn.Module):
    def __init__(self):
        super().__init__()
        self.noise_dim = 8
        self.live, self.mean = Net(8, 2), Net(8, 2)
        self.mean.load_state_dict(self.live.state_dict())
        self.mean.requires_grad_(False)

    def forward(self, z):
        return self.live(z) if self.training else self.mean(z)

    def update(self, rate=0.99):
        with torch.no_grad():
            for slow, fast in zip(self.mean.parameters(), self.live.parameters()):
                slow.lerp_(fast, 1 - rate)

class Critic(Net):
    def forward(self, x):
        return super().forward(x).squeeze(-1)

def make_generator():
    return Averaged()

def make_critic():
    return Critic(2, 1)

def fit_wgan_gp(generator, critic, data, steps, watch=None):
    generator.train()
    adam = dict(betas=(0.0, 0.9))
    g_opt, c_opt = torch.optim.Adam(generator.live.parameters(), 1e-3, **adam), torch.optim.Adam(critic.parameters(), 1e-3, **adam)
    losses = []
    for step in range(steps):
        if watch is not None:
            watch(step)
        for group in (*g_opt.param_groups, *c_opt.param_groups):
            group["lr"] = 1e-3 * (1 - step / steps)
        for _ in range(3):
            batch = data[torch.randperm(len(data))[:128]]
            value = critic_step(generator, critic, c_opt, batch, torch.randn(128, 8), 1.0)
        losses.append(float(value))
        g_opt.zero_grad()
        critic_losses(critic(batch), critic(generator(torch.randn(128, 8))))[1].backward()
        g_opt.step()
        generator.update()
    generator.eval()
    if watch is not None:
        watch(steps)
    return losses

# %% train-ring-run
ring_generator, ring_critic = make_generator(), make_critic()
ring_snapshots = Snapshots(ring_generator)
ring_losses = fit_wgan_gp(ring_generator, ring_critic, ring_train, 2000, ring_snapshots)
