"""A convolutional VAE with batch normalisation and free bits."""

# %% train-vae-solution
class VAE(nn.Module):
    def __init__(self, encoder, decoder):
        super().__init__()
        self.encoder, self.decoder = encoder, decoder

def make_vae():
    return VAE(make_encoder(), make_decoder())

class ConvEncoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 24, 3, padding=1), nn.BatchNorm2d(24), nn.SiLU(),
            nn.Conv2d(24, 48, 3, stride=2, padding=1), nn.BatchNorm2d(48), nn.SiLU(),
            nn.Flatten(), nn.Linear(48 * 16, 128), nn.BatchNorm1d(128), nn.SiLU(), nn.Linear(128, 24),
        )

    def forward(self, x):
        h = self.body(x)
        return h[:, :12], h[:, 12:]

def make_encoder():
    return ConvEncoder()

def make_decoder():
    return nn.Sequential(
        nn.Linear(12, 128), nn.SiLU(), nn.Linear(128, 48 * 16), nn.SiLU(), nn.Unflatten(1, (48, 4, 4)),
        nn.ConvTranspose2d(48, 24, 4, stride=2, padding=1), nn.SiLU(), nn.Conv2d(24, 1, 3, padding=1),
    )

def fit_vae(images):
    encoder, decoder = make_encoder(), make_decoder()
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=2500)
    history = []
    for step in range(2500):
        x = images[torch.randint(len(images), (100,))]
        mean, log_std = encoder(x)
        z = mean + log_std.exp() * torch.randn_like(mean)
        fit = -F.binary_cross_entropy_with_logits(decoder(z), x, reduction="none").sum((1, 2, 3)).mean()
        kl = (0.5 * (mean**2 + (2 * log_std).exp() - 1) - log_std).mean(0).clamp_min(0.05).sum()
        optimizer.zero_grad()
        (kl - fit).backward()
        optimizer.step()
        schedule.step()
        history.append(float(kl - fit))
    return encoder.eval(), decoder.eval(), history
