"""One class holds all tables of a schedule; every function of part 2 asks it. `vmap`, a double backward."""

# %% schedule-solution
class Schedule:
    def __init__(self, betas):
        self.betas = betas
        self.kept = torch.cat([betas.new_ones(1), torch.cumprod(1 - betas, 0)])

    def of(self, table, t, x):
        return table[t].to(x.dtype).reshape(t.shape + (1,) * (x.dim() - 1))

    def signal(self, t, x):
        return self.of(self.kept.sqrt(), t + 1, x)

    def spread(self, t, x):
        return self.of((1 - self.kept).sqrt(), t + 1, x)

    def posterior(self, t, x):
        now, before, beta = self.kept[1:], self.kept[:-1], self.betas
        tables = before.sqrt() * beta / (1 - now), (1 - beta).sqrt() * (1 - before) / (1 - now), beta * (1 - before) / (1 - now)
        return [self.of(table, t, x) for table in tables]


def abar_at(betas, t, x):
    schedule = Schedule(betas)
    return schedule.of(schedule.kept, t + 1, x)


def cosine_betas(n, s=0.008, largest=0.999):
    u = torch.linspace(0, 1, n + 1, dtype=torch.float64)
    f = (1 + torch.cos(math.pi * (u + s) / (1 + s))) / 2
    return torch.minimum(1 - f[1:] / f[:-1], torch.tensor(largest, dtype=torch.float64))


def q_sample(x_0, t, betas, noise):
    schedule = Schedule(betas)
    return torch.addcmul(schedule.signal(t, x_0) * x_0, schedule.spread(t, x_0), noise)

# %% ddpm-reverse-solution
def reverse_mean_variance(x_t, t, noise, betas):
    schedule = Schedule(betas)
    clean = (x_t - schedule.spread(t, x_t) * noise) / schedule.signal(t, x_t)
    of_clean, of_noisy, variance = schedule.posterior(t, x_t)
    return of_clean * clean + of_noisy * x_t, variance

# %% ddpm-sample-solution
@torch.no_grad()
def ddpm_sample(model, x_T, betas):
    x = x_T
    for t in torch.arange(len(betas)).flip(0):
        index = t.repeat(len(x))
        mean, variance = reverse_mean_variance(x, index, model(x, index), betas)
        x = torch.normal(mean, variance.sqrt().expand_as(mean))
    return x

# %% dsm-solution
def dsm_loss(score, x, sigma, noise):
    target = -noise / sigma
    return F.mse_loss(score(x + sigma * noise), target, reduction="sum") / len(x)


def sliced_loss(score, x, v):
    def along(row, direction):
        return (score(row.unsqueeze(0)).squeeze(0) * direction).sum()

    slopes, values = torch.func.vmap(torch.func.grad_and_value(along))(x, v)
    return ((slopes * v).reshape(len(x), -1).sum(1) + values**2 / 2).mean()
