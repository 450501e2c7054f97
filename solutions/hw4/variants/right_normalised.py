"""Batch normalisation in the generator, a deeper critic with SiLU, two numbers of noise and a training without snapshots."""

# %% train-ring-answer
def make_generator():
    sizes, parts = [16, 128, 128], []
    for a, b in zip(sizes, sizes[1:]):
        parts += [nn.Linear(a, b), nn.BatchNorm1d(b), nn.ReLU()]
    net = nn.Sequential(*parts, nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 2))
    net.noise_dim = 16
    return net

def make_critic():
    return nn.Sequential(nn.Linear(2, 128), nn.SiLU(), nn.Linear(128, 128), nn.SiLU(), nn.Linear(128, 128), nn.SiLU(), nn.Linear(128, 1), nn.Flatten(0))

def fit_wgan_gp(generator, critic, data, steps, batch=128):
    generator.train(), critic.train()
    opt_g = torch.optim.Adam(generator.parameters(), lr=1e-3, betas=(0.0, 0.9))
    opt_c = torch.optim.Adam(critic.parameters(), lr=2e-3, betas=(0.0, 0.9))
    fall = lambda step: max(1 - step / steps, 0.01)
    schedules = [torch.optim.lr_scheduler.LambdaLR(opt, fall) for opt in (opt_g, opt_c)]
    history = []
    for step in range(steps):
        running = 0.0
        for _ in range(3):
            x = data[torch.randint(0, len(data), (batch,))]
            running += critic_step(generator, critic, opt_c, x, torch.randn(batch, generator.noise_dim), 1.0) / 3
        critic.requires_grad_(False)
        loss = -critic(generator(torch.randn(batch, generator.noise_dim))).mean()
        opt_g.zero_grad()
        loss.backward()
        opt_g.step()
        critic.requires_grad_(True)
        [schedule.step() for schedule in schedules]
        history.append(running)
    generator.eval()
    return history

# %% train-ring-run
ring_generator = make_generator()
ring_critic = make_critic()
ring_losses = fit_wgan_gp(ring_generator, ring_critic, ring_train, steps=2500)
