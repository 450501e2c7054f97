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
# # Homework 1. Autoregressive models
#
# An autoregressive model writes the probability of an image as a product of conditionals, one for each pixel,
#
# $$
# p_\theta(x) = \prod_{i=0}^{n-1} p_\theta(x_i \mid x_0, \dots, x_{i-1}),
# $$
#
# and lets one neural network compute all of them at once. It is the only family of deep generative models whose likelihood is exact, cheap and needs no
# trick. Everything difficult is in one requirement: **the output for pixel $i$ must not see pixel $i$ or anything after it**. You will meet that requirement
# three times, each time enforced by other means:
#
# | part | model | who enforces the order | points |
# |---|---|---|---|
# | 1 | theory: likelihood, entropy, masks, receptive fields | – | 4 |
# | 2 | MADE | masks on the weights of a perceptron | 2.5 |
# | 3 | PixelCNN | masks on the kernels of a convolution | 4 |
# | 4 | causal image transformer | a mask on attention, and a start token | 2.5 |
# | 5 | two trained PixelCNNs | – | 2 |
#
# **How to work.** Fill the places marked `YOUR CODE HERE` (delete the line `raise NotImplementedError()`), run the cell, then run the `check("...")` cell below it: it
# says within a second what holds and what does not. Under each task a list **What is checked** names everything that is scored, and nothing else is. You may add
# cells, helper functions and optional arguments; names, required arguments and shapes must stay. A blank is 3–15 lines. All of it runs on a laptop CPU: the two
# trainings take some seconds each.
#
# **Conventions**, the same in every task:
#
# - A binary pixel is a float, `0.` or `1.` A batch of images `x` has shape `(B, 1, H, W)`, a batch of vectors `(B, n)`.
# - Order is **raster order**: row by row from the top, left to right inside a row; pixel $(r, c)$ has index $i = rW + c$, counted from 0. A vector has its natural order.
# - A *network* `net` is anything callable that maps `x` to **logits of the same shape**: $p(x_i = 1 \mid x_{< i}) = \sigma(\ell_i)$, where $\sigma(\ell) = 1/(1+e^{-\ell})$. Your functions
#   take the network as an argument and must work with any network, not only with your own class (it may have no parameters at all).
# - Log-probabilities are in **nats** (natural logarithm), **summed over pixels**, one number for each image: shape `(B,)`. Where something else is meant, the task says so.
# - Results have the dtype of the input, and modules work in double precision after `.double()`. An argument is never modified. Row $b$ of a result depends on row $b$ of the input only.
# - Samplers return `float32` tensors of zeros and ones without a gradient graph. They may draw their random numbers in any order and by any method, from PyTorch's global generator:
#   the same `torch.manual_seed` gives the same samples, another seed gives others. What is tested is their *law*.
#
# **References**: MADE ([Germain et al., 2015](https://arxiv.org/abs/1502.03509)) · PixelRNN and PixelCNN ([van den Oord et al., 2016](https://arxiv.org/abs/1601.06759)) ·
# gated PixelCNN ([van den Oord et al., 2016](https://arxiv.org/abs/1606.05328)) · PixelCNN++ ([Salimans et al., 2017](https://arxiv.org/abs/1701.05517)) ·
# Attention is all you need ([Vaswani et al., 2017](https://arxiv.org/abs/1706.03762)) · Image Transformer ([Parmar et al., 2018](https://arxiv.org/abs/1802.05751)).

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
        print(f"Not yet: `{error.name}` is made by a cell above.")


def show(axes, images, title="", columns=8):
    """Draw the first images of a batch (B, 1, H, W) as a grid with `columns` columns."""
    framed = F.pad(images[:, 0].float(), (1, 1, 1, 1), value=0.5)
    grid = torch.cat([torch.cat(list(row), dim=1) for row in framed.split(columns)])
    axes.imshow(grid, cmap="gray", vmin=0, vmax=1)
    axes.set_title(title, fontsize=10)
    axes.axis("off")


# %% [markdown]
# ## The data
#
# **Bars.** A $4 \times 4$ image: toss a fair coin for the orientation (rows or columns), make each of the four bars white with probability ½ independently, and at last flip every
# pixel independently with probability 0.05. The law is simple enough to be known exactly, so we can say not only "the loss went down" but *how far from perfect the model still is*.
#
# **Digits.** The 1797 handwritten digits of $8 \times 8$ pixels that come with scikit-learn, made binary by a threshold in the middle of the grey scale. The first 1500 are for training, the other 297, by other
# writers, are held out.

# %%
def make_bars(n, side=4, flip=0.05, generator=None):
    """Draw n bar images, shape (n, 1, side, side)."""
    bars = (torch.rand(n, side, generator=generator) < 0.5).float()
    rows = bars[:, :, None].expand(n, side, side)
    columns = bars[:, None, :].expand(n, side, side)
    x = torch.where(torch.rand(n, 1, 1, generator=generator) < 0.5, rows, columns)
    noise = (torch.rand(n, side, side, generator=generator) < flip).float()
    return (x - noise).abs()[:, None]


def load_digits_binary():
    """The digits as zeros and ones: training (1500, 1, 8, 8) and held out (297, 1, 8, 8)."""
    from sklearn.datasets import load_digits

    images = torch.tensor(load_digits().images > 7).float()[:, None]
    return images[:1500], images[1500:]


bars_train = make_bars(8000, generator=torch.Generator().manual_seed(1))
digits_train, digits_test = load_digits_binary()

figure, (left, right) = plt.subplots(1, 2, figsize=(8, 2.6))
show(left, bars_train[:32], "bars, 5 % of the pixels flipped")
show(right, digits_train[:32], "digits")
plt.show()

# %% [markdown]
# # Part 1. Theory (4 points)
#
# The first two tasks are written by hand and read by a human: short and complete beats long. Formulas go between dollar signs.
#
# ## 1.1 Likelihood, divergence and the floor of a loss (1 point, by hand)
#
# Let $p$ be the true law of the data on a finite set, $H(p) = -\sum_x p(x) \ln p(x)$ its entropy, and $p_\theta$ a model with $p_\theta(x) > 0$ everywhere.
#
# 1. (0.4) Show that $\mathbb{E}_{p}[-\ln p_\theta(x)] = H(p) + \mathrm{KL}(p \,\|\, p_\theta)$. Conclude that maximum likelihood on infinitely much data minimises the forward KL divergence, and that *no*
#    model has an expected test loss below $H(p)$. What does the excess of the test loss over $H(p)$ measure?
# 2. (0.4) Let the model treat the pixels as independent, $p_\theta(x) = \prod_i \mu_i^{x_i} (1-\mu_i)^{1-x_i}$. Which $\mu$ is best, and what is the excess of this best model, in terms of entropies? Give its
#    value in nats for the $4\times4$ bars with 5 % flips, where $H = 6.496$ nats.
# 3. (0.2) A classmate trained a PixelCNN on those bars and reports a test loss of 0.001 nats per image, on fresh images. Why is that not a success, and what is the most likely mistake?

# %% [markdown] nbgrader={"grade": true, "grade_id": "theory-likelihood", "locked": false, "points": 1, "schema_version": 3, "solution": true, "task": false}
# <!-- ### BEGIN SOLUTION -->
# **1.** Add and subtract $\ln p(x)$ under the expectation:
# $\mathbb{E}_p[-\ln p_\theta] = \mathbb{E}_p[-\ln p] + \mathbb{E}_p\!\left[\ln \tfrac{p}{p_\theta}\right] = H(p) + \mathrm{KL}(p\|p_\theta)$.
# By the law of large numbers the mean log-likelihood of infinitely much data is $\mathbb{E}_p[\ln p_\theta]$; $H(p)$ does not depend on $\theta$, so maximising it over $\theta$ minimises
# $\mathrm{KL}(p\|p_\theta)$. By Jensen's inequality $\mathrm{KL} \ge 0$, with equality only for $p_\theta = p$, so the expected test loss is at least $H(p)$, and the excess over $H(p)$ *is* the divergence
# $\mathrm{KL}(p\|p_\theta)$.
#
# **2.** The expected loss is $\sum_i \left[-m_i \ln \mu_i - (1-m_i)\ln(1-\mu_i)\right]$ with $m_i = \mathbb{E}_p[x_i]$. Each term is the cross-entropy of two Bernoulli laws, by part 1 smallest at $\mu_i = m_i$, where
# it equals $H(x_i)$. The excess is $\sum_i H(x_i) - H(p)$, the multi-information of the pixels. For the bars every $m_i = \tfrac12$ by symmetry, so it is $16 \ln 2 - 6.496 = 11.090 - 6.496 = 4.594$ nats.
#
# **3.** By part 1 the expected loss of any normalised model on fresh images is at least 6.496 nats; 0.001 is impossible, so the reported number is not the negative logarithm of a probability. Most likely information leaks: the
# logit of a pixel sees the pixel itself (a type-B mask in the first layer, or no mask at all), and the network has learned to copy. Then $\sum_x \prod_i p(x_i \mid \dots) \ne 1$.
# <!-- ### END SOLUTION -->

# %% [markdown] tags=["rubric"]
# - 0.2 part 1: splits the expected loss into entropy and divergence by a correct calculation
# - 0.1 part 1: only the divergence depends on the parameters, so maximum likelihood minimises the forward one
# - 0.1 part 1: the divergence is not negative (Jensen or Gibbs), and the excess of the loss is that divergence
# - 0.2 part 2: the best mean is the true mean of each pixel, with a reason
# - 0.1 part 2: the excess is the sum of the pixels' entropies minus the joint entropy
# - 0.1 part 2: 4.59 nats (11.09 minus 6.496); 4.6 is right as well
# - 0.1 part 3: a loss below the entropy cannot belong to a normalised model
# - 0.1 part 3: names a leak of the pixel into its own logit, such as a wrong first mask

# %% [markdown]
# ## 1.2 Parameters, masks and a blind spot (1 point, by hand)
#
# 1. (0.3) How many free parameters has (a) a table of all probabilities of $n$ binary pixels; (b) the chain rule with a separate table for each conditional $p(x_i \mid x_{< i})$; (c) the chain rule with a logistic
#    regression (with intercept) for each conditional; (d) a MADE with one hidden layer of $h$ units and biases, counting masked weights too? Compare them for $n = 16$, $h = 64$. What do (a) and (b) have to do with each other?
# 2. (0.4) In MADE input $j$ has degree $d(j) = j + 1$, hidden unit $k$ has a degree $m(k) \in \{1, \dots, n-1\}$, output $i$ has degree $d(i) = i + 1$. The first mask keeps the weight from input $j$ to hidden unit $k$
#    when $m(k) \ge d(j)$, the second keeps the weight from hidden unit $k$ to output $i$ when $d(i) > m(k)$. Prove that the product $M^{(2)} M^{(1)}$ is strictly lower triangular. What does its entry $(i, j)$ count? What goes wrong if
#    the second rule has $\ge$, and what if the first rule has $>$?
# 3. (0.3) A stack of $3\times3$ convolutions, the first with a type-A and the others with a type-B mask (task 3.1). Prove that the logit at $(r, c)$ never depends on the pixel $(r-1, c+2)$, however many layers there are, although that pixel
#    comes earlier in raster order. How does the gated PixelCNN repair this?

# %% [markdown] nbgrader={"grade": true, "grade_id": "theory-masks", "locked": false, "points": 1, "schema_version": 3, "solution": true, "task": false}
# <!-- ### BEGIN SOLUTION -->
# **1.** (a) $2^n - 1$: one number for each image, minus one because they sum to 1. (b) Pixel $i$ needs one number for each of the $2^i$ pasts: $\sum_{i=0}^{n-1} 2^i = 2^n - 1$. The counts agree because (b) is only
# another way to write the same table: no law is lost, nothing is saved. (c) $\sum_{i=0}^{n-1} (i+1) = n(n+1)/2$. (d) $nh + h + hn + n = 2nh + h + n$.
# For $n=16$, $h=64$: 65535, 65535, 136 and 2128.
#
# **2.** $(M^{(2)}M^{(1)})_{ij} = \sum_k M^{(2)}_{ik} M^{(1)}_{kj}$ counts the hidden units $k$ with a kept weight on both sides, the paths from input $j$ to output $i$. Such a $k$ has $d(i) > m(k) \ge d(j)$, so $i > j$; for $i \le j$ the sum is zero.
# With $\ge$ in the second rule a path exists for $i = j$ (any $k$ with $m(k) = d(i)$): output $i$ sees pixel $i$, information leaks and the probabilities no longer sum to 1. With $>$ in the first rule no
# information leaks, but a path needs $d(i) > m(k) > d(j)$, so $i \ge j + 2$: every pixel loses its nearest predecessor. The model is still normalised, only weaker, so a test of "sums to 1" does not see it.
#
# **3.** A layer moves by a step $(\Delta r, \Delta c)$ from an output to an input it sees: either $\Delta r = -1$ and $\Delta c \in \{-1, 0, 1\}$, or $\Delta r = 0$ and $\Delta c \in \{-1, 0\}$. In each case $\Delta c \le -\Delta r$.
# Adding the steps of all layers, every pixel that is seen satisfies $\Delta c \le -\Delta r$. The pixel $(r-1, c+2)$ has $\Delta c = 2 > 1 = -\Delta r$. The gated PixelCNN runs two stacks: a vertical one without a blind spot, which sees whole
# rows above, and a horizontal one for the current row, which receives the vertical one's result.
# <!-- ### END SOLUTION -->

# %% [markdown] tags=["rubric"]
# - 0.1 part 1: both tables have 65535 parameters, as formulas or numbers
# - 0.1 part 1: 136 for the regressions and 2128 for the MADE; one of them right earns 0.05
# - 0.1 part 1: says that (a) and (b) describe the same laws, so nothing is lost or saved
# - 0.2 part 2: proves that the product is strictly lower triangular, and its entry counts paths
# - 0.1 part 2: with the second rule weakened the output sees its own pixel
# - 0.1 part 2: with the first rule strict every pixel loses its nearest predecessor, and nothing leaks
# - 0.2 part 3: bounds the columns that a path through the layers can reach, for any number of layers
# - 0.1 part 3: names the vertical and the horizontal stack

# %% [markdown]
# ## 1.3 The exact law of the bars, and bits per dimension (1 point)
#
# For images of $s \times s$ pixels there are $2 \cdot 2^s$ noiseless pictures: an orientation $o$ and the colours $b \in \{0, 1\}^s$ of the bars give the pattern $t^{(o,b)}$, each with probability
# $\tfrac12 2^{-s}$. After the flips
#
# $$
# p(x) = \sum_{o, b} \frac{1}{2 \cdot 2^{s}} \prod_{i} \varepsilon^{[x_i \ne t_i^{(o,b)}]} (1 - \varepsilon)^{[x_i = t_i^{(o,b)}]},
# \qquad \varepsilon = \texttt{flip}.
# $$
#
# Note that the all-white and the all-black pattern arise from both orientations and count twice. Work with logarithms and `torch.logsumexp`.
#
# Losses of images are often quoted in **bits per dimension**: $\mathrm{bpd} = \dfrac{\text{nats per image}}{n \ln 2}$ with $n$ pixels. An image of fair coin flips has exactly 1 bit per dimension.
#
# *Worked example.* For $s = 1$ both orientations give the same two patterns, so $p(0) = p(1) = \tfrac12$: 0.6931 nats, 1 bit per dimension.
#
# **What is checked**
# - `bars_log_prob` agrees with the formula for several $s$ and several $\varepsilon \in (0, 1)$, in nats, shape `(B,)`, in the input's dtype; the probabilities of all images sum to 1.
# - The entropy computed from it for $4 \times 4$ and 5 % flips.
# - `bits_per_dim` for a number and for a tensor of numbers.

# %% nbgrader={"grade": false, "grade_id": "theory-entropy-solution", "locked": false, "schema_version": 3, "solution": true, "task": false}
def bars_log_prob(x, flip=0.05):
    """Exact log-probability of bar images.

    x: (B, 1, s, s) of zeros and ones; flip: probability of a flip, in (0, 1).
    Returns (B,), nats.
    """
    ### BEGIN SOLUTION
    side = x.shape[-1]
    bars = torch.tensor(list(itertools.product([0.0, 1.0], repeat=side)), dtype=x.dtype)
    rows = bars[:, :, None].expand(-1, side, side)
    columns = bars[:, None, :].expand(-1, side, side)
    patterns = torch.cat([rows, columns]).flatten(1)  # (2 * 2^s, s * s)
    pixels = x.flatten(1)
    flipped = pixels @ (1 - patterns).T + (1 - pixels) @ patterns.T  # pixels flipped, (B, 2 * 2^s)
    log_joint = flipped * math.log(flip) + (side * side - flipped) * math.log(1 - flip)
    return torch.logsumexp(log_joint, dim=1) - math.log(len(patterns))
    ### END SOLUTION


def bits_per_dim(nats, n_dims):
    """Convert nats per image (a number or a tensor) to bits per dimension."""
    ### BEGIN SOLUTION
    return nats / (n_dims * math.log(2))
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "theory-entropy", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check("theory-entropy")

# %% [markdown]
# There are only $2^{16} = 65536$ images, so the entropy is one sum. Expect 6.4960 nats, 0.5857 bits per pixel; this number will be the floor of every loss on the bars in this homework.

# %%
with when_written():
    every_image = torch.tensor(list(itertools.product([0.0, 1.0], repeat=16))).view(-1, 1, 4, 4)
    log_p = bars_log_prob(every_image.double())
    bars_entropy = -(log_p.exp() * log_p).sum().item()
    print(f"sum of probabilities {log_p.exp().sum():.6f}")
    print(f"entropy {bars_entropy:.4f} nats, {bits_per_dim(bars_entropy, 16):.4f} bits per pixel")
    order = log_p.argsort(descending=True)
    figure, axes = plt.subplots(figsize=(8, 1.3))
    show(axes, every_image[order[:32]], "the 32 most probable images", columns=16)
    plt.show()

# %% [markdown]
# ## 1.4 Receptive fields (1 point)
#
# **Dilated causal convolutions** (WaveNet). A layer with kernel size $k$ and dilation $d$ computes $y_t$ from $x_t, x_{t-d}, \dots, x_{t-(k-1)d}$. On how many inputs does one output of a stack of such layers depend, for given
# dilations? Count the newest input too. *Example:* one layer with $k = 2$, $d = 1$ sees 2 inputs; a second with $d = 2$ makes it 4.
#
# **PixelCNN.** A stack of $L$ convolutions of $3 \times 3$, the first with a type-A, the others with a type-B mask. A type-A mask lets the output at $(r, c)$ see $(r-1, c-1)$, $(r-1, c)$, $(r-1, c+1)$ and $(r, c-1)$; type B adds $(r, c)$ itself.
# On how many pixels does a logit far from the borders depend? Find how far each row above reaches to the left and to the right, then add up. *Example:* $L = 1$ gives 4, $L = 2$ gives 11.
#
# **What is checked**
# - `wavenet_receptive_field` for several kernel sizes and lists of dilations (an empty list gives 1: the input itself). Only stacks in which no input inside the field is skipped.
# - `pixelcnn_field_size` for several $L \ge 1$. Both return an `int`.

# %% nbgrader={"grade": false, "grade_id": "theory-receptive-solution", "locked": false, "schema_version": 3, "solution": true, "task": false}
def wavenet_receptive_field(kernel_size, dilations):
    """Number of inputs that one output of a stack of causal convolutions depends on."""
    ### BEGIN SOLUTION
    # Each layer reaches (kernel_size - 1) * dilation further back, and reaches add up.
    return 1 + (kernel_size - 1) * sum(dilations)
    ### END SOLUTION


def pixelcnn_field_size(n_layers):
    """Number of pixels that one logit depends on: a 3 x 3 type-A layer, then n_layers - 1 of type B."""
    ### BEGIN SOLUTION
    # The own row: L pixels to the left. The row d above, d = 1 .. L: from L to the left until d to
    # the right, since only a step up can go right. Sum: L + sum_d (L + d + 1) = L (3 L + 5) / 2.
    return n_layers * (3 * n_layers + 5) // 2
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "theory-receptive", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check("theory-receptive")

# %% [markdown]
# In task 3.5 you will measure the second formula on a real network.

# %% [markdown]
# # Part 2. MADE (2.5 points)
#
# A fully connected network from $n$ pixels to $n$ logits becomes autoregressive when some of its weights are switched off. Give every unit a *degree*: input $j$ and output $j$ have degree $j + 1$, a hidden unit has some degree
# between 1 and $n - 1$, meaning "I may know the first $m$ pixels". Then a weight is kept when it does not carry a secret back:
#
# $$
# M^{(l)}_{kj} = [\, m^{(l)}(k) \ge m^{(l-1)}(j) \,] \quad \text{into a hidden layer}, \qquad M^{(L)}_{ik} = [\, i + 1 > m^{(L-1)}(k) \,] \quad \text{into the output}.
# $$
#
# Only the last rule is strict. In task 1.2 you proved that the product of the masks is then strictly lower triangular: output $i$ depends on the pixels before $i$ only.
#
# *Worked example*, $n = 3$ with two hidden units of degrees 1 and 2:
#
# $$
# M^{(1)} = \begin{pmatrix} 1 & 0 & 0 \\ 1 & 1 & 0 \end{pmatrix}, \qquad
# M^{(2)} = \begin{pmatrix} 0 & 0 \\ 1 & 0 \\ 1 & 1 \end{pmatrix}, \qquad
# M^{(2)} M^{(1)} = \begin{pmatrix} 0 & 0 & 0 \\ 1 & 0 & 0 \\ 2 & 1 & 0 \end{pmatrix}.
# $$
#
# Output 0 sees nothing, output 1 sees pixel 0, and output 2 sees pixel 0 along two paths and pixel 1 along one.
#
# ## 2.1 Masks (1 point)
#
# Write `made_masks`, which returns one mask for each linear layer, and the forward pass of `MaskedLinear`. Masks have the layout of `nn.Linear.weight`: `(out_features, in_features)`. How you give degrees to the hidden units is up to you, as long as all of
# $1, \dots, n-1$ occur when there is room.
#
# **What is checked** ($n \ge 2$, at least one hidden layer)
# - The list has `len(hidden_sizes) + 1` tensors of zeros and ones, dtype float, with the right shapes.
# - The product $M^{(L)} \cdots M^{(1)}$ is zero on and above the diagonal, for any hidden sizes.
# - It is positive *everywhere* below the diagonal when every hidden size is at least $n - 1$: nothing is lost needlessly.
# - `MaskedLinear(mask)` computes $x (M \odot W)^\top + b$ whatever values its `weight` and `bias` have now; the mask is not a trainable parameter.

# %% nbgrader={"grade": false, "grade_id": "made-masks-solution", "locked": false, "schema_version": 3, "solution": true, "task": false}
def made_masks(n_dims, hidden_sizes):
    """Masks of a MADE in natural order.

    n_dims: number of pixels n >= 2; hidden_sizes: sizes of the hidden layers.
    Returns a list of len(hidden_sizes) + 1 float tensors of zeros and ones, of shapes (out, in).
    """
    ### BEGIN SOLUTION
    degrees = [torch.arange(1, n_dims + 1)]
    for size in hidden_sizes:
        degrees.append(1 + torch.arange(size) % (n_dims - 1))
    masks = [(out[:, None] >= into[None, :]).float() for into, out in zip(degrees[:-1], degrees[1:])]
    masks.append((degrees[0][:, None] > degrees[-1][None, :]).float())
    return masks
    ### END SOLUTION


class MaskedLinear(nn.Linear):
    """A linear layer whose weights are multiplied by a fixed mask (out_features, in_features)."""

    def __init__(self, mask):
        super().__init__(mask.shape[1], mask.shape[0])
        self.register_buffer("mask", mask)  # moves with .double(), but is not trained

    def forward(self, x):
        """x: (B, in_features). Returns (B, out_features)."""
        ### BEGIN SOLUTION
        return F.linear(x, self.mask * self.weight, self.bias)
        ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "made-masks", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check("made-masks")

# %% [markdown]
# The masks of a small MADE and their product. The product must be strictly lower triangular, without holes.

# %%
with when_written():
    masks = made_masks(6, (8, 8))
    product = masks[2] @ masks[1] @ masks[0]
    figure, axes = plt.subplots(1, 4, figsize=(9, 2.4))
    titles = ["input → hidden", "hidden → hidden", "hidden → output", "number of paths"]
    for panel, picture, title in zip(axes, [*masks, product], titles):
        panel.imshow(picture, cmap="viridis", vmin=0)
        panel.set_title(title, fontsize=10)
        panel.set_xlabel("from")
        panel.set_ylabel("to")
    for (i, j), paths in np.ndenumerate(product.numpy()):
        axes[3].text(j, i, int(paths), ha="center", va="center", color="white", fontsize=7)
    figure.tight_layout()
    plt.show()

# %% [markdown]
# The whole model is then a short class, given here.

# %%
class MADE(nn.Module):
    """MADE (Germain et al., 2015): pixels (B, n) to logits (B, n)."""

    def __init__(self, n_dims, hidden_sizes=(64, 64)):
        super().__init__()
        layers = []
        for mask in made_masks(n_dims, hidden_sizes):
            layers += [MaskedLinear(mask), nn.ReLU()]
        self.layers = nn.Sequential(*layers[:-1])

    def forward(self, x):
        return self.layers(x)


# %% [markdown]
# ## 2.2 Log-likelihood (0.75 points)
#
# With logits $\ell_i$ the conditional of a pixel is $p(x_i \mid x_{< i}) = \sigma(\ell_i)^{x_i} (1 - \sigma(\ell_i))^{1 - x_i}$, and
#
# $$
# \ln p(x) = \sum_{i} \left[ x_i \ln \sigma(\ell_i) + (1 - x_i) \ln \sigma(-\ell_i) \right].
# $$
#
# Do not write `torch.log(torch.sigmoid(...))`: in floating point $\sigma(800) = 1$ and $\sigma(-800) = 0$, whose logarithm is $-\infty$. PyTorch has functions that avoid this. *Example:* logits $(0, \ln 3)$ and pixels $(1, 1)$
# give $\ln \tfrac12 + \ln \tfrac34 = -0.9808$.
#
# **What is checked**
# - `bernoulli_log_prob` has the shape and dtype of its arguments, agrees with the formula for tensors of any shape, and stays finite and exact for logits $\pm 800$.
# - `made_log_prob` is the **sum** over pixels, in nats, shape `(B,)`, for any network; row $b$ depends on image $b$ only.
# - For your MADE the probabilities of all $2^n$ images sum to 1, no logit sees its own pixel or a later one, and every logit after the first sees its predecessor.

# %% nbgrader={"grade": false, "grade_id": "made-log-prob-solution", "locked": false, "schema_version": 3, "solution": true, "task": false}
def bernoulli_log_prob(logits, x):
    """Log-probability of each pixel: logits and x of the same shape, result of that shape, nats."""
    ### BEGIN SOLUTION
    return x * F.logsigmoid(logits) + (1 - x) * F.logsigmoid(-logits)
    ### END SOLUTION


def made_log_prob(net, x):
    """Log-likelihood of vectors x (B, n). Returns (B,), nats, summed over pixels."""
    ### BEGIN SOLUTION
    return bernoulli_log_prob(net(x), x).sum(dim=1)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "made-log-prob", "locked": true, "points": 0.75, "schema_version": 3, "solution": false, "task": false}
check("made-log-prob")

# %% [markdown]
# ## 2.3 Sampling (0.75 points)
#
# Ancestral sampling follows the product: draw $x_0 \sim p(x_0)$, then $x_1 \sim p(x_1 \mid x_0)$, and so on. In each of the $n$ passes the network sees the pixels drawn so far (anything may stand in the places that are not yet drawn: no logit that you use depends on them), and
# **one** new pixel is drawn for every image of the batch.
#
# **What is checked**
# - Shape `(n_samples, n_dims)`, `float32`, only zeros and ones, no gradient graph; two calls differ, the same `torch.manual_seed` repeats.
# - The empirical law of many samples equals the exact law of a given network with strong conditionals (a χ² test that a right sampler fails once in a million runs).

# %% nbgrader={"grade": false, "grade_id": "made-sampling-solution", "locked": false, "schema_version": 3, "solution": true, "task": false}
@torch.no_grad()
def made_sample(net, n_samples, n_dims):
    """Draw vectors pixel by pixel. Returns (n_samples, n_dims) float32 zeros and ones."""
    x = torch.zeros(n_samples, n_dims)
    ### BEGIN SOLUTION
    for i in range(n_dims):
        x[:, i] = torch.bernoulli(torch.sigmoid(net(x)[:, i]))
    return x
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "made-sampling", "locked": true, "points": 0.75, "schema_version": 3, "solution": false, "task": false}
check("made-sampling")

# %% [markdown]
# Three hundred steps, a second or so, show that it works. Expect a loss near 7 nats, half a nat above the entropy, and samples that are clearly bars. The dotted line is the best that independent pixels can do.

# %%
with when_written("bars_entropy"):
    torch.manual_seed(0)
    made = MADE(16, (128, 128))
    optimizer = torch.optim.Adam(made.parameters(), lr=5e-3)
    losses = []
    for step in range(300):
        batch = bars_train[torch.randint(len(bars_train), (128,))].flatten(1)
        loss = -made_log_prob(made, batch).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    test_loss = -made_log_prob(made, make_bars(5000).flatten(1)).mean().item()
    print(f"MADE on bars: {test_loss:.2f} nats per image, entropy {bars_entropy:.2f}")
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(10, 2.4))
    left.plot(losses)
    left.axhline(bars_entropy, color="black", linewidth=1, label="entropy of the data")
    left.axhline(16 * math.log(2), color="black", linestyle=":", label="independent pixels")
    left.set(xlabel="step", ylabel="nats per image")
    left.legend(fontsize=7)
    show(middle, bars_train[:32], "data")
    show(right, made_sample(made, 32, 16).view(-1, 1, 4, 4), "samples of MADE")
    plt.show()

# %% [markdown]
# # Part 3. PixelCNN (4 points)
#
# MADE needs a weight for every pair of pixels and knows nothing about images. A convolution shares its weights over all positions; to make it autoregressive it is enough to mask its kernel, the same way at each position.
#
# ## 3.1 Masked convolutions (1 point)
#
# The mask of a $k \times k$ kernel ($k$ odd) keeps the positions that come strictly before the centre in raster order: all rows above, and in the centre row everything to the left. A **type-A** mask stops there and is used in the first layer, where the centre is the pixel to be predicted.
# A **type-B** mask also keeps the centre: from the second layer on, the feature at the centre no longer contains that pixel. For $k = 3$:
#
# $$
# A = \begin{pmatrix} 1 & 1 & 1 \\ 1 & 0 & 0 \\ 0 & 0 & 0 \end{pmatrix}, \qquad
# B = \begin{pmatrix} 1 & 1 & 1 \\ 1 & 1 & 0 \\ 0 & 0 & 0 \end{pmatrix}.
# $$
#
# PyTorch's `F.conv2d` does not flip the kernel: entry $(0, 0)$ multiplies the pixel above and to the left of the centre, as the picture suggests.
#
# **What is checked**
# - `conv_mask`, both types, $k = 1, 3, 5, 7$: shape `(k, k)`, float, exact.
# - `MaskedConv2d(mask_type, in_channels, out_channels, kernel_size)` keeps height and width, multiplies the mask into the weights at every forward pass (also after the weights have been changed or loaded), has a bias that is not masked, and equals an ordinary zero-padded convolution with the masked kernel.
# - From outside: an output depends on all pixels that its mask keeps, and on no others.

# %% nbgrader={"grade": false, "grade_id": "pixelcnn-mask-solution", "locked": false, "schema_version": 3, "solution": true, "task": false}
def conv_mask(mask_type, kernel_size):
    """The mask of a kernel of odd size. Returns (kernel_size, kernel_size) floats 0 or 1."""
    if mask_type not in ("A", "B"):
        raise ValueError(f'mask_type must be "A" or "B", got {mask_type!r}')
    ### BEGIN SOLUTION
    centre = kernel_size // 2
    mask = torch.zeros(kernel_size, kernel_size)
    mask[:centre] = 1
    mask[centre, :centre] = 1
    if mask_type == "B":
        mask[centre, centre] = 1
    return mask
    ### END SOLUTION


class MaskedConv2d(nn.Conv2d):
    """A convolution that keeps height and width and sees only what `conv_mask` allows."""

    def __init__(self, mask_type, in_channels, out_channels, kernel_size):
        super().__init__(in_channels, out_channels, kernel_size, padding=kernel_size // 2)
        self.register_buffer("mask", conv_mask(mask_type, kernel_size))

    def forward(self, x):
        """x: (B, in_channels, H, W). Returns (B, out_channels, H, W)."""
        ### BEGIN SOLUTION
        return F.conv2d(x, self.weight * self.mask, self.bias, padding=self.padding)
        ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "pixelcnn-mask", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check("pixelcnn-mask")

# %%
with when_written():
    figure, axes = plt.subplots(1, 4, figsize=(8, 2))
    for panel, (kind, size) in zip(axes, [("A", 3), ("B", 3), ("A", 5), ("B", 5)]):
        panel.imshow(conv_mask(kind, size), cmap="viridis", vmin=0, vmax=1)
        panel.set_title(f"type {kind}, {size} × {size}", fontsize=10)
        panel.set(xticks=[], yticks=[])
    plt.show()

# %% [markdown]
# ## 3.2 The network and its likelihood (1 point)
#
# Build `PixelCNN`: **exactly** `n_layers` masked convolutions with `kernel_size` × `kernel_size` kernels, the first of type A, all others of type B. Everything else is pointwise: activations, residual sums, $1 \times 1$ convolutions (a head of one or two of them turns features into a single logit).
# No batch normalisation: it would mix the images of a batch. A form that trains well is $h \leftarrow h + \mathrm{conv}_B(\mathrm{relu}(h))$; mapping the input to $2x - 1$ helps a little.
#
# Then the likelihood in three forms. Mind the units:
#
# | function | value | shape |
# |---|---|---|
# | `image_log_prob(net, x)` | $\ln p(x) = \sum_{i} \ln p(x_i \mid x_{< i})$, nats, summed over the pixels of an image | `(B,)` |
# | `nll_loss(net, x)` | $-\frac1B \sum_b \ln p(x^{(b)})$, nats **per image**: mean over the batch, sum over pixels | scalar |
# | `bits_per_pixel(net, x)` | the same loss in bits **per pixel** | scalar |
#
# *Example:* a network whose logits are all zero gives a $4\times4$ image $-11.0904$ nats, a loss of $11.0904$ and exactly 1 bit per pixel.
#
# **What is checked**
# - `PixelCNN(channels, n_layers, kernel_size)` maps `(B, 1, H, W)` to logits `(B, 1, H, W)` for any height and width, with the defaults `channels=32, n_layers=4, kernel_size=3`; results for an image do not depend on the rest of the batch.
# - No logit depends on its own pixel or a later one. Every logit depends on its left neighbour and on the pixel above it (weights drawn at random). The probabilities of all $3\times3$ images sum to 1.
# - The receptive field is that of exactly `n_layers` masked convolutions, the first of type A, measured for several `n_layers` and `kernel_size`.
# - The three functions for any network, with the units of the table; exact also for logits $\pm 800$; the gradient of `nll_loss` reaches the network.

# %% nbgrader={"grade": false, "grade_id": "pixelcnn-log-prob-solution", "locked": false, "schema_version": 3, "solution": true, "task": false}
class PixelCNN(nn.Module):
    """PixelCNN (van den Oord et al., 2016) for binary images: (B, 1, H, W) to logits (B, 1, H, W)."""

    def __init__(self, channels=32, n_layers=4, kernel_size=3):
        super().__init__()
        ### BEGIN SOLUTION
        self.first = MaskedConv2d("A", 1, channels, kernel_size)
        self.rest = nn.ModuleList()
        for _ in range(n_layers - 1):
            self.rest.append(MaskedConv2d("B", channels, channels, kernel_size))
        self.head = nn.Sequential(nn.ReLU(), nn.Conv2d(channels, channels, 1), nn.ReLU(), nn.Conv2d(channels, 1, 1))
        ### END SOLUTION

    def forward(self, x):
        ### BEGIN SOLUTION
        h = self.first(2 * x - 1)
        for layer in self.rest:
            h = h + layer(F.relu(h))
        return self.head(h)
        ### END SOLUTION


def image_log_prob(net, x):
    """Log-likelihood of images x (B, 1, H, W). Returns (B,), nats, summed over pixels."""
    ### BEGIN SOLUTION
    return bernoulli_log_prob(net(x), x).sum(dim=(1, 2, 3))
    ### END SOLUTION


def nll_loss(net, x):
    """Negative log-likelihood in nats per image, mean over the batch. Returns a scalar."""
    ### BEGIN SOLUTION
    return -image_log_prob(net, x).mean()
    ### END SOLUTION


def bits_per_pixel(net, x):
    """Negative log-likelihood in bits per pixel, mean over the batch. Returns a scalar tensor."""
    ### BEGIN SOLUTION
    return nll_loss(net, x) / (x[0].numel() * math.log(2))
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "pixelcnn-log-prob", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check("pixelcnn-log-prob")

# %% [markdown]
# The picture that finds most mistakes: which logit (row) moves when which pixel (column) is flipped, for a network with random weights. It must be dark on and above the diagonal. Why is it not full below?

# %%
with when_written():
    torch.manual_seed(0)
    net = PixelCNN(channels=8, n_layers=2)
    x = (torch.rand(1, 1, 4, 4) < 0.5).float()
    flips = (x.flatten() - torch.eye(16)).abs().view(16, 1, 4, 4)  # image j has pixel j flipped
    with torch.no_grad():
        change = (net(flips) - net(x)).abs().view(16, 16).T  # (logit, flipped pixel)
    figure, panel = plt.subplots(figsize=(3.4, 3.4))
    panel.imshow(change > 0, cmap="viridis")
    panel.plot([-0.5, 15.5], [-0.5, 15.5], color="white", linewidth=1)
    panel.set(xlabel="flipped pixel", ylabel="logit that moves")
    plt.show()

# %% [markdown]
# ## 3.3 Sampling (0.75 points)
#
# As in MADE, now over two loops: rows from the top, in each row from left to right, $HW$ passes of the network, one new pixel per image in each pass.
#
# **What is checked**
# - Shape `(n_samples, 1, height, width)` also for images that are not square, `float32`, only zeros and ones, no gradient graph; two calls differ, the same `torch.manual_seed` repeats.
# - The empirical law of many samples equals the exact law of a given network with strong conditionals (χ², a right sampler fails once in a million runs).

# %% nbgrader={"grade": false, "grade_id": "pixelcnn-sampling-solution", "locked": false, "schema_version": 3, "solution": true, "task": false}
@torch.no_grad()
def sample_images(net, n_samples, height, width):
    """Draw images in raster order. Returns (n_samples, 1, height, width) float32 zeros and ones."""
    x = torch.zeros(n_samples, 1, height, width)
    ### BEGIN SOLUTION
    for row in range(height):
        for column in range(width):
            logit = net(x)[:, 0, row, column]
            x[:, 0, row, column] = torch.bernoulli(torch.sigmoid(logit))
    return x
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "pixelcnn-sampling", "locked": true, "points": 0.75, "schema_version": 3, "solution": false, "task": false}
check("pixelcnn-sampling")

# %% [markdown]
# ## 3.4 Completing a partly known image (0.75 points)
#
# Some pixels of each image are known, others are to be filled in. Go through the image in raster order: a known pixel stays, an unknown one is drawn from $p(x_i \mid x_{< i})$, where $x_{< i}$ holds known and already drawn pixels. When the known pixels are the first ones in raster order (an upper half, say), this samples exactly from
# $p(x_{\text{unknown}} \mid x_{\text{known}})$. When known pixels come later it is only a heuristic: a pixel that is drawn does not look ahead at known pixels behind it. That is what we do here.
#
# **What is checked**
# - `known` is a boolean tensor of the shape of `x`, and differs from image to image. Known pixels come back exactly as they were, unknown ones as zeros and ones; `x` and `known` are not modified; no gradient graph.
# - Whatever stands in `x` at unknown places (it may be $-1$) has no influence on the law of the result.
# - The law of the unknown pixels is the product of $p(x_i \mid x_{< i})$ over them (χ²), whichever pixels are known. So with everything known the result equals `x`, and with nothing known it has the law of `sample_images`.

# %% nbgrader={"grade": false, "grade_id": "pixelcnn-complete-solution", "locked": false, "schema_version": 3, "solution": true, "task": false}
@torch.no_grad()
def complete_images(net, x, known):
    """Fill in the unknown pixels in raster order.

    x: (B, 1, H, W); known: bool (B, 1, H, W), True where a pixel of x is given.
    Returns a new tensor (B, 1, H, W).
    """
    ### BEGIN SOLUTION
    result = torch.where(known, x, torch.zeros_like(x))
    for row in range(x.shape[2]):
        for column in range(x.shape[3]):
            drawn = torch.bernoulli(torch.sigmoid(net(result)[:, 0, row, column]))
            result[:, 0, row, column] = torch.where(known[:, 0, row, column], result[:, 0, row, column], drawn)
    return result
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "pixelcnn-complete", "locked": true, "points": 0.75, "schema_version": 3, "solution": false, "task": false}
check("pixelcnn-complete")

# %% [markdown]
# ## 3.5 The receptive field, measured (0.5 points)
#
# Which pixels does a given logit depend on? Ask automatic differentiation: draw a batch of random images, differentiate the sum over the batch of the logit at (`row`, `column`) with respect to the images, and see where a gradient differs from zero for at least one of them. One image is not enough, since a ReLU that happens to be off hides a path; take 32.
#
# **What is checked**
# - A boolean tensor `(height, width)`, for any network and any position (also at the border): exactly the set of pixels that the logit depends on, also when a ReLU hides a pixel in a third of all images, and for networks that are not causal.
# - Nothing is left behind: parameters of `net` have no `.grad` afterwards that they did not have before.

# %% nbgrader={"grade": false, "grade_id": "pixelcnn-field-solution", "locked": false, "schema_version": 3, "solution": true, "task": false}
def receptive_field(net, height, width, row, column):
    """Pixels that the logit at (row, column) depends on. Returns bool (height, width)."""
    ### BEGIN SOLUTION
    x = torch.rand(32, 1, height, width, requires_grad=True)
    (gradient,) = torch.autograd.grad(net(x)[:, 0, row, column].sum(), x)
    return (gradient != 0).any(dim=0)[0]
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "pixelcnn-field", "locked": true, "points": 0.5, "schema_version": 3, "solution": false, "task": false}
check("pixelcnn-field")

# %% [markdown]
# The field of networks with one to four layers, and how many pixels it has: compare with your formula of task 1.4. The red cross is the predicted pixel. The empty wedge to the right, which no number of layers fills, is the **blind spot** of task 1.2.

# %%
with when_written():
    torch.manual_seed(0)
    figure, axes = plt.subplots(1, 4, figsize=(10, 2.7))
    for n_layers, panel in enumerate(axes, start=1):
        field = receptive_field(PixelCNN(channels=16, n_layers=n_layers), 11, 11, 7, 5)
        panel.imshow(field, cmap="viridis", vmin=0, vmax=1)
        panel.plot(5, 7, "rx")
        formula = pixelcnn_field_size(n_layers)
        panel.set_title(f"layers: {n_layers}, pixels: {field.sum()}, formula: {formula}", fontsize=8)
        panel.set(xticks=[], yticks=[])
    plt.show()

# %% [markdown]
# # Part 4. Causal image transformer (2.5 points)
#
# A transformer reads the pixels as a sequence. Each position asks with a *query* $q_i$, all positions answer with *keys* $k_j$ and *values* $v_j$. Order enters in three places: a mask forbids looking ahead, a **start token** shifts the sequence by one, so that position $i$ reads pixel $i - 1$ and
# predicts pixel $i$, and position embeddings say where one is. Unlike in a PixelCNN, every earlier pixel is one step away, and there is no blind spot.
#
# ## 4.1 Causal attention (0.75 points)
#
# $$
# \mathrm{attention}(q, k, v)_i = \sum_{j} w_{ij} v_j, \qquad
# w_{i\cdot} = \mathrm{softmax}_j \left( \frac{q_i^\top k_j}{\sqrt d} + m_{ij} \right), \qquad
# m_{ij} = \begin{cases} 0 & \text{if } i \text{ may attend to } j \\ -\infty & \text{otherwise,} \end{cases}
# $$
#
# with $d$ the length of a query. Here *a position may attend to itself* and to all before: input $i$ holds pixel $i - 1$ only, so there is nothing to hide.
#
# When we sample with a cache (task 4.3) there are fewer queries than keys: the $T_q$ queries are then the **last** $T_q$ of the $T_k$ positions. So query row $i$ stands at position $T_k - T_q + i$ and may attend to keys $j \le T_k - T_q + i$.
#
# *Example:* `causal_mask(3, 3)` is the lower triangle with the diagonal; `causal_mask(1, 3)` is one row of three `True`; `causal_mask(2, 3)` is `[[True, True, False], [True, True, True]]`.
#
# **What is checked** ($1 \le T_q \le T_k$)
# - `causal_mask`: bool `(n_queries, n_keys)`, `True` where one may attend, exact.
# - `attention`: the formula including $1/\sqrt d$, for `q` of shape `(B, heads, T_q, d)` and `k`, `v` of shape `(B, heads, T_k, d)`, finite for scores of size 1000; no future key or value has any influence.

# %% nbgrader={"grade": false, "grade_id": "transformer-mask-solution", "locked": false, "schema_version": 3, "solution": true, "task": false}
def causal_mask(n_queries, n_keys):
    """Who may attend to whom; queries are the last positions. Returns bool (n_queries, n_keys)."""
    ### BEGIN SOLUTION
    position = torch.arange(n_keys - n_queries, n_keys)
    return torch.arange(n_keys)[None, :] <= position[:, None]
    ### END SOLUTION


def attention(q, k, v):
    """Causal attention: q (B, heads, Tq, d), k and v (B, heads, Tk, d). Returns (B, heads, Tq, d)."""
    ### BEGIN SOLUTION
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])  # (B, heads, Tq, Tk)
    allowed = causal_mask(q.shape[-2], k.shape[-2]).to(q.device)
    weights = torch.softmax(scores.masked_fill(~allowed, -math.inf), dim=-1)
    return weights @ v
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "transformer-mask", "locked": true, "points": 0.75, "schema_version": 3, "solution": false, "task": false}
check("transformer-mask")

# %% [markdown]
# ## 4.2 Start token and forward pass (0.75 points)
#
# `Block` below is given: attention, then a perceptron, both with residual sums and layer normalisation in front. It returns its keys and values too; you need them in task 4.3. Write
#
# - `shift_right`: from pixels $(x_0, \dots, x_{n-1})$ to tokens $(\texttt{START}, x_0, \dots, x_{n-2})$, a tensor of type `long` with `START = 2`;
# - `ImageTransformer.forward`: shift, embed from position 0 on, run the blocks, apply `self.norm` and `self.head`, which gives one logit per position.
#
# **What is checked**
# - `shift_right`: exact, shape `(B, n)`, dtype `torch.long`.
# - `ImageTransformer(n_pixels, width, n_heads, n_layers)` maps `(B, n)` to logits `(B, n)`; the first logit is the same for all `x`.
# - No logit depends on its own pixel or a later one; **every** earlier pixel has influence (weights drawn at random); position matters: exchanging two earlier pixels changes later logits. The probabilities of all images of six pixels sum to 1.

# %%
class Block(nn.Module):
    """One layer of the transformer: h (B, T, width) to h (B, T, width)."""

    def __init__(self, width, n_heads):
        super().__init__()
        self.n_heads = n_heads
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.to_qkv = nn.Linear(width, 3 * width)
        self.project = nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, h, past=None):
        """past: None, or (k, v) of the earlier positions. Returns the new h and all (k, v) so far."""
        B, T, width = h.shape
        qkv = self.to_qkv(self.norm1(h)).view(B, T, 3, self.n_heads, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each (B, heads, T, d)
        if past is not None:
            k, v = extend_cache(past, k, v)  # task 4.3
        a = attention(q, k, v).transpose(1, 2).reshape(B, T, width)  # (B, T, width)
        h = h + self.project(a)
        return h + self.mlp(self.norm2(h)), (k, v)


# %% nbgrader={"grade": false, "grade_id": "transformer-log-prob-solution", "locked": false, "schema_version": 3, "solution": true, "task": false}
START = 2  # the tokens are 0, 1 and START


def shift_right(x):
    """Pixels x (B, n) of zeros and ones to tokens (START, x_0, ..., x_{n-2}). Returns long (B, n)."""
    ### BEGIN SOLUTION
    start = torch.full_like(x[:, :1], START)
    return torch.cat([start, x[:, :-1]], dim=1).long()
    ### END SOLUTION


class ImageTransformer(nn.Module):
    """A causal transformer over the pixels in raster order: x (B, n) to logits (B, n)."""

    def __init__(self, n_pixels, width=32, n_heads=2, n_layers=2):
        super().__init__()
        self.token = nn.Embedding(3, width)
        self.position = nn.Embedding(n_pixels, width)
        self.blocks = nn.ModuleList([Block(width, n_heads) for _ in range(n_layers)])
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 1)

    def embed(self, tokens, first=0):
        """tokens: long (B, T), at the positions first, first + 1, ... Returns (B, T, width)."""
        positions = torch.arange(first, first + tokens.shape[1], device=tokens.device)
        return self.token(tokens) + self.position(positions)

    def forward(self, x):
        """x: (B, n). Returns logits (B, n)."""
        ### BEGIN SOLUTION
        h = self.embed(shift_right(x))
        for block in self.blocks:
            h, _ = block(h)
        return self.head(self.norm(h)).squeeze(-1)
        ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "transformer-log-prob", "locked": true, "points": 0.75, "schema_version": 3, "solution": false, "task": false}
check("transformer-log-prob")

# %% [markdown]
# The same picture as for the PixelCNN: now the triangle below the diagonal is full.

# %%
with when_written():
    torch.manual_seed(0)
    net = ImageTransformer(16)
    x = (torch.rand(1, 16) < 0.5).float()
    with torch.no_grad():
        change = (net((x - torch.eye(16)).abs()) - net(x)).abs().T  # (logit, flipped pixel)
    figure, (left, right) = plt.subplots(1, 2, figsize=(7, 3.2))
    left.imshow(causal_mask(16, 16), cmap="viridis")
    left.set(title="causal_mask(16, 16)", xlabel="key", ylabel="query")
    right.imshow(change > 1e-6, cmap="viridis")
    right.set(title="logit that moves", xlabel="flipped pixel")
    plt.show()

# %% [markdown]
# ## 4.3 Sampling with a cache (1 point)
#
# Sampling with `forward` repeats itself: for pixel $i$ it computes the keys and values of all earlier positions again, although causality says that they have not changed. Keep them, and each new pixel costs one token:
#
# - `extend_cache(past, k, v)` puts new keys and values *behind* the old ones;
# - `transformer_step(model, token, past)` feeds one token per image and returns the logit of the pixel that comes next, with the new cache. `past` is `None` at the start; otherwise it is what the last step returned: a list with one pair `(k, v)` for each block. Its length in time tells
#   at which position the new token stands;
# - `sample_cached(model, u)` draws images from given uniform numbers: $x_i = 1$ where $u_i < \sigma(\ell_i)$, else 0. With the same `u`, cached and uncached sampling must give the *same* images, which makes the cache testable bit by bit.
#
# **What is checked**
# - Feeding `shift_right(x)` token by token gives the columns of `model(x)` (to $10^{-4}$ in single, $10^{-9}$ in double precision), for models with one and several blocks and heads.
# - A step does not change the `past` that it was given: from one `past` one can go on with different tokens.
# - `sample_cached(model, u)`: `u` is `(B, n)` in $[0, 1)$, the result `(B, n)` of zeros and ones in the dtype of `u`, no gradient graph, equal to what uncached sampling gives.

# %% nbgrader={"grade": false, "grade_id": "transformer-cache-solution", "locked": false, "schema_version": 3, "solution": true, "task": false}
def extend_cache(past, k, v):
    """Join keys and values in time.

    past: a pair (k, v) of the positions so far, each (B, heads, T, d); k, v: those of the new ones.
    Returns the joined k and v.
    """
    ### BEGIN SOLUTION
    old_k, old_v = past
    return torch.cat([old_k, k], dim=2), torch.cat([old_v, v], dim=2)
    ### END SOLUTION


def transformer_step(model, token, past=None):
    """Feed one token per image.

    token: long (B,); past: None at the start, else what the last step returned.
    Returns the logits (B,) of the pixel that comes next, and the new past: a list of pairs (k, v),
    one for each block.
    """
    ### BEGIN SOLUTION
    position = 0 if past is None else past[0][0].shape[2]
    h = model.embed(token[:, None], first=position)  # (B, 1, width)
    present = []
    for index, block in enumerate(model.blocks):
        h, keys_values = block(h, None if past is None else past[index])
        present.append(keys_values)
    return model.head(model.norm(h))[:, 0, 0], present
    ### END SOLUTION


@torch.no_grad()
def sample_cached(model, u):
    """Draw images from uniform numbers u (B, n): pixel i is 1 where u_i < p_i. Returns (B, n)."""
    ### BEGIN SOLUTION
    token = torch.full((len(u),), START)
    past, pixels = None, []
    for i in range(u.shape[1]):
        logit, past = transformer_step(model, token, past)
        token = (u[:, i] < torch.sigmoid(logit)).long()
        pixels.append(token)
    return torch.stack(pixels, dim=1).to(u.dtype)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "transformer-cache", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check("transformer-cache")

# %% [markdown]
# Compare with slow sampling, given here. The images must be the same; for 64 pixels the cache should be several times faster.

# %%
@torch.no_grad()
def sample_uncached(model, u):
    """The same as sample_cached, with a full forward pass for each pixel."""
    x = torch.zeros_like(u)
    for i in range(u.shape[1]):
        x[:, i] = (u[:, i] < torch.sigmoid(model(x)[:, i])).to(u.dtype)
    return x


with when_written():
    import time

    torch.manual_seed(0)
    model, u = ImageTransformer(64), torch.rand(32, 64)
    results = []
    for sampler in (sample_uncached, sample_cached):
        begin = time.perf_counter()
        results.append(sampler(model, u))
        print(f"{sampler.__name__}: {time.perf_counter() - begin:.2f} s")
    print("same images:", torch.equal(*results))

# %% [markdown]
# # Part 5. Two trained PixelCNNs (2 points)
#
# Now put the pieces together. Write `fit` once, use it twice. The judge does not believe printed losses: it takes the trained network, tests that it does not leak, and recomputes the likelihood itself.
#
# The cells with `fit(...)` carry the tags `train` and `train:bars` or `train:digits`; they are run only when the model is graded, with up to 120 seconds each on one CPU core. You may instead hand in the file that the cell saves (`bars_model.pt`, `digits_model.pt`) beside the notebook: it is loaded into the network that
# `make_bars_model()` or `make_digits_model()` builds, and nothing is trained.
#
# ## 5.1 Bars (1 point)
#
# Write `fit` and `make_bars_model`, choose the number of steps and the learning rate, and train on `bars_train`. Adam with a learning rate near 0.01 that rises in the first third and falls to zero afterwards (`torch.optim.lr_scheduler.OneCycleLR`) needs only some hundred steps of 128 images. Kernels of $5 \times 5$ in three layers see the whole $4\times4$ image.
#
# *What to expect:* 600 steps take 3–10 seconds and end about 0.1 nats above the entropy of 6.496. Independent pixels are at 11.09; a network whose mask lacks the left neighbours ends near 9.
#
# **What is checked**
# - `make_bars_model()` builds, without arguments, a network with parameters of the same names and shapes as `bars_model`; `bars_model` maps `(B, 1, 4, 4)` to logits of that shape.
# - The trained network does not leak: no logit depends on its own pixel or a later one. **A network that leaks earns nothing here**, whatever its loss.
# - The loss on fresh bars, recomputed in evaluation mode, in nats per image. A quarter of a point, checked in the notebook too, is for beating independent pixels: in full up to 10.0, nothing from 11.09, a straight line between. The other three quarters come in full up to 0.5 above the
#   entropy, not at all from 2.5 above, on a straight line between. A loss significantly *below* the entropy earns nothing.

# %% nbgrader={"grade": false, "grade_id": "train-bars-solution", "locked": false, "schema_version": 3, "solution": true, "task": false}
def make_bars_model():
    """A new, untrained network for 4 x 4 bars."""
    ### BEGIN SOLUTION
    return PixelCNN(channels=24, n_layers=3, kernel_size=5)
    ### END SOLUTION


def fit(net, images, steps, batch_size, lr):
    """Train net in place by minimising nll_loss on random batches of images (N, 1, H, W).

    Returns the list of losses, one number (nats per image) for each step.
    """
    ### BEGIN SOLUTION
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
    ### END SOLUTION


# %% tags=["train", "train:bars"] nbgrader={"grade": false, "grade_id": "train-bars-run", "locked": false, "schema_version": 3, "solution": true, "task": false}
# Bind the trained network to `bars_model` and the list of losses to `bars_losses`.
with when_written():
    ### BEGIN SOLUTION
    bars_model = make_bars_model()
    bars_losses = fit(bars_model, bars_train, steps=600, batch_size=128, lr=1e-2)
    ### END SOLUTION
    torch.save(bars_model.state_dict(), "bars_model.pt")

# %% nbgrader={"grade": true, "grade_id": "train-bars", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check("train-bars")

# %% [markdown]
# The learning curve with its two landmarks, samples beside data, and completions: the upper half is known, the lower half is drawn four times. If the first row is a row pattern the rest is free; if the first rows look like columns the rest must continue them.

# %%
with when_written("bars_model", "bars_losses", "bars_entropy"):
    with torch.no_grad():
        fresh = make_bars(5000)
        excess = (bars_log_prob(fresh) - image_log_prob(bars_model, fresh)).mean().item()
    print(f"on fresh bars {excess:.3f} nats per image above the true law, whose entropy is {bars_entropy:.3f}")
    figure, (curve, middle, right) = plt.subplots(1, 3, figsize=(10, 2.4))
    curve.plot(bars_losses)
    curve.axhline(bars_entropy, color="black", linewidth=1, label="entropy of the data")
    curve.axhline(16 * math.log(2), color="black", linestyle=":", label="independent pixels")
    curve.set(xlabel="step", ylabel="nats per image")
    curve.legend(fontsize=7)
    show(middle, bars_train[:32], "data")
    show(right, sample_images(bars_model, 32, 4, 4), "samples")
    plt.show()

    known = torch.zeros(8, 1, 4, 4, dtype=torch.bool)
    known[:, :, :2] = True
    originals = make_bars(8)
    shown = torch.where(known, originals, torch.tensor(0.5))
    completed = [complete_images(bars_model, originals, known) for _ in range(4)]
    figure, axes = plt.subplots(figsize=(6, 3))
    show(axes, torch.cat([shown, *completed]), "first row: what is known; below: four completions")
    plt.show()

# %% [markdown]
# ## 5.2 Digits (1 point)
#
# The same with real data. There are only 1500 images, so a network can learn them by heart: watch the held-out loss, and stop early, shrink the network or regularise. Three layers of $5 \times 5$ see far enough: six rows up and six columns to either side.
#
# *What to expect:* about 17.8 nats per image (0.40 bits per pixel) on the held-out digits; independent pixels get 24.6. Samples look like hasty but recognisable digits.
#
# **What is checked**
# - `make_digits_model()` builds, without arguments, a network with parameters of the same names and shapes as `digits_model`; `digits_model` maps `(B, 1, 8, 8)` to logits of that shape; it does not leak (else nothing is earned here).
# - The loss on the held-out digits, recomputed in evaluation mode, in nats per image. On 60 of them 0.2 points, checked in the notebook too (leave `digits_test` as it is): in full up to 23.0, nothing from 24.6, a straight line between. On all 297 of them 0.5 points: in full up to 18.5, nothing
#   from 23.0, a straight line between, and nothing for a network that was trained on them.
# - (0.3) 200 images that the judge draws from the conditionals of `digits_model`: the mean share of white pixels is within 0.08 of the data's; they differ from each other at least 80 % as much as real digits do (distance of pairs, number of distinct images); no more than 30 % are copies of training images, after
#   allowing for real digits that happen to be as close.

# %% nbgrader={"grade": false, "grade_id": "train-digits-solution", "locked": false, "schema_version": 3, "solution": true, "task": false}
def make_digits_model():
    """A new, untrained network for 8 x 8 digits."""
    ### BEGIN SOLUTION
    return PixelCNN(channels=24, n_layers=3, kernel_size=5)
    ### END SOLUTION


# %% tags=["train", "train:digits"] nbgrader={"grade": false, "grade_id": "train-digits-run", "locked": false, "schema_version": 3, "solution": true, "task": false}
# Bind the trained network to `digits_model` and the list of losses to `digits_losses`.
with when_written():
    ### BEGIN SOLUTION
    digits_model = make_digits_model()
    digits_losses = fit(digits_model, digits_train, steps=300, batch_size=64, lr=1e-2)
    ### END SOLUTION
    torch.save(digits_model.state_dict(), "digits_model.pt")

# %% nbgrader={"grade": true, "grade_id": "train-digits", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check("train-digits")

# %% [markdown]
# For each sample the picture also shows the nearest training image: a good model makes new digits, it does not recite.

# %%
with when_written("digits_model", "digits_losses"):
    with torch.no_grad():
        test_loss = nll_loss(digits_model, digits_test).item()
        test_bits = bits_per_pixel(digits_model, digits_test).item()
    print(f"held-out digits: {test_loss:.2f} nats per image, {test_bits:.3f} bits per pixel")
    samples = sample_images(digits_model, 32, 8, 8)
    distance = torch.cdist(samples.flatten(1), digits_train.flatten(1), p=1)
    nearest = digits_train[distance.argmin(dim=1)]
    figure, axes = plt.subplots(1, 4, figsize=(12, 2.2), width_ratios=[1.2, 1, 1, 1])
    axes[0].plot(digits_losses, label="training")
    axes[0].axhline(test_loss, color="black", linewidth=1, label="held out, at the end")
    axes[0].set(xlabel="step", ylabel="nats per image")
    axes[0].legend(fontsize=7)
    show(axes[1], digits_test[:32], "held-out data")
    show(axes[2], samples, "samples")
    show(axes[3], nearest, "nearest training image")
    plt.show()

    known = torch.zeros(12, 1, 8, 8, dtype=torch.bool)
    known[:, :, :4] = True
    originals = digits_test[40:52]
    shown = torch.where(known, originals, torch.tensor(0.5))
    completed = [complete_images(digits_model, originals, known) for _ in range(4)]
    figure, axes = plt.subplots(figsize=(7, 4))
    images = torch.cat([shown, *completed, originals])
    show(axes, images, "known halves, four completions, originals", columns=12)
    plt.show()

# %% [markdown]
# **Before you hand in:** restart the kernel, run everything, save. Hand in the notebook, and the two files `bars_model.pt` and `digits_model.pt` if you like.
