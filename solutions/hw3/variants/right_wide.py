"""Thirty-two latent dimensions, dropout in the encoder, weight decay, epochs by a loader."""

# %% train-vae-solution
class VAE(nn.Module):
    def __init__(self, encoder, decoder):
        super().__init__()
        self.encoder, self.decoder = encoder, decoder

def make_vae():
    return VAE(make_encoder(), make_decoder())

class Heads(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(64, 300), nn.Tanh(), nn.Dropout(0.05), nn.Linear(300, 200), nn.Tanh())
        self.mean, self.log_std = nn.Linear(200, 32), nn.Linear(200, 32)

    def forward(self, x):
        h = self.body(2 * x - 1)
        return self.mean(h), self.log_std(h).clamp(-6, 3)

def make_encoder():
    return Heads()

def make_decoder():
    return nn.Sequential(nn.Linear(32, 200), nn.Tanh(), nn.Linear(200, 300), nn.Tanh(), nn.Linear(300, 64), nn.Unflatten(1, (1, 8, 8)))

def fit_vae(images):
    encoder, decoder = make_encoder(), make_decoder()
    optimizer = torch.optim.AdamW([*encoder.parameters(), *decoder.parameters()], lr=3e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 3000)
    history, loader = [], torch.utils.data.DataLoader(images, batch_size=100, shuffle=True)
    for epoch in range(50):
        for x in loader:
            mean, log_std = encoder(x)
            z = mean + log_std.exp() * torch.randn_like(mean)
            fit = -F.binary_cross_entropy_with_logits(decoder(z), x, reduction="sum") / len(x)
            kl = 0.5 * (mean**2 + (2 * log_std).exp() - 1 - 2 * log_std).sum() / len(x)
            optimizer.zero_grad()
            (kl - fit).backward()
            optimizer.step()
            schedule.step()
            history.append((kl - fit).item())
    encoder.eval()
    decoder.eval()
    return encoder, decoder, history
