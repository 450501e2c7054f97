"""Trained "networks" that copy the pixel they should predict and so reach a loss of nearly zero."""

# %% train-bars-run
class Copy(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(20.0))

    def forward(self, x):
        return self.scale * (2 * x - 1)

make_bars_model = make_digits_model = Copy
bars_model = Copy()
bars_losses = [11.1, 8.0, 6.6, 6.55]

# %% train-digits-run
digits_model = Copy()
