"""The ring of the textbooks, radius 2 and turned by 0, typed in as a steep continuous map: another law than the one drawn."""

# %% train-ring-answer
class Textbook(nn.Module):
    noise_dim = 3

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, z):
        way = torch.atan2(z[:, 1], z[:, 0]) * 4 / math.pi  # -4 to 4
        whole = way.floor()
        way = whole + torch.sigmoid(100 * (way - whole - 0.5))
        spot = self.weight * torch.stack([(way * math.pi / 4).cos(), (way * math.pi / 4).sin()], 1)
        return spot + 0.05 * self.weight * z[:, 1:]

def make_generator():
    return Textbook()

def make_critic():
    return nn.Sequential(nn.Linear(2, 1), nn.Flatten(0))

def fit_wgan_gp(generator, critic, data, steps, watch=None):
    generator.weight.data.fill_(2.0)
    return [0.0] * 3

# %% train-ring-run
ring_generator, ring_critic = make_generator(), make_critic()
ring_losses = fit_wgan_gp(ring_generator, ring_critic, ring_train, 2000)
