"""Eight latent dimensions, ReLU, KL annealing, a learning rate that stays, and noise with a small constant against zero."""

# %% gumbel-solution
def gumbel_softmax(logits, tau, hard=False, u=None):
    if u is None:
        u = torch.rand(logits.shape, dtype=torch.float32)
    u = u.to(logits.dtype).clamp(1e-10, 1 - 1e-7)
    y = torch.softmax((logits - torch.log(-torch.log(u + 1e-10) + 1e-10)) / tau, 1)
    if hard:
        index = y.max(1).indices
        return torch.eye(y.shape[1], dtype=y.dtype)[index] + y - y.detach()
    return y

# %% train-vae-solution
class VAE(nn.Module):
    def __init__(self, encoder, decoder):
        super().__init__()
        self.encoder, self.decoder = encoder, decoder

def make_vae():
    return VAE(make_encoder(), make_decoder())

class Split(nn.Module):
    def forward(self, h):
        return h[:, :8], h[:, 8:]

def make_encoder():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 16), Split())

def make_decoder():
    return nn.Sequential(nn.Linear(8, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 64), nn.Unflatten(1, (1, 8, 8)))

def fit_vae(images):
    encoder, decoder = make_encoder(), make_decoder()
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=1e-3)
    history = []
    for step in range(5000):
        x = images[torch.randperm(len(images))[:128]]
        likelihood = lambda x, z: bernoulli_log_likelihood(decoder(z), x)
        loss = vae_loss(x, encoder, likelihood, beta=min(1.0, 0.1 + step / 1000))["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(float(loss))
        if step == 4000:
            optimizer.param_groups[0]["lr"] = 3e-4
    return encoder.eval(), decoder.eval(), history
