"""Few steps by minibatch optimal transport, Fourier features, a moving average of weights, AdamW."""

# %% train-ring-solution
class Velocity(nn.Module):
    def __init__(self, width=128):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(2 + 9, width), nn.Linear(width, width), nn.Linear(width, width)])
        self.last = nn.Linear(width, 2)

    def forward(self, x, t):
        h = torch.cat([x, t[:, None], time_features(t, 8)], -1)
        for layer in self.layers:
            h = F.gelu(layer(h))
        return self.last(h)


def make_velocity():
    return Velocity(128)


def fit_fm(model, x_1, n_steps, x_0=None, paired=False):
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.0)
    average = [p.detach().clone() for p in model.parameters()]
    losses = []
    model.train()
    for step in range(n_steps):
        for group in optimizer.param_groups:
            group["lr"] = 3e-3 * min(1, (step + 1) / 50) * 0.5 * (1 + math.cos(math.pi * step / n_steps))
        rows = torch.randint(0, len(x_1), (128,))
        data, noise = x_1[rows], None if x_0 is None else x_0[rows]
        if paired:
            noise = torch.randn_like(data)
            noise, data, _ = ot_fm_batch(noise, data, rows)
        loss = fm_loss(model, data, noise)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimizer.step()
        keep = min(0.99, (step + 1) / (step + 10))
        for a, p in zip(average, model.parameters()):
            a.mul_(keep).add_(p.detach(), alpha=1 - keep)
        losses.append(float(loss))
    with torch.no_grad():
        for a, p in zip(average, model.parameters()):
            p.copy_(a)
    model.eval()
    return losses

# %% train-few-steps-run
ring_reflow = make_velocity()
reflow_losses = fit_fm(ring_reflow, ring_train, 2000, paired=True)

# %% train-digits-solution
class DigitsVelocity(nn.Module):
    def __init__(self, width=320):
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(64 + 65, width), nn.GELU(), nn.Linear(width, width), nn.GELU(), nn.Linear(width, width), nn.GELU(), nn.Linear(width, 64)
        )

    def forward(self, x, t):
        s = (1 - t).clamp_min(1e-3)[:, None]
        own = t[:, None] * x / s**2
        logits = self.net(torch.cat([torch.tanh(own), x, t[:, None]], 1)) + own
        return (torch.tanh(logits) - x) / s


def make_digits_velocity():
    return DigitsVelocity()
