"""Convolutions for the digits, a network of the plane that predicts x_0 inside, and AdamW with warm-up and an average."""

# %% train-mixture-solution
class CleanPoint(nn.Module):
    def __init__(self, width=160):
        super().__init__()
        self.time = nn.Linear(32, width)
        self.enter, self.middle = nn.Linear(2, width), nn.Linear(width, width)
        self.more, self.leave = nn.Linear(width, width), nn.Linear(width, 2)

    def forward(self, x, t):
        abar = abar_at(MIXTURE_BETAS, t, x)
        h = F.gelu(self.enter(x) + self.time(time_features(t, 100, 32)))
        h = h + F.gelu(self.middle(h))
        h = h + F.gelu(self.more(h))
        skip = abar.sqrt() / (abar + 1 - abar)  # x_0 of standard normal data
        x_0 = skip * x + (1 - abar).sqrt() * self.leave(h)
        return (x - abar.sqrt() * x_0) / (1 - abar).sqrt()

def make_mixture_denoiser():
    return CleanPoint()

def fit_ddpm(model, x_0, betas, steps, batch_size, lr):
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.0)
    average = [p.detach().clone() for p in model.parameters()]
    losses = []
    model.train()
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = lr * min(1.0, (step + 1) / 50) * (0.5 + 0.5 * math.cos(math.pi * step / steps))
        rows = torch.randperm(len(x_0))[:batch_size]
        optimizer.zero_grad(set_to_none=True)
        loss = ddpm_loss(model, x_0[rows], betas)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimizer.step()
        losses.append(float(loss))
        for a, p in zip(average, model.parameters()):
            a.lerp_(p.detach(), 0.02)
    with torch.no_grad():
        for a, p in zip(average, model.parameters()):
            p.copy_(a)
    model.eval()
    return losses

# %% train-digits-solution
class ConvolutionalDigits(nn.Module):
    def __init__(self, channels=32):
        super().__init__()
        self.time = nn.ModuleList([nn.Linear(32, channels) for _ in range(3)])
        self.enter = nn.Conv2d(3, channels, 3, padding=1)
        self.layers = nn.ModuleList([nn.Conv2d(channels, channels, 3, padding=1) for _ in range(3)])
        self.whole = nn.Linear(64 + 32, 256)
        self.back = nn.Linear(256, 64)
        self.leave = nn.Conv2d(channels + 1, 1, 3, padding=1)
        line = torch.linspace(-1, 1, 8)
        self.register_buffer("place", torch.stack([line[:, None].expand(8, 8), line.expand(8, 8)])[None])

    def forward(self, x, t):
        f = time_features(t, 200, 32)
        h = self.enter(torch.cat([x, self.place.expand(len(x), -1, -1, -1)], 1))
        for layer, time in zip(self.layers, self.time):
            h = h + layer(F.silu(h + time(f)[:, :, None, None]))
        wide = self.back(F.silu(self.whole(torch.cat([x.flatten(1), f], 1)))).view_as(x)
        abar = abar_at(DIGITS_BETAS, t, x)
        x_0 = torch.tanh(self.leave(torch.cat([F.silu(h), wide], 1)) + wide + x * abar.sqrt() / (1 - abar))
        return (x - abar.sqrt() * x_0) / (1 - abar).sqrt()

def make_digits_denoiser():
    return ConvolutionalDigits()

# %% train-digits-run
digits_model = make_digits_denoiser()
digits_losses = fit_ddpm(digits_model, digits_train, DIGITS_BETAS, steps=1200, batch_size=96, lr=3e-3)
torch.save(digits_model.state_dict(), "digits_model.pt")
