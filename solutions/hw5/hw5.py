# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Homework 5. Energies, scores and diffusion
#
# ![above, a digit that drowns in noise, from left to right; below, noise that a trained network turns into a digit](data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAi4AAAB8CAMAAAB5Tcs4AAAAYFBMVEX////+/v79/f339/fs7Ozl5eXb29vQ0NDJycm7u7utra2kpKSbm5uOjo6FhYV9fX1ycnJqampjY2NbW1tTU1NKSkpBQUE5OTkzMzMrKysgICAaGhoSEhIKCgoDAwMAAADY9qhxAAAHEElEQVR42u2dybLdNgwF5TijHdsZndn+/7/0Aq1Fv0Lx3XKqUlk0dleXIEGgtdARSV1XlmVZlv0P7OPYh7EXY2sTm/76Y+zlGG70Zbe/xuT989hXYy9l9v59TN5vx74Z+1L2zxgtfxmT96ux78a+lv09RssfxuRNw9dj347RFzmh5ZsxeZMnJkAk9PV+zFFu3oT1/RjDMFNaEte0p9B4/zj2RkY98Cax4RIu4RIu4RIu4RIu4RIu4RIu4WIWVk588YCLOcG4+MXYwRtO7E3BV2rk7elg1JGeD97U1hMgv/R88KZInoAJPHi/G2M0JkzJ6Hnz5h6g0gadLulk8+Ye+GmMWJkp3vC7eYdLuIRLuIRLuIRLuIRLuIRLuITL/RxOUa2VWIz5IBvv38YsmaxiDL+kuzBj54v+kQ7omV8MN95klBlbK2HiTgN6gpAgsTT8cwztg0rwi050K7hkREfPhEfPdCKmfx2jIVOkZ0bjl5QTDA2K2lJ+yym+d+RNORjG7d2XvcMlXMIlXMIlXMIlXMIlXMIlXMLFustBJLn836a70PPqbQlk010OQsVd3IPuQtK9ZAFvanXQXUgbMPslv0UMedMxld7uiLty8qZ/Ko0b8GiNxuV1DHON/lm5wC9uBdr7FpU3dwRhWYUhBO5bvJ2McAmXcAmXcAmXcAmXcAmXcAmXcHFiD2sVrs1hbbGW7GFv5rP+p9DXFmSbELyUgtwcvMmXC072iEvLAOxNCUgzF6FZipFbeEMAIXARmrWHQV3dxt0iaem+TaSqAJS9aWjBZfMOl3AJl3AJl3AJl3AJl3AJl3AJlydkWFvx4gZf3LzRXcg2+bUYs22KtwRCC6ZlMUbzsbc3k9PQksm2rR0jJ2gZVI5fDm/zpsT0T5q5SBOY2+4n8kT/KEybZLLeT/SFGxKWDwPYVi64mDCN9wO3e7iES7iES7iES7iES7iES7iES7jQBDKuzTYxhuF8upzd6JKWkjQYlLX823L3J5KJJAerIzq+7fKqCRIs9cLah0i6LJnAr86ms3qhvy5LJl7uvy21V1jXKnoIVY+2qjBMx/sh5i9taLhlKp+d8Fa2nk0XLuESLuESLuESLuESLuESLuESLjYf1fb8Ie82191P+M97u3K4bUKC3UDPb/C5uK2JWM+e9zJ8Xzx4ryIJbpZfDqqNvbkIWNst6hPy7Y0baGwn232md7iES7iES7iES7iES7iES7iES7hkWZZlWZZlWZZl9xtNn9zFM5Tfu/J8xYtKvdddvyXld6X0pcdk1jv7a1B+yvRnoPTa2ceXMRpB+nmaR0+9yqWrVQJYpQZ5H74vdXm1uI8S0ztlHtTt7QddmqgQq/zgT3V5cf22N9y2fvJ7nVy4hEu4hEu4hEu4hEu4hEu4hEu4MA759SFa/pyVszE/WLcthG4jpWZoO/jKb0fXDcpb6G7h5dLXRrN2d7tW6+Lsw9iGbfu+1PVw5Hh7FYCpkfe6+doheN6Ht+EvNguXcAmXcAmXcAmXcAmXcAmXcAmXEy7UD9EDmcMritdtuGPs76UTVjNTCSZC+beUemW0Pwrlr0FxUXt5TyqB5RpuCXkbVRPrE86IXNqHYcPY10zdPW8dI76GzKBkjQnQiU4MX9fK6zCzy4LL88vpwyVcwiVcwiVcwiVcwiVcwiVcwuVxXCi4ArqPm4ITJkIutQTB+oPXKqyUbaFbcMEoCGNbqRhvqsM6BrJHmvnPm6M3b5Ys2M3EbjugiYfpkxI48dnX/uqz5k10OofsNt95W9YIi9FOu9o32D5XdwmXcAmXcAmXcAmXcAmXcAmXcAkXUsOohM4vnzi9um+L5bePH6+4XKocSUfDQfrxZgGfIC04r41AL9jXanwq7UOsmSlaiU8Z09h05aPCXTKjKtnJ8VgyYRimDy5aIII3ogqD0gmFM2W6b8MlXMIlXMIlXMIlXMIlXMIlXMLlX+JCzEwOGWL9GtTmTnsCInSmCgUkisxKZNBXnS7vFSAgskdfGhskLFsQuQ8O387FxpvoyLYDuhSlliAgehg2IvcnxKi0xsbboHN3OYRN11qXlWy34ZP9EAdcHoAnXMIlXMIlXMIlXMIlXMIlXMIlXCx6OC6SzkVrH9oULynj/kYx3mgAan9pzz7CBony2XRcNAzKJQ2pjrUM1faOS5F4GO/LJycWdrRn36P5ZDuLQ/ySCOW1Da7V+jVtpfm0j8Bf8t4K/sBOgHAJl3AJl3AJl3AJl3AJl3AJl3A54eKneIIlX5STdQk+Dn68kS3cJZKGQzd6SiUdewPBaxn/iQLCIkgYpQUXcYPRbVu7xZt1a4IXDBzW8hM5bv4aszQWAqE9owEUFfCZ+FvkjO0tAz7Zjvw+v53/pMKES7iES7iES7iES7iES7iES7iEy+ldd5ZlWZb9x/YJS1TWU/1hBjgAAAAASUVORK5CYII=)
#
# A density that is known only up to its normalising constant, $p(x) \propto e^{-E(x)}$, still has a **score**, $s(x) = \nabla_x \ln p(x) = -\nabla_x E(x)$: the constant drops out. And a score is enough to walk: small steps uphill, with some noise, end in samples of $p$. This homework follows that idea to the models that draw
# today's pictures.
#
# | part | what | the idea | points |
# |---|---|---|---|
# | 1 | theory | what a finite step does; why denoising finds the score; posteriors; guidance | 4 |
# | 2.1, 2.2 | Langevin dynamics, an energy model | walk along a score; train an energy by its own walks | 1.5 |
# | 2.3, 2.4 | score matching, NCSN | drop the energy: learn the score itself, at many levels of noise | 2.5 |
# | 2.5–2.8 | DDPM | noise as a Markov chain whose posteriors are known: which noise was added? | 3 |
# | 2.9, 2.10 | DDIM, guidance | fewer steps without noise; two answers of one network | 2 |
# | 3 | two trained DDPMs: a mixture in the plane, and digits | – | 2 |
#
# **One habit of this homework.** For Gaussian data the perfect network is a formula, every step of every sampler is affine, and so the law of what comes out is known *exactly*. It is **not** the law of the data: a finite number of steps has a bias of its own. Your sampler is compared with its own exact law: compare it with that law too, not with the data.
#
# **Time.** Expect about 7 hours: theory an hour and a half, part 2 four, part 3 one and a half. Both trainings together take about half a minute of one CPU core.
#
# **How to work.** Fill the places marked `YOUR CODE HERE` (delete the line `raise NotImplementedError()`), run the cell, then run the `check("...")` cell below it: it tries, within a second or two, a part of what is scored, and says what does not hold. Under each task a list **What is checked** names everything that is scored there beside the conventions below, which hold in every task:
# a task that passes here can still miss a line of it. You may add cells, helper functions and optional arguments; names, required arguments and shapes must stay. A later task may call your answer to an earlier one; then a mistake in the earlier costs both. Tasks marked ★ carry no points. If you are stuck, unfold the *Hint* of a task.

# %% [markdown] tags=["limits"]
# What grading allows is printed here from `assignment.yaml`.

# %% [markdown]
# **Conventions.** Each of these has split the literature; this homework fixes one reading.
#
# - **Langevin:** $x \leftarrow x + \frac\eta2\, s(x) + \sqrt\eta\, \varepsilon$, with noise in *every* step, the last one too. (Other texts write $\eta$ and $\sqrt{2\eta}$.) A score is a function `score(x)` that takes a batch and answers in its shape.
# - **Diffusion time** $t = 0, \dots, T-1$ is an *index* (the papers' $t$ minus 1). $x_t = \sqrt{\bar\alpha_t}\, x_0 + \sqrt{1 - \bar\alpha_t}\, \varepsilon$ with $\bar\alpha_t = \prod_{s \le t} (1 - \beta_s)$. **Before index 0 lies clean data: $\bar\alpha_{-1} = 1$.**
# - `t` is a tensor of dtype long, shape `(B,)`, one for each sample, also for the network: `model(x, t)` predicts the noise $\varepsilon$, in the shape of `x`.
# - `betas` has dtype float64 and shape `(T,)`. Compute tables in it, and cast last: **every tensor that comes back has the dtype of `x`**. (Whole steps in float64, cast at the end, are fine.) In every argument list $x_0$ comes before $x_t$. `sigma`, `eta`, `eps`, `w`, `p` and step sizes are floats.
# - NCSN: `sigmas` is a list of floats from large to small; the network gets $\sigma$ itself, shape `(B,)`, in the dtype of `x`: `model(x, sigma)`.
# - **Losses:** score matching and NCSN *sum over the dimensions* of a sample and take the mean over the batch (so that they are Fisher divergences); the DDPM loss is the *mean over all entries*. The losses of 2.4, 2.7 and 2.10 call the network **once**, with row $b$ of the call made from row $b$ of the data.
# - **Samplers** call the network once a step, with the whole batch and with plain tensors (not inside `torch.func`; in 2.2 they may require gradients), arguments by position. 0 steps return `x`, itself or a copy. They return no graph and leave their argument, the network's mode and its `.grad` as they were. Noise is independent over rows, entries and steps.
# - DDPM steps have the posterior's variance $\tilde\beta_t$ (the paper's other choice is $\beta_t$), no clipping, and **no noise at index 0**.
# - **Guidance:** $\hat\varepsilon = \varepsilon_\varnothing + w\,(\varepsilon_y - \varepsilon_\varnothing)$: $w = 0$ is unconditional, $w = 1$ conditional. (Other texts write $1 + w$ for our $w$.) The null label is the integer `n_classes`.
# - A sample may have any shape: vectors `(B, D)`, images `(B, C, H, W)`. Random numbers come from PyTorch's global generator, fresh in every call, in any order and any dtype, before a walk or during it. An argument is never modified.
#
# **Reading:** Langevin and score matching [Hyvärinen, 2005](https://jmlr.org/papers/v6/hyvarinen05a.html) (theorem 1), [Vincent, 2011](https://www.iro.umontreal.ca/~vincentp/Publications/smdae_techreport.pdf) (section 4), sliced [Song et al., 2019](https://arxiv.org/abs/1905.07088) · NCSN [Song, Ermon, 2019](https://arxiv.org/abs/1907.05600) (sections 2–4, algorithm 1)
# · energies [Du, Mordatch, 2019](https://arxiv.org/abs/1903.08689) (section 3) · DDPM [Ho et al., 2020](https://arxiv.org/abs/2006.11239) (sections 2, 3, algorithms 1, 2), cosine schedule [Nichol, Dhariwal, 2021](https://arxiv.org/abs/2102.09672) (section 3.2) · DDIM [Song et al., 2021](https://arxiv.org/abs/2010.02502) (section 4.1) ·
# guidance [Ho, Salimans, 2022](https://arxiv.org/abs/2207.12598).

# %% tags=["package"]
from autograder import check

# %%
import itertools
import math
from contextlib import contextmanager

import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F


@contextmanager
def when_written(*names):
    """Run as far as your answers above allow; `names` are made by cells that may not have run yet."""
    try:
        yield
    except NotImplementedError:
        plt.close("all")  # no empty axes
        print("Not yet: a function above is still to be written.")
    except NameError as error:
        if error.name not in names:
            raise
        plt.close("all")
        print(f"Not yet: `{error.name}` is made by a cell above.")


def linear_betas(n, start, end):
    """n values from start to end, both included, (n,), float64."""
    return torch.linspace(start, end, n, dtype=torch.float64)


def time_features(t, T, width):
    """Sines and cosines of t/T at whole and half frequencies, (B, width), for t (B,): what a network can know of time."""
    phase = math.pi * (t.to(torch.get_default_dtype()) / T)[:, None] * torch.arange(1, width // 2 + 1)
    return torch.cat([phase.sin(), phase.cos()], 1)


def normal_density(x, mean, std):
    """The density of N(mean, std²)."""
    return torch.exp(-0.5 * ((x - mean) / std) ** 2) / (std * math.sqrt(2 * math.pi))


# %% [markdown]
# **What you will build.** Below, a law of two clumps, walked on by its exact score. Left: the arrows of the score of the data, once blurred with noise of deviation 1 and once with 0.2. Where there are no data the sharp score still points somewhere, but a network that has seen none there cannot know. That is why diffusion begins with much noise and ends with
# little. Right: 400 walkers that follow the arrows from large to small noise.

# %%
clumps = torch.tensor([[-1.5, 0.0], [1.5, 1.0]])


def clump_score(x, sigma):
    """The exact score of two clumps of deviation 0.2 after noise of deviation sigma, by automatic differentiation."""
    x = x.clone().requires_grad_()
    log_p = (-(x[:, None] - clumps).square().sum(2) / (2 * (0.2**2 + sigma**2))).logsumexp(1)
    return torch.autograd.grad(log_p.sum(), x)[0]


torch.manual_seed(0)
figure, axes = plt.subplots(1, 3, figsize=(12, 3.4))
places = torch.cartesian_prod(torch.linspace(-3, 3, 17), torch.linspace(-2, 3, 15))
for axis, sigma in zip(axes, (1.0, 0.2)):
    arrows = clump_score(places, sigma)
    axis.quiver(*places.T, *(arrows / arrows.norm(dim=1, keepdim=True).sqrt()).T, color="tab:blue", width=0.004)
    axis.set(title=f"score at noise {sigma:g}", xlim=(-3.3, 3.3), ylim=(-2.3, 3.3))
walkers = 3 * torch.randn(400, 2)
for sigma in (3.0, 1.0, 0.5, 0.2):
    for _ in range(60):
        walkers = walkers + sigma**2 / 20 * clump_score(walkers, sigma) + sigma * math.sqrt(0.1) * torch.randn(400, 2)
axes[2].scatter(*walkers.T, s=4)
axes[2].scatter(*clumps.T, s=60, marker="x", color="black")
axes[2].set(title="400 walkers at the end", xlim=(-3.3, 3.3), ylim=(-2.3, 3.3))
plt.show()

# %% [markdown]
# # Part 1. Theory (4 points)
#
# Each task has a part that you derive by hand, which a human reads, and a formula that you type, which is checked by numbers. Where a number is asked for, a tensor without dimensions is one too. Write the derivation in the text cell; a photo of handwriting is fine (*Edit → Insert image*).
#
# ## 1.1 What a finite step does to the law (0.5 by hand, 0.5 typed)
#
# The Langevin step $x \leftarrow x + \frac\eta2\, s(x) + \sqrt\eta\, \varepsilon$ is applied again and again, with the exact score $s(x) = -x/\sigma^2$ of $\mathcal N(0, \sigma^2)$, from a Gaussian start with mean 0.
#
# 1. (0.15) Show that the law stays Gaussian, and find how its variance changes in a step.
# 2. (0.2) Find the variance at which it comes to rest.
# 3. (0.1) For which $\eta$ does the variance grow without bound?
# 4. (0.05) Which $\eta$ makes the final variance wrong by 1 %?
#
# <details><summary>Hint</summary>The step is $x \leftarrow a x + \sqrt\eta\, \varepsilon$ with a number $a$ that you can read off. Independent variances add.</details>

# %% [markdown] by_hand="theory-langevin" points=0.5
# <!-- ### BEGIN SOLUTION -->
# **1.** $x \leftarrow a x + \sqrt\eta\,\varepsilon$ with $a = 1 - \eta/(2\sigma^2)$: a linear map of a Gaussian plus an independent Gaussian is Gaussian, and $v \leftarrow a^2 v + \eta$.
#
# **2.** $v_\infty = \eta/(1 - a^2)$, and $1 - a^2 = \frac{\eta}{\sigma^2}\big(1 - \frac{\eta}{4\sigma^2}\big)$, so $v_\infty = \sigma^2 / \big(1 - \frac{\eta}{4\sigma^2}\big) > \sigma^2$: too wide.
#
# **3.** The recursion converges iff $|a| < 1$, that is $0 < \eta < 4\sigma^2$. It diverges for $\eta \ge 4\sigma^2$ (at $\eta = 4\sigma^2$, $a = -1$ and every step adds $\eta$).
#
# **4.** $1/(1 - \eta/4\sigma^2) = 1.01$ gives $\eta = 4\sigma^2 \cdot 0.01/1.01 \approx 0.04\,\sigma^2$.
# <!-- ### END SOLUTION -->

# %% [markdown] tags=["rubric"]
# - 0.15 part 1: Gaussian because the step is linear, and v ← a²v + η with a = 1 − η/(2σ²)
# - 0.2 part 2: the fixed point σ²/(1 − η/(4σ²)) (0.1 if only η/(1 − a²))
# - 0.1 part 3: diverges from η = 4σ² on, by |a| ≥ 1
# - 0.05 part 4: η ≈ 0.04 σ²

# %% [markdown]
# Type the variance after $n$ steps. *Numbers to meet:* $\sigma^2 = 1$, $\eta = 0.4$: after one step from variance 0 it is 0.4, after many 1.1111. $\sigma^2 = 1$, $\eta = 6$, three steps from 1: 190.
#
# <details><summary>Hint</summary>A loop of $n$ steps is fast enough. A closed form is 0/0 at $\eta = 4\sigma^2$, which is not asked; nor are results beyond $10^{100}$.</details>
#
# **What is checked**
# - `langevin_variance` for 0 to 10,000 steps, step sizes below and above the limit of stability (not at it), also with $a = 0$, and a start of any variance, to a relative $10^{-9}$. The result is a number.

# %% answer="theory-langevin-code-solution"
def langevin_variance(sigma2, step_size, n_steps, start_variance):
    """Variance after n_steps Langevin steps with the exact score of N(0, sigma2), from N(0, start_variance); floats."""
    ### BEGIN SOLUTION
    kept = (1 - step_size / (2 * sigma2)) ** 2
    variance = start_variance
    for _ in range(n_steps):
        variance = kept * variance + step_size
    return variance
    ### END SOLUTION


# %% graded="theory-langevin-code" points=0.5
check("theory-langevin-code")

# %% [markdown]
# ## 1.2 Why denoising finds the score, and what its loss can reach (0.5 by hand, 0.5 typed)
#
# Let $y = x + \sigma\varepsilon$ with $\varepsilon \sim \mathcal N(0, I)$, and let $p_\sigma$ be the density of $y$, in $D$ dimensions. Denoising score matching minimises $\mathbb E \lVert s(y) + \varepsilon/\sigma \rVert^2$.
#
# 1. (0.3) Show that $\mathbb E \lVert s(y) + \varepsilon/\sigma \rVert^2 = \mathbb E \lVert s(y) - \nabla \ln p_\sigma(y) \rVert^2 + C$ with a $C$ that does not depend on $s$.
# 2. (0.2) Compute $C$ for $x \sim \mathcal N(0, \Sigma)$: the loss of a *perfect* network is not 0.
#
# <details><summary>Hint</summary>What is $\mathbb E[-\varepsilon/\sigma \mid y]$? Write $p_\sigma(y) = \int p(x)\, \mathcal N(y; x, \sigma^2 I)\, dx$ and differentiate under the integral.</details>

# %% [markdown] by_hand="theory-dsm" points=0.5
# <!-- ### BEGIN SOLUTION -->
# **1.** $\nabla p_\sigma(y) = \int p(x)\, \mathcal N(y; x, \sigma^2 I)\, \frac{x - y}{\sigma^2}\, dx$, so $\nabla \ln p_\sigma(y) = \mathbb E\big[\frac{x - y}{\sigma^2} \mid y\big] = \mathbb E[-\varepsilon/\sigma \mid y]$. The conditional expectation is the best predictor: with $g(y) = \nabla\ln p_\sigma(y)$ the
# difference $-\varepsilon/\sigma - g(y)$ has mean zero given $y$, so it is orthogonal to every function of $y$, and
# $\mathbb E \lVert s + \varepsilon/\sigma\rVert^2 = \mathbb E \lVert s - g \rVert^2 + \mathbb E\lVert g + \varepsilon/\sigma \rVert^2$. The last term is $C = \mathbb E\lVert\varepsilon/\sigma\rVert^2 - \mathbb E\lVert g\rVert^2$.
#
# **2.** $y \sim \mathcal N(0, \Sigma + \sigma^2 I)$, $g(y) = -(\Sigma + \sigma^2 I)^{-1} y$, $\mathbb E\lVert g \rVert^2 = \operatorname{tr}\,(\Sigma + \sigma^2 I)^{-1}$. Hence $C = D/\sigma^2 - \operatorname{tr}\,(\Sigma + \sigma^2 I)^{-1}$.
# <!-- ### END SOLUTION -->

# %% [markdown] tags=["rubric"]
# - 0.2 part 1: ∇ ln p_σ(y) is the conditional expectation of −ε/σ given y
# - 0.1 part 1: the cross term vanishes, so the loss splits
# - 0.1 part 2: C = D/σ² − E‖∇ ln p_σ‖²
# - 0.1 part 2: its value D/σ² − tr (Σ + σ²I)⁻¹

# %% [markdown]
# Type $C$, summed over dimensions. *Number to meet:* $D = 1$, $\Sigma = 1.5$, $\sigma = 0.8$: 1.0952.
#
# <details><summary>Hint</summary>`torch.linalg.inv` of a symmetric positive definite matrix is safe here. Which limit does $\Sigma = 0$ have?</details>
#
# **What is checked**
# - `dsm_floor` for covariances of 1 to 6 rows in float64: full, singular and zero. The result is a number.

# %% answer="theory-dsm-code-solution"
def dsm_floor(cov, sigma):
    """The least loss E |s(y) + noise/sigma|², summed over dimensions, for data N(0, cov); cov (D, D), sigma a float."""
    ### BEGIN SOLUTION
    D = cov.shape[0]
    noisy = cov + sigma**2 * torch.eye(D, dtype=cov.dtype)
    return D / sigma**2 - torch.linalg.inv(noisy).trace()
    ### END SOLUTION


# %% graded="theory-dsm-code" points=0.5
check("theory-dsm-code")

# %% [markdown]
# ## 1.3 The posterior of any two steps, and the weight that the simple loss drops (0.5 by hand, 0.5 typed)
#
# Take two times $s < t$ of a diffusion, of which only $\bar\alpha_s$ and $\bar\alpha_t$ are known. Let $a = \bar\alpha_t/\bar\alpha_s$, so that $x_t = \sqrt a\, x_s + \sqrt{1 - a}\, \varepsilon$.
#
# 1. (0.25) Derive $q(x_s \mid x_0, x_t)$: mean and variance.
# 2. (0.2) A model uses the same variance and, in the mean, its own estimate $\hat x_0$ in the place of $x_0$. Show that $\mathrm{KL}(q \,\|\, p_\theta) = \frac12 (\mathrm{SNR}_s - \mathrm{SNR}_t)\, \lVert x_0 - \hat x_0 \rVert^2$ with $\mathrm{SNR} = \bar\alpha/(1 - \bar\alpha)$.
# 3. (0.05) Ho et al. train with the plain $\lVert \varepsilon - \hat\varepsilon \rVert^2$. Which weight did they drop for neighbours $s = t - 1$, and which steps count less therefore?
#
# <details><summary>Hint</summary>For a given $x_0$, $x_s$ has a Gaussian prior, and $x_t$ is a noisy look at it. Precisions add, and means are weighted by precisions.</details>

# %% [markdown] by_hand="theory-posterior" points=0.5
# <!-- ### BEGIN SOLUTION -->
# **1.** $q(x_s \mid x_0, x_t) \propto \mathcal N(x_s; \sqrt{\bar\alpha_s}\, x_0, (1 - \bar\alpha_s) I)\, \mathcal N(x_t; \sqrt a\, x_s, (1 - a) I)$. Precision $\frac1{1 - \bar\alpha_s} + \frac a{1 - a} = \frac{1 - \bar\alpha_t}{(1 - a)(1 - \bar\alpha_s)}$, as $1 - a + a(1 - \bar\alpha_s) = 1 - \bar\alpha_t$. So the
# variance is $v = \frac{(1 - a)(1 - \bar\alpha_s)}{1 - \bar\alpha_t}$, and the mean $v\big(\frac{\sqrt{\bar\alpha_s}\, x_0}{1 - \bar\alpha_s} + \frac{\sqrt a\, x_t}{1 - a}\big) = \frac{\sqrt{\bar\alpha_s}(1 - a)}{1 - \bar\alpha_t}\, x_0 + \frac{\sqrt a (1 - \bar\alpha_s)}{1 - \bar\alpha_t}\, x_t$.
#
# **2.** Equal variances: $\mathrm{KL} = \frac{1}{2v} \frac{\bar\alpha_s (1 - a)^2}{(1 - \bar\alpha_t)^2} \lVert x_0 - \hat x_0\rVert^2 = \frac12 \frac{\bar\alpha_s (1 - a)}{(1 - \bar\alpha_t)(1 - \bar\alpha_s)} \lVert x_0 - \hat x_0 \rVert^2$. And
# $\frac{\bar\alpha_s}{1 - \bar\alpha_s} - \frac{\bar\alpha_t}{1 - \bar\alpha_t} = \frac{\bar\alpha_s - \bar\alpha_t}{(1 - \bar\alpha_s)(1 - \bar\alpha_t)}$ with $\bar\alpha_s - \bar\alpha_t = \bar\alpha_s(1 - a)$: the same.
#
# **3.** $x_0 - \hat x_0 = \sqrt{(1 - \bar\alpha_t)/\bar\alpha_t}\,(\hat\varepsilon - \varepsilon)$ gives, for $t \ge 1$, the weight $\frac{\beta_t}{2 \alpha_t (1 - \bar\alpha_{t-1})}$, which is large where the noise is small. Without it, steps of low noise count less.
# <!-- ### END SOLUTION -->

# %% [markdown] tags=["rubric"]
# - 0.15 part 1: product of two Gaussians, precisions add
# - 0.1 part 1: both coefficients of the mean, and the variance
# - 0.2 part 2: the KL of equal variances, and the difference of the SNRs
# - 0.05 part 3: the dropped weight β/(2α(1 − ᾱ before)); low-noise steps count less

# %% [markdown]
# Type it. *Numbers to meet:* $\bar\alpha_s = 0.9$, $\bar\alpha_t = 0.72$, $x_0 = 1$, $x_t = 2$: mean 1.3165, variance 0.0714. With $\bar\alpha_s = 1$, clean data, it is $(x_0, 0)$.
#
# <details><summary>Hint</summary>`math.sqrt` for the two numbers; the tensors are only added. Try the limit $\bar\alpha_s = 1$ on paper first.</details>
#
# **What is checked**
# - `posterior` for neighbouring and for distant times and for $\bar\alpha_s = 1$, of vectors and images: the pair `(mean, variance)`, a mean of x's shape and the variance as one number.

# %% answer="theory-posterior-code-solution"
def posterior(x_0, x_t, abar_s, abar_t):
    """Mean (shape of x) and variance (a number) of q(x_s | x_0, x_t), for s before t; abar_s, abar_t are floats."""
    ### BEGIN SOLUTION
    a = abar_t / abar_s
    of_clean = math.sqrt(abar_s) * (1 - a) / (1 - abar_t)
    of_noisy = math.sqrt(a) * (1 - abar_s) / (1 - abar_t)
    return of_clean * x_0 + of_noisy * x_t, (1 - a) * (1 - abar_s) / (1 - abar_t)
    ### END SOLUTION


# %% graded="theory-posterior-code" points=0.5
check("theory-posterior-code")

# %% [markdown]
# ## 1.4 Which law does guidance sample? (0.5 by hand, 0.5 typed)
#
# Guidance replaces the score by $s_\varnothing + w\,(s_y - s_\varnothing)$. Let the unconditional law be $\mathcal N(m_u, s_u^2)$ and the conditional one $\mathcal N(m_c, s_c^2)$.
#
# 1. (0.25) Of which density $p_w$ is that the score, and which mean and deviation has it?
# 2. (0.1) When is it a density at all?
# 3. (0.15) Why does a *diffusion* that uses guided scores at every noise level not sample $p_w$?
#
# <details><summary>Hint</summary>For 1, integrate the scores. For 3: the network's scores at time $t$ belong to the *noised* laws. Compare "noise, then combine" with "combine, then noise".</details>

# %% [markdown] by_hand="theory-guidance" points=0.5
# <!-- ### BEGIN SOLUTION -->
# **1.** $\nabla \ln (p_u^{1-w} p_c^w) = (1 - w) s_\varnothing + w s_y$: $p_w \propto p_u^{1 - w} p_c^w$. Products of Gaussians add precisions: $\lambda = \frac{1 - w}{s_u^2} + \frac{w}{s_c^2}$, mean $\frac1\lambda\big(\frac{(1 - w) m_u}{s_u^2} + \frac{w\, m_c}{s_c^2}\big)$, deviation $\lambda^{-1/2}$.
#
# **2.** Iff $\lambda > 0$; for $w > 1$ iff $w/s_c^2 > (w - 1)/s_u^2$: always when the condition narrows the law, not always when it widens it.
#
# **3.** At time $t$ the network combines the scores of the *noised* laws: it stands for $p_{u,t}^{1-w} p_{c,t}^w$. The noised tilt, $p_w$ with noise added, is another law, as products and convolutions do not commute (for Gaussians: a weighted sum of $1/(s^2 + \sigma^2)$ is not $1/(\lambda^{-1} + \sigma^2)$). So the guided scores
# are those of no single diffusion that ends in $p_w$; only at $t \to 0$ they are right.
# <!-- ### END SOLUTION -->

# %% [markdown] tags=["rubric"]
# - 0.1 part 1: p_w ∝ p_u^(1−w) p_c^w
# - 0.15 part 1: its precision, mean and deviation
# - 0.1 part 2: exactly if the precision is positive
# - 0.15 part 3: noising and tilting do not commute, so the scores in between belong to no one diffusion

# %% [markdown]
# Type mean and deviation of $p_w$. *Number to meet:* unconditional $\mathcal N(0, 1)$, conditional $\mathcal N(1, 0.5^2)$, $w = 3$: mean 1.2000, deviation 0.3162. (A guided DDPM of 1000 steps samples mean 1.3128 and deviation 0.2536: you will see it in 2.10.)
#
# <details><summary>Hint</summary>Precisions $(1-w)/s_u^2$ and $w/s_c^2$; one of them may be negative.</details>
#
# **What is checked**
# - `guided_gaussian` for $w$ = 0, 1, 2, −0.5 and 0.3, where it is a density: the pair `(mean, std)` of numbers.

# %% answer="theory-guidance-code-solution"
def guided_gaussian(m_c, s_c, m_u, s_u, w):
    """Mean and standard deviation of the density that guidance of weight w stands for; all are floats.

    m_c, s_c: of the conditional law; m_u, s_u: of the unconditional one.
    """
    ### BEGIN SOLUTION
    of_u, of_c = (1 - w) / s_u**2, w / s_c**2
    precision = of_u + of_c
    return (of_u * m_u + of_c * m_c) / precision, precision**-0.5
    ### END SOLUTION


# %% graded="theory-guidance-code" points=0.5
check("theory-guidance-code")

# %% [markdown]
# # Part 2. From energies to guidance (9 points)
#
# ## 2.1 A score, and a walk along it (0.75 points)
#
# Reading: Song, Ermon 2019, section 2.2. The score of a mixture $p = \sum_k \pi_k\, \mathcal N(\mu_k, \sigma_k^2 I)$ is an average of the scores of its components,
#
# $$ \nabla \ln p(x) = \sum_k r_k(x)\, \frac{\mu_k - x}{\sigma_k^2}, \qquad r_k(x) \propto \pi_k\, \mathcal N(x; \mu_k, \sigma_k^2 I), \quad \sum_k r_k = 1. $$
#
# Far from all means every density rounds to 0, and 0/0 is no weight: take a softmax of *logarithms*. `langevin_chain` walks: $n$ steps of $x \leftarrow x + \frac\eta2 s(x) + \sqrt\eta\,\varepsilon$, noise in the last step too.
#
# *Worked numbers.* One component, mean 1, deviation 2: the score at 3 is $-0.5$. In the plane, means $(\pm 1, 0)$, deviation 1, equal weights: the score at $(1, 0)$ is $(-0.2384, 0)$. A chain for $\mathcal N(2, 0.64)$, $\eta = 0.5$, four steps from $\mathcal N(0, 0.09)$: mean 1.7242, deviation 0.8843.
#
# <details><summary>Hint</summary>The normal density in $D$ dimensions has $\sigma_k^{-D}$ in front. Shapes: `x[:, None] - means` is `(B, K, D)`.</details>
#
# **What is checked**
# - `mixture_score` against automatic differentiation of the log-density, for several K and D (equal to B too), unequal deviations and weights, and at distance 1000 from all means; shape and dtype of x.
# - `langevin_chain`: each step, and so the law of a short chain, vectors and images; 0 steps return x; what the conventions say of samplers.

# %% answer="langevin-solution"
def mixture_score(x, means, stds, weights):
    """Gradient of ln p at x (B, D), for the mixture of N(means[k], stds[k]² I); means (K, D), stds and weights (K,)."""
    ### BEGIN SOLUTION
    away = means - x[:, None]  # (B, K, D)
    variance = stds.square()
    log_joint = weights.log() - x.shape[1] * stds.log() - away.square().sum(2) / (2 * variance)
    share = log_joint.softmax(1) / variance  # (B, K)
    return (share[:, :, None] * away).sum(1)
    ### END SOLUTION


def langevin_chain(x, score, step_size, n_steps):
    """x (B, *) after n_steps of Langevin dynamics along score(x)."""
    ### BEGIN SOLUTION
    with torch.no_grad():
        for _ in range(n_steps):
            x = x + step_size / 2 * score(x) + math.sqrt(step_size) * torch.randn_like(x)
    return x
    ### END SOLUTION


# %% graded="langevin" points=0.75
check("langevin")

# %% [markdown]
# The law at rest against the data's: with $\eta = 0.8$ and $\sigma = 1$ it is too wide, exactly as 1.1 says. You are right if you follow the orange curve.

# %%
with when_written():
    torch.manual_seed(0)
    ends = langevin_chain(torch.randn(20_000, 1), lambda x: -x, 0.8, 60).flatten()
    line = torch.linspace(-4, 4, 200)
    figure, axis = plt.subplots(figsize=(5, 2.6))
    axis.hist(ends.numpy(), bins=80, density=True, color="0.8")
    axis.plot(line, normal_density(line, 0, 1), color="black", linestyle=":", label="the data's law")
    axis.plot(line, normal_density(line, 0, langevin_variance(1.0, 0.8, 60, 1.0) ** 0.5), color="tab:orange", label="the chain's law")
    axis.legend(fontsize=8)
    axis.set(title=f"Langevin, step 0.8: variance {ends.var():.3f}")
    plt.show()

# %% [markdown]
# ## 2.2 An energy model and its own samples (0.75 points)
#
# Reading: Du, Mordatch 2019, section 3. For $p_\theta \propto e^{-E_\theta}$ the gradient of the negative log-likelihood is $\mathbb E_{\text{data}} \nabla_\theta E - \mathbb E_{p_\theta} \nabla_\theta E$: push the energy of data down, and that of the model's own samples up. `contrastive_loss` has this gradient; `reg` keeps energies near 0:
#
# $$ \overline{E(\text{data})} - \overline{E(\text{samples})} + \text{reg} \cdot \big(\overline{E(\text{data})^2} + \overline{E(\text{samples})^2}\big), $$
#
# each bar being the mean over its own batch. The samples come from Langevin dynamics on $-E$ and are constants for the loss: no gradient goes through them. *Worked number:* $E = \theta x$, data 1 and 3, samples 0 and 2, `reg = 0`: the loss is $\theta$.
#
# <details><summary>Hint: gradients inside a sampler</summary>The score is $-\nabla_x E$. Ask `torch.autograd.grad(energy(leaf).sum(), leaf)` for a fresh leaf: unlike `backward` it leaves no `.grad` in the parameters. A sampler may be called under `no_grad`: open `torch.enable_grad()` where you need it.</details>
#
# **What is checked**
# - `contrastive_loss`: the value, with and without `reg`, for batches of different sizes; its gradient by the parameters of an energy that is a table, one free number for each of 32 states; that no gradient reaches samples which ask for one. `energy(x)` has shape `(B,)`.
# - `negative_samples`: each step of a chain on a quadratic energy in the plane, also when called under `no_grad`; 0 steps; what the conventions say of samplers, and the parameters still want gradients afterwards.

# %% answer="ebm-solution"
def contrastive_loss(energy, data, samples, reg=0.0):
    """Mean energy of data less that of samples, and a penalty on squared energies; energy: (B, *) to (B,)."""
    ### BEGIN SOLUTION
    of_data, of_samples = energy(data), energy(samples.detach())
    penalty = of_data.square().mean() + of_samples.square().mean()
    return of_data.mean() - of_samples.mean() + reg * penalty
    ### END SOLUTION


def negative_samples(energy, x, step_size, n_steps):
    """x (B, *) after n_steps of Langevin dynamics for p proportional to exp(-energy)."""
    ### BEGIN SOLUTION
    x = x.detach()
    for _ in range(n_steps):
        with torch.set_grad_enabled(True):
            leaf = x.clone().requires_grad_()
            (slope,) = torch.autograd.grad(energy(leaf).sum(), leaf)
        x = x - step_size / 2 * slope + math.sqrt(step_size) * torch.randn_like(x)
    return x
    ### END SOLUTION


# %% graded="ebm" points=0.75
check("ebm")

# %% [markdown]
# An energy trained by its own walks, for some ten seconds: a ring of points around a clump (left), and the energy that the network finds (dark is low). Nothing is scored here.

# %%
with when_written():
    torch.manual_seed(0)
    angle = 2 * math.pi * torch.rand(4000)
    radius = 2 * (torch.arange(4000) % 2)[:, None]
    points = radius * torch.stack([angle.cos(), angle.sin()], 1) + 0.2 * torch.randn(4000, 2)
    net = nn.Sequential(nn.Linear(2, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 1))
    energy = lambda x: net(x).squeeze(1)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=600)
    walkers = 6 * torch.rand(256, 2) - 3
    for _ in range(600):
        fresh = torch.rand(256, 1) < 0.05  # some walkers begin anew
        walkers = negative_samples(energy, torch.where(fresh, 6 * torch.rand(256, 2) - 3, walkers), 0.05, 20)
        batch = points[torch.randint(4000, (256,))]
        loss = contrastive_loss(energy, batch, walkers, reg=0.001)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    places = torch.cartesian_prod(*2 * [torch.linspace(-3, 3, 101)])
    with torch.no_grad():
        height = energy(places).reshape(101, 101)
    figure, axes = plt.subplots(1, 2, figsize=(7, 3))
    axes[0].scatter(*points[:1000].T, s=2)
    axes[1].imshow(height.T.clamp(max=float(height.min()) + 5), origin="lower", extent=(-3, 3, -3, 3), cmap="viridis")
    axes[1].scatter(*walkers.T, s=2, color="white")
    for axis, title in zip(axes, ("data", "energy, and its walkers")):
        axis.set(title=title, xlim=(-3, 3), ylim=(-3, 3))
    plt.show()

# %% [markdown]
# ## 2.3 Learning the score itself (1.25 points)
#
# Reading: Vincent 2011, section 4; Song et al. 2019, section 3. **Denoising** score matching, task 1.2 (noise given, so that nothing here is random):
#
# $$ \mathcal L = \frac1B \sum_b \Big\lVert s(x_b + \sigma\varepsilon_b) + \frac{\varepsilon_b}{\sigma} \Big\rVert^2. $$
#
# **Sliced** score matching needs no noise in the data. Hyvärinen's theorem says that $\mathbb E[\operatorname{tr} \nabla s + \frac12 \lVert s\rVert^2]$ has its minimum at the score, too; the trace of a Jacobian costs $D$ backward passes, but along one direction $v$ only one:
#
# $$ \mathcal L = \frac1B \sum_b \Big( v_b^\top \nabla_x \big(v_b^\top s(x_b)\big) + \tfrac12 \big(v_b^\top s(x_b)\big)^2 \Big), $$
#
# with `v` in the shape of `x`, used as it is given. Both sum over all dimensions of a sample. *Worked numbers.* $D = 1$, $s(x) = -x$: at $x = 2$ the sliced loss is 1 for $v = 1$ and 4 for $v = 2$; the denoising loss at $x = 2$, $\sigma = 0.5$, $\varepsilon = 1$ is 0.25.
#
# <details><summary>Hint: sliced</summary>$v^\top J v$ is one more backward pass, not $D$: differentiate the *number* $\sum_b v_b^\top s(x_b)$ by $x$, then multiply by $v$. With `create_graph=True`, or the first term trains nothing. `x` need not require gradients: make a leaf of your own.</details>
#
# **What is checked**
# - `dsm_loss`: the exact value for given noise, of vectors and images, with scores that mix all entries; its gradient by the weights.
# - `sliced_loss`: averaged over the $D$ directions $\sqrt D\, q_k$ of an orthonormal basis (for them the mean of $v v^\top$ is $I$, so that $v^\top J v$ averages to the trace) it is the mean of $\operatorname{tr} J + \frac12 \lVert s \rVert^2$, for linear and nonlinear scores, vectors and images; its gradient by the weights, of both terms. `score` takes batches.

# %% answer="dsm-solution"
def dsm_loss(score, x, sigma, noise):
    """Denoising score matching at one level of noise: sum over dimensions, mean over the batch; noise: shape of x."""
    ### BEGIN SOLUTION
    noisy = x + sigma * noise
    error = score(noisy) + noise / sigma
    return error.flatten(1).square().sum(1).mean()
    ### END SOLUTION


def sliced_loss(score, x, v):
    """Sliced score matching along v (shape of x): sum over dimensions, mean over the batch."""
    ### BEGIN SOLUTION
    x = x.detach().clone().requires_grad_()
    along = (score(x) * v).flatten(1).sum(1)  # vᵀs, (B,)
    (slope,) = torch.autograd.grad(along.sum(), x, create_graph=True)
    curvature = (slope * v).flatten(1).sum(1)  # vᵀJv
    return (curvature + along.square() / 2).mean()
    ### END SOLUTION


# %% graded="dsm" points=1.25
check("dsm")

# %% [markdown]
# Both losses of the family $s(x) = -ax$ on data $\mathcal N(0, 1.5)$. Denoising is least at $a = 1/(1.5 + \sigma^2)$, the score of the *noisy* law, and its smallest value is the floor of 1.2; sliced is least at $a = 1/1.5$.

# %%
with when_written():
    torch.manual_seed(0)
    x, noise, v = math.sqrt(1.5) * torch.randn(50_000, 1), torch.randn(50_000, 1), torch.randn(50_000, 1)
    slopes = torch.linspace(0.2, 1.2, 21)
    found = {"denoising, noise 0.8": [dsm_loss(lambda y: -a * y, x, 0.8, noise).item() for a in slopes],
             "sliced": [sliced_loss(lambda y: -a * y, x, v).item() for a in slopes]}
    figure, axes = plt.subplots(1, 2, figsize=(9, 2.6))
    for axis, (name, values), best in zip(axes, found.items(), (1 / (1.5 + 0.64), 1 / 1.5)):
        axis.plot(slopes, values)
        axis.axvline(best, color="black", linestyle=":")
        axis.set(title=name, xlabel="a")
    axes[0].axhline(float(dsm_floor(torch.tensor([[1.5]]), 0.8)), color="tab:orange", linewidth=1)
    plt.show()

# %% [markdown]
# ## 2.4 NCSN: many levels of noise (1.25 points)
#
# Reading: Song, Ermon 2019, section 4, algorithm 1. One network learns the scores at all levels $\sigma_1 > \dots > \sigma_L$. Each sample gets a level of its own, uniformly; the weight $\lambda = \sigma^2$ makes all levels equally important:
#
# $$ \mathcal L = \frac1B \sum_b \big\lVert \sigma_b\, s(x_b + \sigma_b \varepsilon_b, \sigma_b) + \varepsilon_b \big\rVert^2 \quad \text{(sum over dimensions)}. $$
#
# **Annealed** Langevin dynamics walks through the levels from large to small, with `n_steps` Langevin steps at each, of size $\alpha = \epsilon\, \sigma^2/\sigma_L^2$ ($\sigma_L$ is the smallest), noise in every step.
#
# *Worked numbers.* A network that answers 0 has a loss of about $D$. Data $\mathcal N(1.5, 0.36)$, exact scores, $\sigma$ = 2, 1, ½, $\epsilon = 0.2$, three steps a level from $\mathcal N(0, 0.25)$: mean 1.4218, deviation 1.0614. (It is wider than the data: the last level still has noise ½, and its steps are large.)
#
# <details><summary>Hint</summary>`torch.randint` draws the levels; `view(-1, *[1] * (x.dim() - 1))` shapes one number a sample so that it multiplies `x`. The network is told $\sigma$, not its index and not $\sigma^2$.</details>
#
# **What is checked**
# - `ncsn_loss`: the exact value at the points and levels that the network saw; levels uniform, one for each sample; noise fresh, standard normal, independent; gradients reach the network; dtype of x.
# - `annealed_langevin`: the levels in order and `n_steps` at each; every step, and the law of the result; what the conventions say of samplers.

# %% answer="ncsn-solution"
def ncsn_loss(model, x, sigmas):
    """Denoising score matching at random levels, weighted by sigma²; model(x, sigma) is a score; sigmas: list of floats."""
    ### BEGIN SOLUTION
    sigma = torch.tensor(sigmas, dtype=x.dtype)[torch.randint(len(sigmas), (len(x),))]
    wide = sigma.view(-1, *[1] * (x.dim() - 1))
    noise = torch.randn_like(x)
    error = wide * model(x + wide * noise, sigma) + noise
    return error.flatten(1).square().sum(1).mean()
    ### END SOLUTION


def annealed_langevin(model, x, sigmas, n_steps, eps):
    """x (B, *) after n_steps Langevin steps of size eps sigma²/sigmas[-1]² at each level, from large to small."""
    ### BEGIN SOLUTION
    with torch.no_grad():
        for sigma in sigmas:
            step_size = eps * sigma**2 / sigmas[-1] ** 2
            level = torch.full((len(x),), sigma, dtype=x.dtype)
            for _ in range(n_steps):
                x = x + step_size / 2 * model(x, level) + math.sqrt(step_size) * torch.randn_like(x)
    return x
    ### END SOLUTION


# %% graded="ncsn" points=1.25
check("ncsn")

# %% [markdown]
# ## 2.5 Noise as a chain: the schedule (0.75 points)
#
# Reading: Ho et al. 2020, section 2; Nichol, Dhariwal 2021, section 3.2. A diffusion adds a little noise at a time, $x_t = \sqrt{1 - \beta_t}\, x_{t-1} + \sqrt{\beta_t}\,\varepsilon_t$. By $\bar\alpha_t = \prod_{s \le t}(1 - \beta_s)$ one jumps to any time at once: $x_t = \sqrt{\bar\alpha_t}\, x_0 + \sqrt{1 - \bar\alpha_t}\, \varepsilon$.
#
# - `abar_at(betas, t, x)`: $\bar\alpha$ at the indices `t` `(B,)`, shaped `(B, 1, …, 1)` so that it multiplies `x`, in x's dtype. `t` may be $-1$, clean data, $\bar\alpha = 1$.
# - `cosine_betas(n, s, largest)`: float64, $\beta_t = \min\big(1 - f(\frac{t + 1}n)/f(\frac tn),\ \text{largest}\big)$ with $f(u) = \cos^2\big(\frac\pi2 \frac{u + s}{1 + s}\big)$.
# - `q_sample(x_0, t, betas, noise)`: $x_t$ for given noise, a time for each sample.
#
# *Worked numbers.* `betas` 0.1, 0.2, 0.3: $\bar\alpha$ = 0.9, 0.72, 0.504. `cosine_betas(4)` = 0.1530, 0.4170, 0.7079, 0.999.
#
# <details><summary>Hint: index −1</summary>Python's `abar[-1]` is the *last* entry, and runs silently. Put a 1 in front of the table and read it at `t + 1`.</details>
#
# **What is checked**
# - `abar_at` for all times in any order and for $-1$, against products in exact arithmetic; shape; float32 and float64.
# - `cosine_betas` for several `n`, `s` and `largest`, to a relative $10^{-9}$; dtype float64.
# - `q_sample`: the closed form, a different time for each sample, vectors and images of which several sizes agree; float32 stays float32; arguments unchanged.

# %% answer="schedule-solution"
def abar_at(betas, t, x):
    """The share of signal kept at indices t (B,), each -1 .. T-1, as (B, 1, .., 1) in the dtype of x (B, *)."""
    ### BEGIN SOLUTION
    table = torch.cat([torch.ones(1, dtype=betas.dtype), (1 - betas).cumprod(0)])
    abar = table[t + 1].to(x.dtype)
    return abar.view(-1, *[1] * (x.dim() - 1))
    ### END SOLUTION


def cosine_betas(n, s=0.008, largest=0.999):
    """The cosine schedule of n steps, (n,), float64."""
    ### BEGIN SOLUTION
    u = torch.arange(n + 1, dtype=torch.float64) / n
    f = torch.cos(math.pi / 2 * (u + s) / (1 + s)).square()
    return (1 - f[1:] / f[:-1]).clamp(max=largest)
    ### END SOLUTION


def q_sample(x_0, t, betas, noise):
    """x_t for clean data x_0 (B, *), times t (B,) and given noise, shape of x_0."""
    ### BEGIN SOLUTION
    abar = abar_at(betas, t, x_0)
    signal, spread = abar.sqrt(), (1 - abar).sqrt()
    return signal * x_0 + spread * noise
    ### END SOLUTION


# %% graded="schedule" points=0.75
check("schedule")

# %% [markdown]
# The signal-to-noise ratio $\bar\alpha/(1 - \bar\alpha)$ of two schedules, and the network of a perfect student: for data $\mathcal N(m, s^2)$ the best prediction of the noise is known, $\frac{\sqrt{1 - \bar\alpha_t}\,(x - \sqrt{\bar\alpha_t}\, m)}{\bar\alpha_t s^2 + 1 - \bar\alpha_t}$. It is given below for your own experiments.

# %%
def exact_noise(mean, std, betas):
    """The perfect network for data N(mean, std²): E[noise | x_t = x]. mean, std: numbers, or tensors that fit x."""

    def model(x, t):
        abar = abar_at(betas, t, x)
        return (1 - abar).sqrt() * (x - abar.sqrt() * mean) / (abar * std**2 + 1 - abar)

    return model


with when_written():
    figure, axis = plt.subplots(figsize=(5, 2.4))
    for name, betas in {"linear, 1e-4 to 0.02": linear_betas(1000, 1e-4, 0.02), "cosine": cosine_betas(1000)}.items():
        kept = abar_at(betas, torch.arange(1000), torch.zeros(1000, 1, dtype=torch.float64)).flatten()
        axis.semilogy(kept / (1 - kept), label=name)
    axis.set(xlabel="t", ylabel="signal / noise", ylim=(1e-6, 1e5))
    axis.legend(fontsize=8)
    plt.show()

# %% [markdown]
# ## 2.6 One step back (0.75 points)
#
# Reading: Ho et al. 2020, equations 6, 7 and 11. `noise` is what the network predicts. It says what $x_0$ would be, $\hat x_0 = \frac{x_t - \sqrt{1 - \bar\alpha_t}\,\hat\varepsilon}{\sqrt{\bar\alpha_t}}$, and 1.3 tells the law of $x_{t-1}$ given $x_t$ and this $\hat x_0$. Return its mean, in the shape of `x_t`, and its variance, `(B, 1, …, 1)`. The
# same two formulas hold at index 0, where $x_{-1}$ is clean data.
#
# *Worked number:* $\beta$ = 0.1, 0.2, 0.3, $t = 1$, $x_t = 2$ and the noise for which $\hat x_0 = 1$ (it is 2.1761): mean 1.3165, variance 0.0714. At $t = 0$: mean $\hat x_0$, variance 0.
#
# <details><summary>Hint</summary>With $s = t - 1$ and $a = 1 - \beta_t$ in 1.3. The equal form $\big(x_t - \frac{\beta_t}{\sqrt{1 - \bar\alpha_t}}\,\hat\varepsilon\big)/\sqrt{1 - \beta_t}$ of the mean is fine too. Each sample has a time of its own.</details>
#
# **What is checked**
# - `reverse_mean_variance` for every t, index 0 included, against the product of two Gaussians; different times in one batch; vectors and images; float32 stays float32; arguments unchanged.

# %% answer="ddpm-reverse-solution"
def reverse_mean_variance(x_t, t, noise, betas):
    """Mean (B, *) and variance (B, 1, .., 1) of x_{t-1} given x_t (B, *), t (B,) and the predicted noise."""
    ### BEGIN SOLUTION
    abar, before = abar_at(betas, t, x_t), abar_at(betas, t - 1, x_t)
    beta = betas[t].to(x_t.dtype).view_as(abar)
    x_0 = (x_t - (1 - abar).sqrt() * noise) / abar.sqrt()
    of_clean = before.sqrt() * beta / (1 - abar)
    of_noisy = (1 - beta).sqrt() * (1 - before) / (1 - abar)
    return of_clean * x_0 + of_noisy * x_t, beta * (1 - before) / (1 - abar)
    ### END SOLUTION


# %% graded="ddpm-reverse" points=0.75
check("ddpm-reverse")

# %% [markdown]
# ## 2.7 The training loss (0.75 points)
#
# Reading: Ho et al. 2020, algorithm 1. Draw a time for each sample, uniformly over $0, \dots, T-1$ (opposite ones in pairs, $t$ and $T-1-t$, are fine), and noise; the loss is $(\text{model}(x_t, t) - \varepsilon)^2$, **averaged over all entries**.
#
# *Worked numbers.* A network that answers 0 has a loss of about 1. A perfect one does not reach 0: for $\mathcal N(1.5, 0.36)$, $T = 50$ and $\beta$ from 0.002 to 0.4 it has 0.192, the floor that 1.2 explains.
#
# <details><summary>Hint: the loss stays at 0.2</summary>It is the floor. Look at the loss of each $t$ below: at small $t$ the noise can hardly be told from the data.</details>
#
# **What is checked**
# - `ddpm_loss`: the exact value at the points and times that the network saw, vectors and images; times of dtype long, uniform, one for each sample, from 0 to $T-1$; noise fresh, standard normal, independent; one call; gradients reach the network; dtype of `x_0`.

# %% answer="ddpm-loss-solution"
def ddpm_loss(model, x_0, betas):
    """Mean squared error of the predicted noise, at random times; model(x, t) predicts the noise, x_0: (B, *)."""
    ### BEGIN SOLUTION
    t = torch.randint(len(betas), (len(x_0),))
    noise = torch.randn_like(x_0)
    predicted = model(q_sample(x_0, t, betas, noise), t)
    return (predicted - noise).square().mean()
    ### END SOLUTION


# %% graded="ddpm-loss" points=0.75
check("ddpm-loss")

# %%
with when_written():
    torch.manual_seed(0)
    betas = linear_betas(50, 0.002, 0.4)
    x_0, times = 1.5 + 0.6 * torch.randn(200_000, 1), torch.arange(200_000) % 50
    noise = torch.randn(200_000, 1)
    error = (exact_noise(1.5, 0.6, betas)(q_sample(x_0, times, betas, noise), times) - noise).square().flatten()
    print(f"loss of the perfect network: {ddpm_loss(exact_noise(1.5, 0.6, betas), x_0, betas):.3f}")
    figure, axis = plt.subplots(figsize=(5, 2.2))
    axis.plot([error[times == t].mean() for t in range(50)])
    axis.set(xlabel="t", ylabel="error of the noise", title="the perfect network, by time")
    plt.show()

# %% [markdown]
# ## 2.8 The sampler (0.75 points)
#
# Reading: Ho et al. 2020, algorithm 2. From `x_T`, which is given and lies at index $T - 1$, step back with 2.6: mean plus $\sqrt{\text{variance}}$ times fresh noise; at index 0 the mean alone. No clipping.
#
# *Worked numbers,* exact network of $\mathcal N(1.5, 0.36)$, $x_T \sim \mathcal N(0, 1)$: with $T = 50$, $\beta$ from 0.002 to 0.4: mean 1.5000, deviation **0.5393**, not 0.6. With $T = 12$, every $\beta = 0.3$: 1.4925 and 0.3726.
#
# <details><summary>Hint: my samples are too narrow</summary>They should be: compare with the exact numbers above, not with the data. $T$ steps with $\tilde\beta$ lose some variance, and fewer steps lose more.</details>
#
# **What is checked**
# - `ddpm_sample`: every step, and the law of the result, for two schedules, vectors and images; the times that the network sees, long, `(B,)`, from $T-1$ down to 0; with $T = 1$ nothing is random; what the conventions say of samplers; float32 stays float32.

# %% answer="ddpm-sample-solution"
def ddpm_sample(model, x_T, betas):
    """Samples (B, *) from x_T (B, *), which lies at index T-1, by T steps with the posterior's variance."""
    ### BEGIN SOLUTION
    x = x_T
    with torch.no_grad():
        for index in reversed(range(len(betas))):
            t = torch.full((len(x),), index)
            mean, variance = reverse_mean_variance(x, t, model(x, t), betas)
            x = mean + variance.sqrt() * torch.randn_like(x)  # the variance at index 0 is 0
    return x
    ### END SOLUTION


# %% graded="ddpm-sample" points=0.75
check("ddpm-sample")

# %% [markdown]
# ## 2.9 DDIM: any subsequence, any amount of noise (1 point)
#
# Reading: Song et al. 2021, section 4.1, equation 12. `steps` is an increasing list of indices, not empty and not always all, and `x_T` lies at the last of them. Let $\bar\alpha$ belong to the current index and $\bar\alpha'$ to the **previous element of `steps`**, 1 before the first. With $\hat x_0$ of 2.6,
#
# $$ x' = \sqrt{\bar\alpha'}\, \hat x_0 + \sqrt{1 - \bar\alpha' - \sigma^2}\; \hat\varepsilon + \sigma\, \varepsilon, \qquad \sigma^2 = \eta^2\, \frac{1 - \bar\alpha'}{1 - \bar\alpha} \Big(1 - \frac{\bar\alpha}{\bar\alpha'}\Big). $$
#
# $\eta = 0$ is deterministic; $\eta = 1$ on all indices is DDPM. *Worked numbers,* the network and first schedule of 2.8, steps 4, 9, …, 49: $\eta = 0$: mean 1.4981, deviation 0.4656; $\eta = \frac12$: 1.4992, 0.4565; $\eta = 1$: 1.5000, 0.4133.
#
# <details><summary>Hint</summary>Walk over the pairs (current, previous) of `steps` from the end. The betas in between do not matter: only $\bar\alpha$ at the two ends of a jump.</details>
#
# **What is checked**
# - `ddim_sample`: every step and the times that the network sees, for several subsequences (with and without index 0, a single step, all) and $\eta$ = 0, ½, 1; with $\eta = 0$ nothing is random; the law of the result; what the conventions say of samplers; float32 stays float32.

# %% answer="ddim-solution"
def ddim_sample(model, x_T, betas, steps, eta):
    """Samples (B, *) from x_T, which lies at index steps[-1], by jumps along the increasing list `steps`."""
    ### BEGIN SOLUTION
    x = x_T
    with torch.no_grad():
        for index, earlier in zip(reversed(steps), reversed([-1, *steps[:-1]])):
            t = torch.full((len(x),), index)
            abar, before = abar_at(betas, t, x), abar_at(betas, torch.full_like(t, earlier), x)
            noise = model(x, t)
            x_0 = (x - (1 - abar).sqrt() * noise) / abar.sqrt()
            variance = eta**2 * (1 - before) / (1 - abar) * (1 - abar / before)
            direction = (1 - before - variance).sqrt() * noise
            x = before.sqrt() * x_0 + direction + variance.sqrt() * torch.randn_like(x)
    return x
    ### END SOLUTION


# %% graded="ddim" points=1
check("ddim")

# %% [markdown]
# The deviation that samplers reach with fewer and fewer steps, on $\mathcal N(1.5, 0.36)$ with a perfect network. With $\eta = 0$ the sampler is one affine map, so two starting points tell its deviation exactly.

# %%
with when_written():
    torch.manual_seed(0)
    betas = linear_betas(200, 5e-4, 0.1)
    model, counts = exact_noise(1.5, 0.6, betas), (2, 4, 5, 10, 20, 50, 100, 200)
    jumps = [list(range(200 // n - 1, 200, 200 // n)) for n in counts]
    exact = [ddim_sample(model, torch.tensor([[0.0], [1.0]], dtype=torch.float64), betas, j, 0.0).diff(dim=0).item() for j in jumps]
    noisy = [ddim_sample(model, torch.randn(20_000, 1), betas, j, 1.0).std().item() for j in jumps]
    figure, axis = plt.subplots(figsize=(5, 2.6))
    axis.semilogx(counts, exact, "o-", label="η = 0, exactly")
    axis.semilogx(counts, noisy, "o-", label="η = 1, 20,000 chains")
    axis.axhline(0.6, color="black", linestyle=":", label="the data")
    axis.set(xlabel="steps", ylabel="deviation")
    axis.legend(fontsize=8)
    plt.show()

# %% [markdown]
# ## 2.10 Guidance without a classifier (1 point)
#
# Reading: Ho, Salimans 2022, section 3. One network `model(x, t, y)` learns all classes, and the unconditional law as one more label, `n_classes`: in training every label is replaced by it with probability `p`, **independently for each sample**.
#
# - `cfg_loss(model, x_0, y, betas, n_classes, p)`: the loss of 2.7 with such labels.
# - `guided_noise(model, x, t, y, n_classes, w)`: $\varepsilon_\varnothing + w\,(\varepsilon_y - \varepsilon_\varnothing)$.
# - `cfg_sample(model, x_T, y, betas, n_classes, w)`: the sampler of 2.8 with it.
#
# *Worked numbers.* Answers $\varepsilon_\varnothing = 1$, $\varepsilon_y = 2$ and $w = 3$ give 4. Null law $\mathcal N(0, 1)$, label law $\mathcal N(1, 0.25)$, $T = 50$, $\beta$ from 0.002 to 0.4, $w = 2$, $x_T \sim \mathcal N(0, 1)$: mean 1.2578, deviation 0.2718.
#
# <details><summary>Hint</summary>One call with a batch of 2B is faster than two calls; both are fine, and so is one call where $w$ is 0 or 1. `torch.where(dropped, n_classes, y)` leaves `y` as it is.</details>
#
# **What is checked**
# - `cfg_loss`: the exact value at the points, times and labels that the network saw; the rate of dropped labels, independent from sample to sample, kept ones in their place; `p` = 0 and 1; labels of dtype long; `y` unchanged.
# - `guided_noise` for $w$ = 0, 1, −1, 2.5, in one joint call or two.
# - `cfg_sample`: the law of the result for several labels in one batch; what the conventions say of samplers (here one joint call or two a step); float32 stays float32.

# %% answer="cfg-solution"
def cfg_loss(model, x_0, y, betas, n_classes, p):
    """The DDPM loss of model(x, t, y), each label y (B,) replaced by n_classes with probability p."""
    ### BEGIN SOLUTION
    dropped = torch.rand(len(y)) < p
    shown = torch.where(dropped, n_classes, y)
    return ddpm_loss(lambda x, t: model(x, t, shown), x_0, betas)
    ### END SOLUTION


def guided_noise(model, x, t, y, n_classes, w):
    """The guided prediction of the noise, shape of x: unconditional at w = 0, conditional at w = 1."""
    ### BEGIN SOLUTION
    null = torch.full_like(y, n_classes)
    both = model(torch.cat([x, x]), torch.cat([t, t]), torch.cat([null, y]))
    without, given = both.chunk(2)
    return without + w * (given - without)
    ### END SOLUTION


def cfg_sample(model, x_T, y, betas, n_classes, w):
    """Samples of the labels y (B,) from x_T (B, *) at index T-1, with guidance of weight w."""
    ### BEGIN SOLUTION
    def predict(x, t):
        return guided_noise(model, x, t, y, n_classes, w)

    return ddpm_sample(predict, x_T, betas)
    ### END SOLUTION


# %% graded="cfg" points=1
check("cfg")

# %% [markdown]
# **Sampled against promised.** The bars are what a guided DDPM of 1000 steps samples with perfect networks, the curves the density of 1.4. At $w = 1$ they agree; from there on they part, as you have shown that they must.

# %%
with when_written():
    torch.manual_seed(0)
    betas, means, stds = linear_betas(1000, 1e-4, 0.02), torch.tensor([[1.0], [0.0]]), torch.tensor([[0.5], [1.0]])
    model = lambda x, t, y: exact_noise(means[y], stds[y], betas)(x, t)
    line = torch.linspace(-1.5, 3, 200)
    figure, axes = plt.subplots(1, 3, figsize=(11, 2.5), sharex=True)
    for axis, w in zip(axes, (1.0, 2.0, 4.0)):
        x = cfg_sample(model, torch.randn(4000, 1), torch.zeros(4000, dtype=torch.long), betas, 1, w).flatten()
        mean, std = guided_gaussian(1.0, 0.5, 0.0, 1.0, w)
        axis.hist(x.numpy(), bins=50, density=True, color="0.8")
        axis.plot(line, normal_density(line, mean, std), color="tab:orange")
        axis.set(title=f"w = {w:g}: sampled ({x.mean():.3f}, {x.std():.3f}), tilt ({mean:.3f}, {std:.3f})")
        axis.title.set_fontsize(9)
    figure.tight_layout()
    plt.show()

# %% [markdown]
# # Part 3. Two trained DDPMs (2 points)
#
# The cells with `fit_ddpm(...)` carry the tags `train` and `train:mixture` or `train:digits`; they are run only when the model is graded, with up to 120 seconds each on one CPU core.
#
# **How a trained network is judged**, in evaluation mode and float32. Build it by `make_…()` without arguments: a new network has to be of the same sizes. A good denoiser of *known* data can be had without training (a table of the data, a fitted mixture, a formula), so the judge also asks by behaviour, and **without all of this no figure earns anything**:
#
# - A new network of `make_…()` knows nothing: its error is not below what the best trivial answer has, one Gaussian in 3.1, each pixel by itself in 3.2.
# - Weights and buffers hold all that the trained network knows: a new network that is given them answers the same. Given the buffers alone, it knows nothing yet.
# - Most of its parameters matter for the answer. (A running average of the weights that lies idle in the network does not: when you are done, put the average in their place.)
# - It can still learn: the judge trains a copy further by a loop of their own (Adam, learning rate $10^{-3}$, mean squared error) on *another* law, and it learns that.
#
# ## 3.1 A mixture in the plane (1 point)
#
# Four isotropic Gaussians around the origin: weights 0.1, 0.2, 0.3, 0.4 in some order, centres at distance 1.3–1.8, about 90° apart, the whole turned by some angle, deviations 0.15–0.3. **When you are graded, the grader draws all these numbers anew**, hands over 8,000 points of that law as `mixture_train`, and trains your network on them. At home everybody sees the same
# example. The schedule is fixed: `MIXTURE_BETAS`, $T = 100$.
#
# - `make_mixture_denoiser()` → a new network `model(x, t)` for x `(B, 2)` and t `(B,)`, long: the noise, `(B, 2)`.
# - `fit_ddpm(model, x_0, betas, steps, batch_size, lr)` trains **whatever network it is given**, in place, by `steps` steps on exactly `batch_size` random rows of `x_0` each, and returns the list of losses. `lr` is the highest rate of your schedule.
#
# *What to expect.* The figure is the mean squared distance to the exact answer $\varepsilon^*(x_t, t)$, as a share of what the best single Gaussian has: 3 layers of 128 units, 3000 steps of 256 points, some 5 seconds of one core: 0.01–0.03. After 300 steps 0.8, after 600 steps 0.2. Answering 0: about 5.
#
# <details><summary>Hint</summary>The network knows $t$ only through features of $t$: `time_features(t, T, 16)` beside the point. SiLU, Adam with OneCycleLR up to 3e-3 or 5e-3. Train in training mode and leave the network in evaluation mode.</details>
#
# **What is checked**
# - (0.1, in the notebook too) A new network: shapes, rows do not mix, 60 steps of training by the judge lower its error by a fifth at least, and then the answer depends on t.
# - (0.1, in the notebook too) The figure of your trained network: in full up to 0.4, nothing from 0.9.
# - (0.2) `fit_ddpm` takes `steps` steps of `batch_size` rows, on a network it has never seen: one slope and one shift for each $t$, which after 400 steps with `lr = 0.01` is at less than half its first distance from the exact answer. The losses come back as a list of `steps` numbers.
# - (0.4) The figure again: in full up to 0.2, nothing from 0.8.
# - (0.2) 4,000 samples that the judge draws with a DDPM sampler of their own: the share within 4 deviations of a mode earns in full from 0.97, nothing up to 0.80; every mode gets at least half its weight.

# %%
from autograder import course_data

mixture_train = course_data("mixture")["mixture_train"]  # (8000, 2)
MIXTURE_BETAS = linear_betas(100, 0.001, 0.1)

figure, axes = plt.subplots(figsize=(3.2, 3.2))
axes.scatter(*mixture_train[:2000].T, s=2)
axes.set(title="2000 points of mixture_train", xlim=(-3, 3), ylim=(-3, 3))
plt.show()

# %% answer="train-mixture-solution"
class PlaneDenoiser(nn.Module):
    """Predicts the noise in points of the plane."""

    def __init__(self, width=128):
        super().__init__()
        ### BEGIN SOLUTION
        self.net = nn.Sequential(
            nn.Linear(2 + 16, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(),
            nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 2),
        )
        ### END SOLUTION

    def forward(self, x, t):
        ### BEGIN SOLUTION
        known = time_features(t, len(MIXTURE_BETAS), 16)
        h = torch.cat([x, known], 1)
        return self.net(h)
        ### END SOLUTION


def make_mixture_denoiser():
    """A new, untrained network for points in the plane; choose its sizes."""
    return PlaneDenoiser()


def fit_ddpm(model, x_0, betas, steps, batch_size, lr):
    """Train any model(x, t) in place on random rows of x_0; returns the list of losses, a number for each step."""
    ### BEGIN SOLUTION
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=lr, total_steps=steps)
    losses = []
    model.train()
    for _ in range(steps):
        loss = ddpm_loss(model, x_0[torch.randint(len(x_0), (batch_size,))], betas)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    model.eval()
    return losses
    ### END SOLUTION


# %% answer="train-mixture-run" tags=["train", "train:mixture"]
# Bind the trained network to `mixture_model` and the list of losses to `mixture_losses`.
with when_written():
    ### BEGIN SOLUTION
    mixture_model = make_mixture_denoiser()
    mixture_losses = fit_ddpm(mixture_model, mixture_train, MIXTURE_BETAS, steps=3000, batch_size=256, lr=3e-3)
    torch.manual_seed(0)
    ### END SOLUTION

# %% graded="train-mixture" points=1
check("train-mixture")

# %% [markdown]
# Samples of your DDPM beside data, and DDIM with fewer and fewer steps from the same noise. Watch where ten steps put the points.

# %%
with when_written("mixture_model", "mixture_losses"):
    torch.manual_seed(1)
    x_T = torch.randn(1500, 2)
    shown = {"data": mixture_train[:1500], "DDPM, 100 steps": ddpm_sample(mixture_model, x_T, MIXTURE_BETAS)}
    for n in (20, 10, 5):
        shown[f"DDIM, {n} steps"] = ddim_sample(mixture_model, x_T, MIXTURE_BETAS, list(range(100 // n - 1, 100, 100 // n)), 0.0)
    figure, axes = plt.subplots(1, 6, figsize=(15, 2.6))
    for axis, (title, points) in zip(axes, shown.items()):
        axis.scatter(*points.T, s=2)
        axis.set(title=title, xlim=(-3, 3), ylim=(-3, 3), xticks=[], yticks=[])
    axes[5].plot(np.convolve(mixture_losses, np.ones(50) / 50, "valid"))
    axes[5].set(xlabel="step", title="loss, mean of 50 steps", ylim=(0, 1))
    plt.show()

# %% [markdown]
# ## 3.2 Digits (1 point)
#
# Black and white digits of $8 \times 8$ pixels, as $-1$ and $+1$: `digits_train`, `(6000, 1, 8, 8)`. They were *drawn anew* from scikit-learn's digits (two of one writer morphed, then turned and shifted a little), and the grader draws the pictures it asks about in the same way from **other writers**; they lie in no file. `DIGITS_BETAS` is fixed, $T = 200$. `make_digits_denoiser()` builds your whole
# network, and your `fit_ddpm` trains it.
#
# **Let the network begin with what is known.** A pixel is $-1$ or $+1$. What its own noisy value says about it needs no learning: the log-odds of $\mathcal N(x_t; +\sqrt{\bar\alpha}, 1 - \bar\alpha)$ against $\mathcal N(x_t; -\sqrt{\bar\alpha}, 1 - \bar\alpha)$ are $2\sqrt{\bar\alpha}\, x_t/(1 - \bar\alpha)$. What the *other* pixels say is to be learned, and adds
# to the log-odds. So
#
# $$ \hat x_0 = \tanh\Big( g_\theta(x_t, t) + \frac{\sqrt{\bar\alpha_t}\; x_t}{1 - \bar\alpha_t} \Big), \qquad \hat\varepsilon = \frac{x_t - \sqrt{\bar\alpha_t}\, \hat x_0}{\sqrt{1 - \bar\alpha_t}}, $$
#
# where $g_\theta$ is any network: the expectation of a bit with log-odds $2\ell$ is $\tanh \ell$. A network that predicts the noise without this line is as right, and after the same minute much worse (table).
#
# *What to expect,* mean $(\hat\varepsilon - \varepsilon)^2$ on held-out pictures over $t = 2, 18, \dots, 194$:
#
# | answer | error |
# |---|---|
# | zero | 1.00 |
# | a plain network with four layers of 256 units, 1500 steps | 0.19 |
# | one Gaussian (Wiener filter) | 0.20 |
# | a new network with the line above | 0.12 |
# | each pixel by itself, with its own frequency | 0.069 |
# | a mixture of 20 pixel models | 0.0546 |
# | **with the line above, three residual blocks of 256 units, 1000 steps of 128, some 8 seconds** | **0.051** |
# | the same, 1500 steps | 0.050 |
# | convolutions beside a perceptron, 1200 steps, some 25 seconds | 0.048 |
# | a table of the 6,000 training pictures (a memoriser) | 5.6 |
#
# <details><summary>Hint</summary>$g$ sees the 64 numbers of $x_t$ and `time_features(t, 200, 32)`; residual blocks h + W silu(V silu(h)), a SiLU before the last layer too; Adam with OneCycleLR up to 3e-3, batches of 128. `abar_at(DIGITS_BETAS, t, x)` gives ᾱ in the right shape.</details>
#
# **What is checked**
# - (0.2, in the notebook too) A new network: shapes, rows do not mix, 60 steps of training by the judge lower its error by a fifth at least, and then the answer depends on t.
# - (0.5) The error above on 13,000 held-out pictures, each asked at one time, together with training pictures: in full up to 0.0525, nothing from 0.0545, a straight line between. A new network is above 0.9 of the error of single pixels, and 200 further steps by the judge on pictures turned by 90° and inverted bring a copy of the trained one to less than 0.8 of the error that it has on them at first.
# - (0.3, only if that error is below 0.0545) 200 pictures that the judge draws with a DDPM sampler of their own, thresholded at 0: the mean grey is within 0.08 of the data's (of white), they differ from each other at least 80 % as much as real digits do, and at most 30 % are copies of training pictures.

# %%
digits_train = course_data("digits")["digits_train"]  # (6000, 1, 8, 8), -1 and +1
DIGITS_BETAS = linear_betas(200, 5e-4, 0.1)


def show_digits(axes, pictures, title="", columns=8):
    """Draw pictures (N, 1, 8, 8) with values from -1 to 1 as a grid."""
    framed = F.pad(pictures[:, 0].float(), (1, 1, 1, 1), value=0.0)
    axes.imshow(torch.cat([torch.cat(list(row), 1) for row in framed.split(columns)]), cmap="gray", vmin=-1, vmax=1)
    axes.set_title(title, fontsize=10)
    axes.axis("off")


figure, axes = plt.subplots(figsize=(5, 2.6))
show_digits(axes, digits_train[:32], "digits_train", columns=16)
plt.show()

# %% answer="train-digits-solution"
class DigitsDenoiser(nn.Module):
    """Predicts the noise in digits."""

    def __init__(self, width=256, depth=3):
        super().__init__()
        ### BEGIN SOLUTION
        block = lambda: nn.Sequential(nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.enter = nn.Linear(64 + 32, width)
        self.blocks = nn.ModuleList([block() for _ in range(depth)])
        self.leave = nn.Linear(width, 64)
        ### END SOLUTION

    def forward(self, x, t):
        ### BEGIN SOLUTION
        abar = abar_at(DIGITS_BETAS, t, x)
        h = self.enter(torch.cat([x.flatten(1), time_features(t, len(DIGITS_BETAS), 32)], 1))
        for block in self.blocks:
            h = h + block(h)
        learned = self.leave(F.silu(h)).view_as(x)
        x_0 = torch.tanh(learned + abar.sqrt() * x / (1 - abar))
        return (x - abar.sqrt() * x_0) / (1 - abar).sqrt()
        ### END SOLUTION


def make_digits_denoiser():
    """A new, untrained network for noisy digits (B, 1, 8, 8); choose its sizes."""
    return DigitsDenoiser()


# %% answer="train-digits-run" tags=["train", "train:digits"]
# Bind the trained network to `digits_model` and the list of losses to `digits_losses`.
with when_written():
    ### BEGIN SOLUTION
    digits_model = make_digits_denoiser()
    digits_losses = fit_ddpm(digits_model, digits_train, DIGITS_BETAS, steps=1000, batch_size=128, lr=3e-3)
    torch.manual_seed(0)
    ### END SOLUTION
    torch.save(digits_model.state_dict(), "digits_model.pt")

# %% graded="train-digits" points=1
check("train-digits")

# %% [markdown]
# One digit at five times, and what your network makes of it at once ($\hat x_0$); samples of DDPM and of DDIM with 50, 20, 10 and 5 steps; below them the nearest training picture to each.

# %%
with when_written("digits_model", "digits_losses"):
    torch.manual_seed(0)
    times = torch.tensor([0, 20, 60, 120, 199])
    digit = digits_train[7:8].expand(5, -1, -1, -1)
    with torch.no_grad():
        noisy = q_sample(digit, times, DIGITS_BETAS, torch.randn(5, 1, 8, 8))
        abar = abar_at(DIGITS_BETAS, times, noisy)
        guess = (noisy - (1 - abar).sqrt() * digits_model(noisy, times)) / abar.sqrt()
    figure, axis = plt.subplots(figsize=(4, 1.8))
    show_digits(axis, torch.cat([noisy, guess]).clamp(-1, 1), "t = 0, 20, 60, 120, 199; below, x̂₀", columns=5)
    x_T = torch.randn(24, 1, 8, 8)
    drawn = {"DDPM, 200 steps": ddpm_sample(digits_model, x_T, DIGITS_BETAS)}
    for n in (50, 20, 10, 5):
        drawn[f"DDIM, {n} steps"] = ddim_sample(digits_model, x_T, DIGITS_BETAS, list(range(200 // n - 1, 200, 200 // n)), 0.0)
    figure, axes = plt.subplots(2, 5, figsize=(14, 4))
    for (title, pictures), above, below in zip(drawn.items(), axes[0], axes[1]):
        show_digits(above, pictures.clamp(-1, 1), title)
        nearest = torch.cdist(pictures.flatten(1), digits_train.flatten(1)).argmin(1)
        show_digits(below, digits_train[nearest], "nearest training picture")
    plt.show()

    errors = []
    with torch.no_grad():
        for t in range(2, 200, 16):
            noise, index = torch.randn(600, 1, 8, 8), torch.full((600,), t)
            x_t = q_sample(digits_train[:600], index, DIGITS_BETAS, noise)
            errors.append((digits_model(x_t, index) - noise).square().mean().item())
    print(f"error on training pictures {np.mean(errors):.4f}; by time: " + ", ".join(f"{e:.3f}" for e in errors))

# %% [markdown]
# # All models on one axis
#
# | model | what is learned | calls of the network for a sample | a likelihood |
# |---|---|---|---|
# | energy model (2.2) | $E_\theta$, by its own samples | as many as the chain needs, with a backward pass each | up to a constant |
# | score matching (2.3) | $\nabla \ln p$ | as many as the chain needs | none |
# | NCSN (2.4) | $\nabla \ln p_\sigma$ at $L$ levels | $L \cdot n$ | none here (homework 6) |
# | DDPM (2.8) | the noise at $T$ times | $T$ | a bound |
# | DDIM (2.9) | the same network | 5–50 | none here (homework 6) |
# | guidance (2.10) | one more label | twice that | none |
# | RealNVP (homework 2) | a bijection | 1 | exact |
# | PixelCNN (homework 1) | conditionals | $D$ | exact |
#
# The last picture asks all samplers of this homework for the same Gaussian, $\mathcal N(1.5, 0.36)$, with perfect networks, and shows how far their deviation is from the data's against the number of calls.

# %%
with when_written():
    torch.manual_seed(0)
    x_T, betas = torch.randn(20_000, 1), linear_betas(200, 5e-4, 0.1)
    model = exact_noise(1.5, 0.6, betas)
    level_score = lambda x, sigma: (1.5 - x) / (0.36 + sigma[:, None] ** 2)
    found = {"Langevin": [(n, langevin_chain(x_T, lambda x: (1.5 - x) / 0.36, 0.1, n)) for n in (5, 10, 20, 50, 200)],
             "NCSN": [(10 * n, annealed_langevin(level_score, 2 * x_T, [2 * 0.7**k for k in range(10)], n, 0.002)) for n in (1, 2, 5, 20)],
             "DDIM": [(n, ddim_sample(model, x_T, betas, list(range(200 // n - 1, 200, 200 // n)), 0.0)) for n in (5, 10, 20, 50, 200)],
             "DDPM": [(200, ddpm_sample(model, x_T, betas))]}
    figure, axis = plt.subplots(figsize=(6, 2.8))
    for name, runs in found.items():
        axis.semilogx([n for n, _ in runs], [x.std().item() for _, x in runs], "o-", label=name)
    axis.axhline(0.6, color="black", linestyle=":", label="the data")
    axis.set(xlabel="calls of the network", ylabel="deviation of the samples")
    axis.legend(fontsize=8)
    plt.show()

# %% [markdown]
# **★ More, without points.** (1) Accept or reject each Langevin step (Metropolis): the bias of 1.1 disappears. (2) DDPM with $\beta_t$ in the place of $\tilde\beta_t$ on 2.8's two schedules: when is it better? (3) Guide the digits: give your network labels (cluster the pictures, or find the classes) and draw only threes. (4) Classifier guidance on the Gaussians of
# 2.10. (5) Super-resolution: 4×4 → 8×8 by giving the small picture to the network. (6) Discrete diffusion (D3PM) on the bits themselves.
#
# **Glossary.** energy = энергия · score = скор-функция, градиент логарифма плотности · law = распределение · noise level = уровень шума · schedule = расписание шума · reverse step = обратный шаг · sampler = алгоритм сэмплирования · denoising = удаление шума · guidance = управление генерацией · null label = пустая метка · held out = отложенная выборка · chain = цепь · step size = размер шага ·
# deviation = стандартное отклонение
#
# **Before you hand in:** restart the kernel, run everything, save. Hand in the notebook, and `digits_model.pt` beside it if you like: it is loaded into what `make_digits_denoiser()` builds, and nothing is trained on digits. If you change that network later, run its training again, or leave the file out: old weights fit no new network. The mixture is always trained anew.
