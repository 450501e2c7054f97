"""Trains the transformer on the bars instead of a PixelCNN, and a wider, shallower PixelCNN on the digits."""

# %% train-bars-solution
class OnImages(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        return self.model(x.flatten(1)).view_as(x)


def make_bars_model():
    """A new, untrained network for 4 x 4 bars."""
    return OnImages(ImageTransformer(16))


def fit(net, images, steps, batch_size, lr):
    """Train net in place by minimising nll_loss on random batches of images (N, 1, H, W).

    Returns the list of losses, one number (nats per image) for each step.
    """
    optimizer = torch.optim.Adam(net.parameters(), lr=lr)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=lr, total_steps=steps)
    losses = []
    for _ in range(steps):
        batch = images[torch.randint(len(images), (batch_size,))]
        loss = nll_loss(net, batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    return losses

# %% train-bars-run
bars_model = make_bars_model()
bars_losses = fit(bars_model, own_bars, steps=800, batch_size=64, lr=1e-2)

# %% train-digits-solution
def make_digits_model():
    """A new, untrained network for 8 x 8 digits."""
    return PixelCNN(channels=32, n_layers=2, kernel_size=7)
