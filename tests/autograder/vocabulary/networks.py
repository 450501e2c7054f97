"""Networks of two inputs and one output for tests of training: an honest one, and tables beside a live one."""

from __future__ import annotations

SOURCE = '''
import torch
from torch import nn

STORE = {}


class Live(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1))

    def remember(self, x, y):
        pass


class Table(nn.Module):
    """Answers as the nearest of stored points does, and as a live network where nothing is stored."""

    def __init__(self):
        super().__init__()
        self.live = Live()

    def remember(self, x, y):
        self.keep(x, y)

    def forward(self, x):
        stored = self.stored()
        if stored is None:
            return self.live(x)
        points, values = stored
        return values[torch.cdist(x, points).argmin(1)] + 0 * self.live(x)


class InAttribute(Table):
    pair = None

    def keep(self, x, y):
        self.pair = x, y

    def stored(self):
        return self.pair


class InGlobal(Table):
    def keep(self, x, y):
        STORE["pair"] = x, y

    def stored(self):
        return STORE.get("pair")


class InBuffers(Table):
    def __init__(self):
        super().__init__()
        self.register_buffer("points", torch.zeros(1024, 2))
        self.register_buffer("values", torch.zeros(1024, 1))

    def keep(self, x, y):
        self.points[: len(x)], self.values[: len(x)] = x[:1024], y[:1024]

    def stored(self):
        return (self.points, self.values) if self.points.abs().sum() > 0 else None


class Smooth(InBuffers):
    """A kernel over stored points, with a live network that has learned what is left over."""

    def forward(self, x):
        weights = (-torch.cdist(x, self.points).square() / 0.02).softmax(1)
        return 0.5 * weights @ self.values + self.live(x)


class InFrozen(InBuffers):
    """The table is parameters that no gradient reaches, of more numbers than the live network has."""

    def __init__(self):
        super().__init__()
        del self.points, self.values
        self.points = nn.Parameter(torch.zeros(1024, 2), requires_grad=False)
        self.values = nn.Parameter(torch.zeros(1024, 1), requires_grad=False)


def fit(net, x, y, steps=300, batch_size=64, lr=1e-2):
    """Train net in place; returns the losses."""
    getattr(net, "remember", lambda x, y: None)(x, y)
    optimizer = torch.optim.Adam([p for p in net.parameters() if p.requires_grad], lr=lr)
    losses = []
    for _ in range(steps):
        rows = torch.randint(len(x), (batch_size,))
        loss = ((net(x[rows]) - y[rows]) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def fit_nothing(net, x, y, **named):
    return []


def fit_a_copy(net, x, y, **named):
    import copy

    return fit(copy.deepcopy(net), x, y, **named)


def endless(net, x, y):
    while True:
        pass


def typed():
    """A network as if it had been trained before."""
    torch.manual_seed(5)
    net = Live()
    x = 4 * torch.rand(512, 2) - 2
    fit(net, x, (x @ torch.tensor([1.0, 0.5])).sin()[:, None], steps=400)
    return net
'''
