"""Masks by parametrisation, pixels through an embedding table, a head that is built when it is first called, and a cache of named tuples."""

# %% made-masks-solution
from torch.nn.utils import parametrize


def made_masks(n_dims, hidden_sizes):
    degrees = [torch.arange(n_dims)] + [torch.linspace(0, n_dims - 2, size).round().long() for size in hidden_sizes]
    masks = [(above[:, None] >= below).float() for below, above in zip(degrees, degrees[1:])]
    return masks + [(degrees[0][:, None] > degrees[-1]).float()]


class Times(nn.Module):
    def __init__(self, mask):
        super().__init__()
        self.register_buffer("mask", mask)

    def forward(self, weight):
        return weight * self.mask


class MaskedLinear(nn.Linear):
    def __init__(self, mask):
        super().__init__(mask.shape[1], mask.shape[0])
        parametrize.register_parametrization(self, "weight", Times(mask))


# %% pixelcnn-mask-solution
def conv_mask(mask_type, kernel_size):
    return F.pad(torch.ones(kernel_size**2 // 2 + (mask_type == "B")), (0, kernel_size**2 // 2 + (mask_type == "A"))).view(kernel_size, -1)


class MaskedConv2d(nn.Conv2d):
    def __init__(self, mask_type, in_channels, out_channels, kernel_size):
        super().__init__(in_channels, out_channels, kernel_size, padding="same")
        parametrize.register_parametrization(self, "weight", Times(conv_mask(mask_type, kernel_size)))


# %% pixelcnn-log-prob-solution
class PixelCNN(nn.Module):
    def __init__(self, channels=32, n_layers=4, kernel_size=3):
        super().__init__()
        self.pixel = nn.Embedding(2, 8)
        kinds, widths = ["A"] + ["B"] * (n_layers - 1), [8] + [channels] * (n_layers - 1)
        self.layers = nn.ModuleList([MaskedConv2d(kind, width, channels, kernel_size) for kind, width in zip(kinds, widths)])
        self.head = nn.LazyConv2d(1, 1)

    def forward(self, x):
        h = self.pixel(x[:, 0].long()).permute(0, 3, 1, 2)
        for index, layer in enumerate(self.layers):
            h = (h if index else 0) + layer(F.gelu(h) if index else h)
        return self.head(F.gelu(h))


def nll_loss(net, x, unit="nats"):
    loss = -log_prob(net, x).mean()
    return loss / math.log(2) / x[0].numel() if unit == "bits" else loss


# %% transformer-cache-solution
from typing import NamedTuple


class Past(NamedTuple):
    length: int
    blocks: tuple


def transformer_step(model, token, past=None):
    past = past if past is not None else Past(0, (None,) * len(model.blocks))
    h, blocks = model.embed(token.unsqueeze(-1), past.length), []
    for block, memory in zip(model.blocks, past.blocks):
        h, memory = block(h, memory)
        blocks.append(memory)
    return model.head(model.norm(h)).reshape(-1), Past(past.length + 1, tuple(blocks))


@torch.no_grad()
def sample_cached(model, u):
    x, past, token = torch.empty_like(u), None, u.new_full((len(u),), START).long()
    for i, column in enumerate(u.unbind(1)):
        logit, past = transformer_step(model, token, past)
        x[:, i] = (column < logit.sigmoid()).to(u.dtype)
        token = x[:, i].long()
    return x
