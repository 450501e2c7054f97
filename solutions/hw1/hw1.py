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
# ![digits drawn by a PixelCNN, completed halves, and who sees whom in the three models](data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAA7wAAADXCAAAAAAc8wLvAAAIP0lEQVR42u3dUZLjJhAAUB9nTuef3G+vNtmkkkqNYqAbEEj2688dRsKoH1XqbTyPr7/i+0V8/Yzn83n4l1ejCkOL8WNofRaFCXQN/W/876GND55dkcJdZlx15tDaI/kuxNfmMI+f8YAXXnjhhRdeeOGFF1544YUX3nfFG30+Q3aKmfXv0O92vtScD20JYbyJCU3C27+dxfAGVwQaeOGFF1544YXXPOCFN4z31z+xG415wAsvvPfGG6geD6VqLP/68Wbn2q6tFu+SxTvO7ES8mRWBBl544YUXXnjhNQ944YUXXnjhhXcn3i4Q43XhLN76bpOrjL+8ZdHyeP19ZqV82pZQbRiFBl543wTvrqQ1D3jhhRdeeOGFF1544YW3H+/VqqC78P4RjN+/+qZD4YUXXnjhhRdeeOGFF1544YX30/GuTtrj49s9j93r8Ri0s7Rtr39ocTy88MILL7zwwgsvvPDCCy+88MILL7zXxZto20vgPeeQbv3SY6dX4YUXXnjhhRdeeK+Md1XSXr1JY/W84IUXXnjhhRfe7XhjdmoV3OKAGLN+vH8HvPDCCy+88MILL7zwwgsvvPDCCy+8N8b7/Ph4Qd+KdOE9O2mjzRG757FqPeCFF1544YUX3qV4Ey+H0Wv2Du3vEhlqKPmu37f/Lr1dI0uG1h4JvPDCCy+88MILL7zwwgsvvPDCC+9F8Ga/jLmoIvdXrbomMLOhJIw3e3hqHO+J34+dWZFssp6VtOYBL7zwwgsvvPDCCy+88MILL7wfjDcGInZU6HDBQv7Vc38cb1+1+dWJqKXMlvxBt/nVZnjhhRdeeOGFF1544YX3166kbX3peqlZ46x57F4PeOGF90PxJgrTWQCFCdQTugPAyx8WLY+vyMy5T9sSfmy98MILL7zwwgsvvPDCCy+88MILL7xXwlscWGuwiw29Kd4uO9O7QOGFF1541+OdlbTZw/hXa9KYPS944YUXXnjhhRdeeOGFN4M38fj78SaSKjY0e9W+9siuPWo63ux/APQesYYXXnjhhRdeeOGFF1544YUXXnjXJu2s5ojd85i1Ho/645+Jd/yc6YwtIYM3O6GYncQ6d+0e4/8BAC+88MILL7zwwgsvvPDCCy+88MK7H+9gM2Aiqc7ZEoZaDCN4m1tEdudb/61yicWDF1544YUXXnjfCW9v0poHvPDCCy+88MK7Ee/z4+OYolYEXnjhhRdeeOGFF94577z930Iz1E4xo9Hhck0aM19kJ3W4wAsvvPDCCy+874g3m7THD5c9lD/r0P5V1gNeeOGFF1544V2PNwHiHOfTv4w5cO803uwWMY53U98MvPDCCy+88MILL7zwwgsvvPDCC++t8NaTpFdk/YLjE8jUVot3GappXw1vbehqvNGkbT7Nk9GuwhudF7zwwgsvvPDCCy+88MILL7zwwnsvvEWLQbyB31/wZczrtoQflXF44YUXXnjhhRdeeOGF97J4W0k7ijd63+g8dq8HvPDC+yZ4izkwCe/4VYsOCxNofqx5eIu3Gv/rYYndo+uRwAsvvPDCCy+88MILL7zwwgsvvPDevNo8mClDV02UYWMTaODtKvYW8GaPLSe2hDp2eOGFF96FsRpvdh671wNeeOGFF1544YUXXnjhHcDbTKquXrxzrjrUjRg5z9uFd6hhNNbImN09Yh8LXnjhhRdeeOGFF1544YUXXnjhXZu0UbwtxL0/3433OI8BvMXi8Pjp1Wa1uWujKVw1jDdRF058zMTGM+lAcXOu8MILL7zwwgsvvPDCCy+88MILL7xb8T4/Po4pakXghRdeeOGFF94r4BXXiseSd7HYy2B2aHYCmVNFg20riXaK6a/24+/nWMALL7wCXnjhFfDCCy+88MIrLoe3CaK/eSCRVNmWhJqVKXizKzKO9+x1Dq6IgBdeeAW88MIr4IUXXnjhhVdcA+/Q459x2iUmMja0NoGyjhPr79vx1oZiAS+88Ap44YVXwAsvvPDCC6+4Kd7phelsxTbWSdmcwMsfFi1PX5H1eJvrjAW88MIr4IUXXgEvvPDCCy+8At6+VI2Vuxfi7ZpQtqpf2M5iV60nA7zwwguvgBdeeAW88MILL7zwiivijVVws8dpuwqmW/EO7iZD3YnZLtA6xuZQ7ZHwwguvgBdeeAW88MILL7zwijesNq8vTK/B299yOGlootocW2d44YUXXgEvvPAKeOGFF1544RU3xZutNmfzbzreppVaj2MjmZv198CvL9j5+q8KL7zwwivghRdeAS+88MILL7ziYnifHx/HJbEiWMALL7wCXnjhFa/feQdf2w6/WRjavGp9Frk+g8TrceNi/W+nzRUZfzudcVbJOy+88MIr4IUXXgEvvPDCCy+84h3w7hxa/Ci9jQ5hvLW71Gc180+CLeibwQJeeOEV8MILr4AXXnjhhRdecTm8iaSKiWyezImd/wncu4NV+YMf/i2Ld5zZiXhrQ7GAF154BbzwwivghRdeeOGFV+zHO5hUMZGxim1xKmvxFi331rT7F2/JllBdEQEvvPAKeOGFV8ALL7zwwguv2I53Ul04m3/NpEocSd2CN7FHdYk8cUuAF1544RXwwguvgBdeeOGFF15xg2pzti48KVWXWBnA29xNEouXXZFJheni54UXXnjhFfDCC6+AF1544YUXXnEDvIVU7S+YNs+ZTiohTz7Pe2JdeFIJOTGB+k4JL7zwwivghRdeAS+88MILL7ziltXmrqFNkV1HUgv5l7ASxnvibvL/q9ZHzcTbXhEBL7zwCnjhhVfACy+88MILr1iK9/nxcVwSK4IFvPDCK+CFF15xjD8BdvvKfjurGzEAAAAASUVORK5CYII=)
#
# *What you will have built at the end. Left: digits that nobody wrote, drawn pixel by pixel by your PixelCNN. Middle: digits of which it was shown the upper half; it wrote the lower one.
# Right: which logit (row) of a MADE, a PixelCNN and a transformer moves when which pixel (column) is flipped. All three are dark on and above the diagonal, each by other means.*
#
# An autoregressive model writes the probability of an image as a product of conditionals, one for each pixel,
#
# $$
# p_\theta(x) = \prod_{i=0}^{n-1} p_\theta(x_i \mid x_0, \dots, x_{i-1}),
# $$
#
# and lets one neural network compute all of them at once. Its likelihood is exact and takes a single pass of the network; the price is paid in sampling, which takes one pass for each pixel. Everything difficult is in one
# requirement: **the output for pixel $i$ must not see pixel $i$ or anything after it**. You will meet it three times, each time enforced by other means:
#
# | part | model | who enforces the order | points | hours |
# |---|---|---|---|---|
# | 1 | theory: likelihood, entropy, masks, receptive fields | – | 4 | 3–4 |
# | 2 | MADE | masks on the weights of a perceptron | 2.5 | 2 |
# | 3 | PixelCNN | masks on the kernels of a convolution | 4 | 3–4 |
# | 4 | causal image transformer | a mask on attention, and a start token | 2.5 | 2–3 |
# | 5 | two trained PixelCNNs | – | 2 | 1 |
# | 6 | all three on one axis | – | – | ½ |
#
# **How to work.** Start at the top. Fill the places marked `YOUR CODE HERE` (delete the line `raise NotImplementedError()`), run the cell, then run the `check("...")` cell below it: it
# tries, within a second or two, a part of what is scored, and says what does not hold. Under each task a list **What is checked** names everything that is scored, and nothing else is: a task that passes here can still miss a line of it. You may add
# cells, helper functions and optional arguments; names, required arguments and shapes must stay. A blank is one idea of 3–15 lines (a formula of part 1, typed as a function, may be shorter). A folded *hint* stands under each task: try first.
# Tasks marked ★ are for the curious and carry no points.

# %% [markdown] tags=["limits"]
# What grading allows is printed here from `assignment.yaml`.

# %% [markdown]
# **Conventions**, the same in every task:
#
# - A binary pixel is a float, `0.` or `1.` A batch of images `x` has shape `(B, 1, H, W)`, a batch of vectors `(B, n)`.
# - Order is **raster order**: row by row from the top, left to right inside a row; pixel $(r, c)$ has index $i = rW + c$, counted from 0. A vector has its natural order.
# - A *network* `net` is anything callable that maps `x` to **logits of the same shape**: $p(x_i = 1 \mid x_{< i}) = \sigma(\ell_i)$, where $\sigma(\ell) = 1/(1+e^{-\ell})$. Your functions
#   take the network as an argument and must work with any network, not only with your own class (it may have no parameters at all, or be a mere function). Your own networks are asked with pixels that are 0 or 1, so an embedding of pixels is as right as a convolution.
# - Log-probabilities are in **nats** (natural logarithm), **summed over pixels**, one number for each image: shape `(B,)`. Where something else is meant, the task says so.
# - Results have the dtype of the input, and modules work in double precision after `.double()`. An argument is never modified. Row $b$ of a result depends on row $b$ of the input only.
# - Samplers return `float32` tensors of zeros and ones without a gradient graph, where their task names no other dtype. They may draw their random numbers in any order and by any method, from PyTorch's global generator, and never set its seed:
#   the same `torch.manual_seed` gives the same samples, another seed gives others. What is tested is their *law*.
#
# **References**: MADE ([Germain et al., 2015](https://arxiv.org/abs/1502.03509)) · PixelRNN and PixelCNN ([van den Oord et al., 2016](https://arxiv.org/abs/1601.06759)) ·
# gated PixelCNN ([van den Oord et al., 2016](https://arxiv.org/abs/1606.05328)) · WaveNet ([van den Oord et al., 2016](https://arxiv.org/abs/1609.03499)) · PixelCNN++ ([Salimans et al., 2017](https://arxiv.org/abs/1701.05517)) ·
# Attention is all you need ([Vaswani et al., 2017](https://arxiv.org/abs/1706.03762)) · Image Transformer ([Parmar et al., 2018](https://arxiv.org/abs/1802.05751)). A glossary English–Russian stands at the end.

# %% tags=["package"]
from autograder import check, course_data

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


def show(axes, images, title="", columns=8):
    """Draw the first images of a batch (B, 1, H, W) as a grid with `columns` columns."""
    framed = F.pad(images[:, 0].float(), (1, 1, 1, 1), value=0.5)
    grid = torch.cat([torch.cat(list(row), dim=1) for row in framed.split(columns)])
    axes.imshow(grid, cmap="gray", vmin=0, vmax=1)
    axes.set_title(title, fontsize=10)
    axes.axis("off")


def moves(net, x):
    """Which logit (row) of one image moves when which pixel (column) is flipped, a boolean matrix."""
    n = x.numel()
    flipped = (x.flatten() - torch.eye(n)).abs().view(n, *x.shape[1:])  # image j has pixel j flipped
    with torch.no_grad():
        return ((net(flipped) - net(x)).abs().view(n, n).T > 1e-6)


# %% [markdown]
# ## The data
#
# **Bars.** A $4 \times 4$ image: toss a fair coin for the orientation (rows or columns), make each of the four bars white with probability ½ independently, and at last flip every
# pixel independently with probability 0.05. The law is simple enough to be known exactly, so we can say not only "the loss went down" but *how far from perfect the model still is*.
#
# **Digits.** Handwritten digits of $8 \times 8$ black and white pixels: `digits_train` holds 6000 pictures, `digits_test` 500 by *other writers*. They were made from the digits that come with scikit-learn: two by the same hand are blended, turned, shifted and thresholded, so each picture is new.
# When your notebook is graded the loss is measured on pictures that were drawn after you handed it in.

# %%
def make_bars(n, side=4, flip=0.05, generator=None):
    """Draw n bar images, shape (n, 1, side, side)."""
    bars = (torch.rand(n, side, generator=generator) < 0.5).float()
    rows = bars[:, :, None].expand(n, side, side)
    columns = bars[:, None, :].expand(n, side, side)
    x = torch.where(torch.rand(n, 1, 1, generator=generator) < 0.5, rows, columns)
    noise = (torch.rand(n, side, side, generator=generator) < flip).float()
    return (x - noise).abs()[:, None]


bars_train = make_bars(8000, generator=torch.Generator().manual_seed(1))
digits_train, digits_test = (course_data("digits")[name] for name in ("digits_train", "digits_test"))

figure, (left, right) = plt.subplots(1, 2, figsize=(8, 2.6))
show(left, bars_train[:32], "bars, 5 % of the pixels flipped")
show(right, digits_train[:32], "digits")
plt.show()

# %% [markdown]
# # Part 1. Theory (4 points)
#
# The first two tasks are written by hand and read by a human: short and complete beats long. Formulas go between dollar signs.
#
# ## 1.1 What the next pixel is worth (1 point, by hand)
#
# Let $p$ be the true law of the data on a finite set, $H(p) = -\sum_x p(x) \ln p(x)$ its entropy, and $p_\theta$ a model with $p_\theta(x) > 0$ everywhere. As you know,
# $\mathbb{E}_{p}[-\ln p_\theta(x)] = H(p) + \mathrm{KL}(p \,\|\, p_\theta)$: no model has an expected loss below $H(p)$, and the excess over it is a divergence. Now use it.
#
# 1. (0.4) Take $4 \times 4$ bars **without** flips, in raster order. Let the first row be all of one colour. With which probability does the picture consist of rows? With which probability has pixel 4, the first of the second row, the colour of the first row?
#    And if the first row has both colours: what is then pixel 4? A model answers logit 0 at pixel 4 whatever the first row is, and equals the true conditional at all other pixels: what is its KL divergence from the truth, in nats?
# 2. (0.4) Let the model treat the pixels as independent, $p_\theta(x) = \prod_i \mu_i^{x_i} (1-\mu_i)^{1-x_i}$. Which $\mu$ is best, and what is the excess of this best model, in terms of entropies? Give its
#    value in nats for the $4\times4$ bars with 5 % flips, where $H = 6.496$ nats.
# 3. (0.2) A classmate trained a PixelCNN on those bars and reports a test loss of 0.001 nats per image, on fresh images. Why is that not a success, and what is the most likely mistake?
#
# *Reading:* the lecture on autoregressive models; for entropy and divergence, [Goodfellow et al., *Deep Learning*](https://www.deeplearningbook.org), section 3.13.
#
# <details><summary>Hint</summary>1. Bayes' rule over the two orientations. By the chain rule the divergence of two autoregressive models is a sum over pixels; only one term is not zero here.
# 2. Each pixel is a Bernoulli law of its own.</details>

# %% [markdown] nbgrader={"grade": true, "grade_id": "theory-likelihood", "locked": false, "points": 1, "schema_version": 3, "solution": true, "task": false}
# <!-- ### BEGIN SOLUTION -->
# **1.** A row picture has a first row of one colour for certain, a column picture with probability $2 \cdot 2^{-4} = \tfrac18$. So
# $P(\text{rows} \mid \text{one colour}) = \frac{1/2}{1/2 + 1/16} = \tfrac89$. A row picture repeats the colour at pixel 4 with probability ½, a column picture always:
# $\tfrac89 \cdot \tfrac12 + \tfrac19 = \tfrac59$. With both colours in the first row the picture consists of columns, and pixel 4 equals pixel 0 for certain.
# By the chain rule the divergence is the expected divergence at pixel 4, $\ln 2 - \mathbb{E}[H(x_4 \mid x_{<4})]$. The first row has one colour with probability $\tfrac12 + \tfrac1{16} = \tfrac9{16}$, then
# $H(\tfrac59) = 0.6870$, otherwise 0. So it is $0.6931 - \tfrac{9}{16} \cdot 0.6870 = 0.3067$ nats.
#
# **2.** The expected loss is $\sum_i \left[-m_i \ln \mu_i - (1-m_i)\ln(1-\mu_i)\right]$ with $m_i = \mathbb{E}_p[x_i]$. Each term is the cross-entropy of two Bernoulli laws, smallest at $\mu_i = m_i$, where
# it equals $H(x_i)$. The excess is $\sum_i H(x_i) - H(p)$, the multi-information of the pixels. For the bars every $m_i = \tfrac12$ by symmetry, so it is $16 \ln 2 - 6.496 = 11.090 - 6.496 = 4.594$ nats.
#
# **3.** The expected loss of any normalised model on fresh images is at least 6.496 nats; 0.001 is impossible, so the reported number is not the negative logarithm of a probability. Most likely information leaks: the
# logit of a pixel sees the pixel itself (a type-B mask in the first layer, or no mask at all), and the network has learned to copy. Then $\sum_x \prod_i p(x_i \mid \dots) \ne 1$.
# <!-- ### END SOLUTION -->

# %% [markdown] tags=["rubric"]
# - 0.1 part 1: 8/9 by Bayes' rule
# - 0.1 part 1: 5/9, and certainty after a first row of both colours
# - 0.1 part 1: the divergence is the expected divergence at pixel 4 (chain rule)
# - 0.1 part 1: 0.307 nats (ln 2 minus 9/16 of the entropy of 5/9); a right formula with a wrong number earns 0.05
# - 0.2 part 2: the best mean is the true mean of each pixel, with a reason
# - 0.1 part 2: the excess is the sum of the pixels' entropies minus the joint entropy
# - 0.1 part 2: 4.59 nats (11.09 minus 6.496); 4.6 is right as well
# - 0.1 part 3: a loss below the entropy cannot belong to a normalised model
# - 0.1 part 3: names a leak of the pixel into its own logit, such as a wrong first mask

# %% [markdown]
# ## 1.2 Masks and a blind spot (1 point, by hand)
#
# 1. (0.3) A MADE (task 2.1) for $n = 4$ pixels has one hidden layer of three units, to which somebody gave the degrees $1, 3, 3$. Write down both masks and their product. Which output has lost which input? The data are $x_0, x_1, x_3$ fair coins and $x_2 = x_1$:
#    by how many nats at least does the loss of this network exceed the entropy, however it is trained and however many units of degree 1 and 3 are added? Which degrees would you give three units instead?
# 2. (0.4) In MADE input $j$ has degree $d(j) = j + 1$, hidden unit $k$ has a degree $m(k) \in \{1, \dots, n-1\}$, output $i$ has degree $d(i) = i + 1$. The first mask keeps the weight from input $j$ to hidden unit $k$
#    when $m(k) \ge d(j)$, the second keeps the weight from hidden unit $k$ to output $i$ when $d(i) > m(k)$. Prove that the product $M^{(2)} M^{(1)}$ is strictly lower triangular. What does its entry $(i, j)$ count? What goes wrong if
#    the second rule has $\ge$, and what if the first rule has $>$?
# 3. (0.3) A stack of $3\times3$ convolutions, the first with a type-A and the others with a type-B mask (task 3.1). Prove that the logit at $(r, c)$ never depends on the pixel $(r-1, c+2)$, however many layers there are, although that pixel
#    comes earlier in raster order. How does the gated PixelCNN repair this? (Two sentences.)
#
# *Reading:* MADE, section 4; gated PixelCNN, sections 2.2 and 2.3.
#
# <details><summary>Hint</summary>2. An entry of a product of matrices of zeros and ones is a number of paths. 3. How far to the right can one step of one layer go if it does not go up?</details>

# %% [markdown] nbgrader={"grade": true, "grade_id": "theory-masks", "locked": false, "points": 1, "schema_version": 3, "solution": true, "task": false}
# <!-- ### BEGIN SOLUTION -->
# **1.** Rows of $M^{(1)}$ are hidden units, rows of $M^{(2)}$ outputs:
# $M^{(1)} = \begin{pmatrix} 1&0&0&0 \\ 1&1&1&0 \\ 1&1&1&0 \end{pmatrix}$, $M^{(2)} = \begin{pmatrix} 0&0&0 \\ 1&0&0 \\ 1&0&0 \\ 1&1&1 \end{pmatrix}$,
# $M^{(2)}M^{(1)} = \begin{pmatrix} 0&0&0&0 \\ 1&0&0&0 \\ 1&0&0&0 \\ 3&2&2&0 \end{pmatrix}$. Output 2 has lost input 1: no unit has degree 2. Whatever its weights, the network treats $x_2$ as independent of $x_1$ given $x_0$, so at pixel 2 its best
# answer is ½ and its expected loss $\ln 2$, where the entropy is 0: the excess is at least $I(x_2; x_1 \mid x_0) = \ln 2 = 0.693$ nats. Degrees $1, 2, 3$ lose nothing.
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
# - 0.1 part 1: both masks and their product
# - 0.1 part 1: output 2 has lost input 1, and degrees 1, 2, 3 repair it
# - 0.1 part 1: ln 2 = 0.693 nats, since the network can only answer one half at pixel 2
# - 0.2 part 2: proves that the product is strictly lower triangular, and its entry counts paths
# - 0.1 part 2: with the second rule weakened the output sees its own pixel
# - 0.1 part 2: with the first rule strict every pixel loses its nearest predecessor, and nothing leaks
# - 0.2 part 3: bounds the columns that a path through the layers can reach, for any number of layers
# - 0.1 part 3: names the vertical and the horizontal stack

# %% [markdown]
# ## 1.3 The exact law of the bars (1 point)
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
# Losses of images are often quoted in **bits per dimension**: $\mathrm{bpd} = \dfrac{\text{nats per image}}{n \ln 2}$ with $n$ pixels. An image of fair coin flips has exactly 1 bit per dimension. With at most $2^{16}$ images the entropy
# $H = -\sum_x p(x) \ln p(x)$ is one sum over all of them; give it in both units.
#
# *Worked example.* For $s = 1$ both orientations give the same two patterns, so $p(0) = p(1) = \tfrac12$: 0.6931 nats, 1 bit per dimension. For $s = 2$ and $\varepsilon = 0.05$ the entropy is 2.2763 nats, 0.8210 bits per dimension.
#
# **What is checked**
# - `bars_log_prob` agrees with the formula for several $s$ and several $\varepsilon \in (0, 1)$, in nats, shape `(B,)`, in the input's dtype; the probabilities of all images sum to 1.
# - `bars_entropy` is a pair of two numbers (floats or tensors of one number), nats per image and bits per pixel, for several $s \le 4$ and several $\varepsilon$, to $10^{-3}$; by default of the $4 \times 4$ bars of the text, 6.4960 nats.
#
# <details><summary>Hint</summary>Let <code>patterns</code> be a matrix with one noiseless picture a row. How many pixels of which picture are flipped in <code>x</code>? <code>itertools.product([0.0, 1.0], repeat=n)</code> lists all images.</details>

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


def bars_entropy(side=4, flip=0.05):
    """Entropy of the bars, side at most 4. Returns two numbers: nats per image, bits per pixel."""
    ### BEGIN SOLUTION
    pixels = list(itertools.product([0.0, 1.0], repeat=side * side))
    log_p = bars_log_prob(torch.tensor(pixels, dtype=torch.float64).view(-1, 1, side, side), flip)
    nats = -(log_p.exp() * log_p).sum().item()
    return nats, nats / (side * side * math.log(2))
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "theory-entropy", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check("theory-entropy")

# %% [markdown]
# The entropy of the $4 \times 4$ bars, 6.4960 nats or 0.5857 bits per pixel, will be the floor of every loss on them in this homework.

# %%
with when_written():
    every_image = torch.tensor(list(itertools.product([0.0, 1.0], repeat=16))).view(-1, 1, 4, 4)
    log_p = bars_log_prob(every_image.double())
    print(f"sum of probabilities {log_p.exp().sum():.6f}")
    print("entropy {:.4f} nats, {:.4f} bits per pixel".format(*bars_entropy()))
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
# *Reading:* WaveNet, section 2.1; PixelRNN, sections 3.4 and 3.5.
#
# **What is checked**
# - `wavenet_receptive_field` for several kernel sizes and lists of dilations (an empty list gives 1: the input itself). Only stacks in which no input inside the field is skipped.
# - `pixelcnn_field_size` for several $L \ge 1$. Both return an `int`.
#
# <details><summary>Hint</summary>The row $d$ above the logit is reached by going up $d$ times in $L$ layers. Only a step up can go right; every step can go left.</details>

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
# In task 3.5 you will measure the second formula on a real network. ★ What is it for kernels of $k \times k$?

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
# Write `made_masks`, which returns one mask for each linear layer, and the two parts of `MaskedLinear`: keeping the mask and using it. Masks have the layout of `nn.Linear.weight`: `(out_features, in_features)`. How you give degrees to the hidden units is up to you, as long as all of
# $1, \dots, n-1$ occur when there is room.
#
# *Reading:* MADE, sections 4.1 and 4.2.
#
# **What is checked** ($n \ge 2$, at least one hidden layer)
# - The list has `len(hidden_sizes) + 1` tensors of zeros and ones, dtype float, with the right shapes.
# - The product $M^{(L)} \cdots M^{(1)}$ is zero on and above the diagonal, for any hidden sizes.
# - It is positive *everywhere* below the diagonal when every hidden size is at least $n - 1$: nothing is lost needlessly.
# - `MaskedLinear(mask)` computes $x (M \odot W)^\top + b$ whatever values its `weight` and `bias` have now; the mask is not a trainable parameter (a buffer, or a frozen one) and moves along with `.double()`.
#
# <details><summary>Hint</summary>Degrees as tensors: <code>a[:, None] >= b[None, :]</code> compares all pairs. What is kept in a module and not trained is a <em>buffer</em>.</details>

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
        ### BEGIN SOLUTION
        self.register_buffer("mask", mask)  # moves with .double(), but is not trained
        ### END SOLUTION

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
        axes[3].text(j, i, int(paths), ha="center", va="center", color="white" if paths < product.max() / 2 else "black", fontsize=7)
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
# One function serves all three models of this homework, for vectors `(B, n)` as for images `(B, 1, H, W)`: the sum goes over everything but the batch. Do not write `torch.log(torch.sigmoid(...))`: in floating point $\sigma(800) = 1$ and $\sigma(-800) = 0$, whose logarithm is $-\infty$. PyTorch has functions that avoid this.
#
# *Example:* logits $(0, \ln 3)$ and pixels $(1, 1)$ give $\ln \tfrac12 + \ln \tfrac34 = -0.9808$.
#
# *Reading:* MADE, section 3.
#
# **What is checked**
# - `log_prob(net, x)` is the **sum** over pixels, in nats, shape `(B,)`, for any network, for vectors and for images; row $b$ depends on image $b$ only; the dtype is that of `x`. It stays finite and exact for logits $\pm 800$.
# - For your MADE the probabilities of all $2^n$ images sum to 1, no logit sees its own pixel or a later one, and every logit after the first sees its predecessor.
#
# <details><summary>Hint</summary><code>F.logsigmoid</code>, or <code>F.binary_cross_entropy_with_logits</code> with the right <code>reduction</code> and sign; then <code>flatten(1)</code>.</details>

# %% nbgrader={"grade": false, "grade_id": "made-log-prob-solution", "locked": false, "schema_version": 3, "solution": true, "task": false}
def log_prob(net, x):
    """Log-likelihood of vectors x (B, n) or images (B, 1, H, W). Returns (B,), nats, summed over pixels."""
    ### BEGIN SOLUTION
    logits = net(x)
    terms = x * F.logsigmoid(logits) + (1 - x) * F.logsigmoid(-logits)  # of each pixel
    return terms.flatten(1).sum(dim=1)
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
#
# <details><summary>Hint</summary><code>torch.bernoulli(p)</code> draws a 1 with probability <code>p</code>, entry by entry.</details>

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
with when_written():
    torch.manual_seed(0)
    made = MADE(16, (128, 128))
    optimizer = torch.optim.Adam(made.parameters(), lr=5e-3)
    losses = []
    for step in range(300):
        batch = bars_train[torch.randint(len(bars_train), (128,))].flatten(1)
        loss = -log_prob(made, batch).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    test_loss = -log_prob(made, make_bars(5000).flatten(1)).mean().item()
    entropy = bars_entropy()[0]
    print(f"MADE on bars: {test_loss:.2f} nats per image, entropy {entropy:.2f}")
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(10, 2.4))
    left.plot(losses)
    left.axhline(entropy, color="black", linewidth=1, label="entropy of the data")
    left.axhline(16 * math.log(2), color="black", linestyle=":", label="independent pixels")
    left.set(xlabel="step", ylabel="nats per image")
    left.legend(fontsize=7)
    show(middle, bars_train[:32], "data")
    show(right, made_sample(made, 32, 16).view(-1, 1, 4, 4), "samples of MADE")
    plt.show()

# %% [markdown]
# ★ The order of the pixels is a choice. Permute the inputs of the MADE and train several orders: average their *probabilities*, not their logits (MADE, section 4.3). By how much does the loss fall?

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
# *Reading:* PixelRNN, section 3.4.
#
# **What is checked**
# - `conv_mask`, both types, $k = 1, 3, 5, 7$: shape `(k, k)`, float, exact.
# - `MaskedConv2d(mask_type, in_channels, out_channels, kernel_size)` keeps height and width, multiplies the mask into the weights at every forward pass (also after the weights have been changed or loaded), has a bias that is not masked, and equals an ordinary zero-padded convolution with the masked kernel.
# - From outside: an output depends on all pixels that its mask keeps, and on no others.
#
# <details><summary>Hint</summary>Number the positions of the kernel in raster order: what number has the centre? And a mask written into the weights once is gone after the first step of an optimiser.</details>

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
        ### BEGIN SOLUTION
        self.register_buffer("mask", conv_mask(mask_type, kernel_size))
        ### END SOLUTION

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
# ## 3.2 The network and its loss (1 point)
#
# Build `PixelCNN`: **exactly** `n_layers` masked convolutions with `kernel_size` × `kernel_size` kernels, the first of type A, all others of type B. Everything else is pointwise: activations (without them it would be a linear map), residual sums, $1 \times 1$ convolutions (a head of one or two of them turns features into a single logit).
# No batch normalisation: it would mix the images of a batch. A form that trains well is $h \leftarrow h + \mathrm{conv}_B(\mathrm{relu}(h))$; mapping the input to $2x - 1$ helps a little.
#
# Then its loss, from `log_prob`. Mind the units:
#
# | call | value |
# |---|---|
# | `nll_loss(net, x)` | $-\frac1B \sum_b \ln p(x^{(b)})$, nats **per image**: mean over the batch, sum over pixels; a scalar tensor |
# | `nll_loss(net, x, unit="bits")` | the same loss in bits **per pixel** |
#
# *Example:* a network whose logits are all zero gives a $4\times4$ image a loss of $11.0904$ nats and exactly 1 bit per pixel.
#
# *Reading:* PixelRNN, sections 3.5 and 5.1.
#
# **What is checked**
# - `PixelCNN(channels, n_layers, kernel_size)` maps `(B, 1, H, W)` to logits `(B, 1, H, W)` for any height and width, with the defaults `channels=32, n_layers=4, kernel_size=3` (fewer channels make a smaller network); results for an image do not depend on the rest of the batch.
# - No logit depends on its own pixel or a later one. Every logit depends on its left neighbour and on the pixel above it (several random weights are tried, one of them is enough). The probabilities of all $3\times3$ images sum to 1.
# - The receptive field is that of exactly `n_layers` masked convolutions, the first of type A, measured for several `n_layers` and `kernel_size` and for the defaults. The network is not linear: what one pixel adds to a logit depends on the others.
# - `nll_loss` for any network, in both units; its gradient reaches the network.
#
# <details><summary>Hint</summary><code>nn.ModuleList</code> registers layers that you keep in a list. 1 nat is 1/ln 2 bits, and <code>x[0].numel()</code> is a number of pixels.</details>

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


def nll_loss(net, x, unit="nats"):
    """Negative log-likelihood, mean over the batch: nats per image, or with unit="bits" bits per pixel."""
    ### BEGIN SOLUTION
    nats = -log_prob(net, x).mean()
    if unit == "nats":
        return nats
    return nats / (x[0].numel() * math.log(2))
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "pixelcnn-log-prob", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check("pixelcnn-log-prob")

# %% [markdown]
# The picture that finds most mistakes: which logit (row) moves when which pixel (column) is flipped, for a network with random weights. It must be dark on and above the diagonal. Why is it not full below?

# %%
with when_written():
    torch.manual_seed(0)
    figure, panel = plt.subplots(figsize=(3.4, 3.4))
    panel.imshow(moves(PixelCNN(channels=8, n_layers=2), (torch.rand(1, 1, 4, 4) < 0.5).float()), cmap="viridis")
    panel.plot([-0.5, 15.5], [-0.5, 15.5], color="white", linewidth=1)
    panel.set(xlabel="flipped pixel", ylabel="logit that moves")
    plt.show()

# %% [markdown]
# ★ Write a *gated* PixelCNN (gated PixelCNN, section 2): a vertical stack, a horizontal stack, $\tanh \odot \sigma$. Does the blind spot vanish from the picture, and by how much does the loss of task 5.2 fall?
#
# ## 3.3 Sampling (0.75 points)
#
# As in MADE, now over two loops: rows from the top, in each row from left to right, $HW$ passes of the network, one new pixel per image in each pass.
#
# *Reading:* PixelRNN, section 2.1.
#
# **What is checked**
# - Shape `(n_samples, 1, height, width)` also for images that are not square, `float32`, only zeros and ones, no gradient graph; two calls differ, the same `torch.manual_seed` repeats.
# - The empirical law of many samples equals the exact law of a given network with strong conditionals (χ², a right sampler fails once in a million runs).
#
# <details><summary>Hint</summary>The logit of the pixel at <code>(row, column)</code> is <code>net(x)[:, 0, row, column]</code>, one number for each image.</details>

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
# - `known` is a boolean tensor of the shape of `x`, and differs from image to image. Known pixels come back exactly as they were, unknown ones as zeros and ones, in the dtype of `x`; `x` and `known` are not modified; no gradient graph; two calls differ, the same `torch.manual_seed` repeats.
# - Whatever stands in `x` at unknown places (it may be $-1$) has no influence on the law of the result.
# - The law of the unknown pixels is the product of $p(x_i \mid x_{< i})$ over them (χ²), whichever pixels are known. So with everything known the result equals `x`, and with nothing known it has the law of `sample_images`.
#
# <details><summary>Hint</summary>Begin with <code>torch.where(known, x, 0)</code>, and end each step with another <code>torch.where</code>.</details>

# %% nbgrader={"grade": false, "grade_id": "pixelcnn-complete-solution", "locked": false, "schema_version": 3, "solution": true, "task": false}
@torch.no_grad()
def complete_images(net, x, known):
    """Fill in the unknown pixels in raster order.

    x: (B, 1, H, W); known: bool (B, 1, H, W), True where a pixel of x is given.
    Returns a new tensor (B, 1, H, W) of the dtype of x.
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
# Which pixels does a given logit depend on? Ask automatic differentiation: draw a batch of random images, differentiate the sum over the batch of the logit at (`row`, `column`) with respect to the images, and see where a gradient differs from zero for at least one of them. One image is not enough, nor is an image of one colour: a ReLU that happens to be
# off hides a path. Take 64 random ones.
#
# *Reading:* [Luo et al., 2016](https://arxiv.org/abs/1701.04128), section 3, measures receptive fields in the same way.
#
# **What is checked**
# - A boolean tensor `(height, width)`, for any single-precision network whose logits are differentiable in its input and any position (also at the border): exactly the set of pixels that the logit depends on, also when a ReLU hides a pixel in more than half of all random images and in all images of one colour, and for networks that are not causal.
# - Nothing is left behind: parameters of `net` have no `.grad` afterwards that they did not have before.
#
# <details><summary>Hint</summary><code>torch.autograd.grad</code> gives gradients without leaving any behind.</details>

# %% nbgrader={"grade": false, "grade_id": "pixelcnn-field-solution", "locked": false, "schema_version": 3, "solution": true, "task": false}
def receptive_field(net, height, width, row, column):
    """Pixels that the logit at (row, column) depends on. Returns bool (height, width)."""
    ### BEGIN SOLUTION
    x = torch.rand(64, 1, height, width, requires_grad=True)
    (gradient,) = torch.autograd.grad(net(x)[:, 0, row, column].sum(), x)
    return (gradient != 0).any(dim=0)[0]
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "pixelcnn-field", "locked": true, "points": 0.5, "schema_version": 3, "solution": false, "task": false}
check("pixelcnn-field")

# %% [markdown]
# The field of networks with one to four layers, and how many pixels it has: compare with your formula of task 1.4. The red cross is the predicted pixel. The empty wedge to the right, which no number of layers fills, is the **blind spot** of task 1.2.
# (A network that begins with an embedding table is not differentiable in its pixels; this picture is not for it.)

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
# *Reading:* Attention is all you need, sections 3.2.1 and 3.2.3.
#
# **What is checked** ($1 \le T_q \le T_k$)
# - `causal_mask`: bool `(n_queries, n_keys)`, `True` where one may attend, exact.
# - `attention`: the formula including $1/\sqrt d$, for `q` of shape `(B, heads, T_q, d)` and `k`, `v` of shape `(B, heads, T_k, d)`, finite for scores of size 1000; no future key or value has any influence.
#
# <details><summary>Hint</summary><code>masked_fill(~allowed, -math.inf)</code> before the softmax; the softmax runs over the keys. <code>F.scaled_dot_product_attention</code> is allowed, but its <code>is_causal</code> puts the queries first when they are fewer.</details>

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
# ## 4.2 A block, and the whole network (0.75 points)
#
# **`Block`** is one layer. From `h` of shape `(B, T, width)`, with layer normalisation in front of both parts,
#
# $$
# h \leftarrow h + W_o\, \mathrm{attention}(q, k, v), \qquad h \leftarrow h + \mathrm{MLP}(\mathrm{norm}_2(h)), \qquad (q, k, v) = \text{linear maps of } \mathrm{norm}_1(h),
# $$
#
# where $q, k, v$ are split into `n_heads` heads of `width // n_heads` numbers each, and the MLP has one hidden layer of, say, $4 \cdot$ `width` units. A block knows nothing of positions: they enter once, in `ImageTransformer.embed`.
# It can also *continue*: `block(h)` returns the new `h` and a **past**, whatever you need in order to go on (the keys and values so far, say, as a tuple or however you like); `block(more, past)` then continues with the positions that follow, one or several, and must give what the block would have given for all of them at once.
#
# **`shift_right`** turns pixels $(x_0, \dots, x_{n-1})$ into tokens $(\texttt{START}, x_0, \dots, x_{n-2})$, a tensor of type `long` with `START = 2`. **`ImageTransformer.forward`**: shift, embed from position 0 on, run the blocks, apply `self.norm` and `self.head`, which gives one logit per position.
#
# *Reading:* Attention is all you need, sections 3.2.2, 3.3 and 3.5; Image Transformer, section 3.
#
# **What is checked**
# - `shift_right`: exact, shape `(B, n)`, dtype `torch.long`.
# - A block maps `(B, T, width)` to `(B, T, width)` and a past. It is attention and not another map (weights drawn at random): an output sees its own and all earlier positions and none after; exchanging two *earlier* positions does not change it; what one earlier position adds depends on the others, and the number of heads matters. Residual sums: with all parameters near zero it gives `h` back. Norms in front: what it adds to $10^4 h$ is no larger than what it adds to `h`. Continuing with one position or with three gives the same as all at once.
# - `ImageTransformer(n_pixels, width, n_heads, n_layers)` maps `(B, n)` to logits `(B, n)`; the first logit is the same for all `x`.
# - No logit depends on its own pixel or a later one; **every** earlier pixel has influence (weights drawn at random); position matters: exchanging two earlier pixels changes later logits. The probabilities of all images of six pixels sum to 1.
#
# <details><summary>Hint</summary>One <code>nn.Linear(width, 3 * width)</code> makes all three; <code>view(B, T, 3, n_heads, -1).permute(2, 0, 3, 1, 4)</code> splits them into (B, heads, T, d). New keys go <em>behind</em> the old ones in time: <code>torch.cat([old, new], dim=2)</code>.</details>

# %% nbgrader={"grade": false, "grade_id": "transformer-log-prob-solution", "locked": false, "schema_version": 3, "solution": true, "task": false}
START = 2  # the tokens are 0, 1 and START


def shift_right(x):
    """Pixels x (B, n) of zeros and ones to tokens (START, x_0, ..., x_{n-2}). Returns long (B, n)."""
    ### BEGIN SOLUTION
    start = torch.full_like(x[:, :1], START)
    return torch.cat([start, x[:, :-1]], dim=1).long()
    ### END SOLUTION


class Block(nn.Module):
    """One layer of the transformer: h (B, T, width) to h (B, T, width)."""

    def __init__(self, width, n_heads):
        super().__init__()
        ### BEGIN SOLUTION
        self.n_heads = n_heads
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.to_qkv = nn.Linear(width, 3 * width)
        self.project = nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        ### END SOLUTION

    def forward(self, h, past=None):
        """past: None, or what the block returned for the earlier positions. Returns the new h and the new past."""
        ### BEGIN SOLUTION
        B, T, width = h.shape
        qkv = self.to_qkv(self.norm1(h)).view(B, T, 3, self.n_heads, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each (B, heads, T, d)
        if past is not None:
            k, v = torch.cat([past[0], k], dim=2), torch.cat([past[1], v], dim=2)
        a = attention(q, k, v).transpose(1, 2).reshape(B, T, width)  # (B, T, width)
        h = h + self.project(a)
        return h + self.mlp(self.norm2(h)), (k, v)
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
        """Tokens (B, T) at the positions first, first + 1, ... Returns (B, T, width)."""
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
    figure, (left, right) = plt.subplots(1, 2, figsize=(7, 3.2))
    left.imshow(causal_mask(16, 16), cmap="viridis")
    left.set(title="causal_mask(16, 16)", xlabel="key", ylabel="query")
    right.imshow(moves(ImageTransformer(16), (torch.rand(1, 16) < 0.5).float()), cmap="viridis")
    right.set(title="logit that moves", xlabel="flipped pixel")
    plt.show()

# %% [markdown]
# ## 4.3 Sampling with a cache (1 point)
#
# Sampling with `forward` repeats itself: for pixel $i$ it computes the keys and values of all earlier positions again, although causality says that they have not changed. Keep them, and each new pixel costs one token:
#
# - `transformer_step(model, token, past)` feeds one token per image and returns the logit of the pixel that comes next, with the new past. `past` is `None` at the start; otherwise it is what the last step returned, in whatever form you like (it must tell at which position the new token stands);
# - `sample_cached(model, u)` draws images from given uniform numbers: $x_i = 1$ where $u_i < \sigma(\ell_i)$, else 0. With the same `u`, cached and uncached sampling must give the *same* images, which makes the cache testable bit by bit.
#
# The past is a cache, not a copy of the tokens: it holds what the blocks have *computed*, and a step computes nothing of earlier positions again. This can be seen from outside: if the weights of the model are exchanged between two steps, the next logit is made of old keys and new queries, and so is not what the new network's `forward` gives.
#
# *Reading:* [Ramachandran et al., 2017](https://arxiv.org/abs/1704.06001), which does the same for WaveNet and PixelCNN++.
#
# **What is checked**
# - Feeding `shift_right(x)` token by token gives the columns of `model(x)` (to $10^{-4}$ in single, $10^{-9}$ in double precision), for models with one and several blocks and heads.
# - A step does not change the `past` that it was given: from one `past` one can go on with different tokens.
# - The past is a cache and not a copy of the tokens: after the weights have been exchanged, a step with the old past gives other logits than the new network's `forward`.
# - `sample_cached(model, u)`: `u` is `(B, n)` in $[0, 1)$, the result `(B, n)` of zeros and ones in the dtype of `u`, no gradient graph, equal to what uncached sampling gives.
#
# <details><summary>Hint</summary>A list with one past for each block; the position is the length in time of the first one, or a number that you carry along.</details>

# %% nbgrader={"grade": false, "grade_id": "transformer-cache-solution", "locked": false, "schema_version": 3, "solution": true, "task": false}
def transformer_step(model, token, past=None):
    """Feed one token per image.

    token: long (B,); past: None at the start, else what the last step returned.
    Returns the logits (B,) of the pixel that comes next, and the new past.
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
# ★ Where is the time? Plot the seconds of both samplers over the number of pixels, and say from the number of multiplications which curve has which slope.

# %% [markdown]
# # Part 5. Two trained PixelCNNs (2 points)
#
# Now put the pieces together. Write `fit` once, use it twice. The judge does not believe printed losses: it takes the trained network, tests that it does not leak, and recomputes the likelihood itself.
#
# The cells with `fit(...)` carry the tags `train` and `train:bars` or `train:digits`; they are run when the homework is graded, with up to 120 seconds each on one CPU core.
#
# ## 5.1 Your own bars (1 point)
#
# `own_bars` holds 8000 pictures of $4 \times 4$ bars of *unequal* chances: each of the 30 different patterns has a probability of its own, a few of them most of it, and each pixel is flipped with a probability between 0.04 and 0.07. At home everybody has the same example. **When your notebook is graded, the probabilities are drawn
# anew for you, and your training cell learns from pictures of *your* law**: so numbers typed in from this text or learned at home are worth nothing there, and any honest training does as well as at home.
#
# Write `fit`, choose the network in `make_bars_model` (the one that stands there will do), the number of steps and the learning rate. Adam with a learning rate near 0.01 that rises in the first third and falls to zero afterwards (`torch.optim.lr_scheduler.OneCycleLR`) needs only some hundred steps of 128 images. Kernels of $5 \times 5$ in three layers see the whole $4\times4$ image but for the blind spot (three pairs of pixels).
#
# *What to expect:* 600 steps take 3–10 seconds and end 0.05–0.12 nats above the entropy of the law (`check` asks 500 pictures, which is good for ±0.03); 60 steps end 0.4 above. Bars of equal chances, as in part 1, are 1.6 nats above, independent pixels 3.5 or more. Below the entropy is impossible.
#
# *Reading:* PixelRNN, section 5.1, for losses in nats and bits; [Smith and Topin, 2018](https://arxiv.org/abs/1708.07120), sections 3 and 4, for such a schedule.
#
# **What is checked**
# - `bars_model` maps `(B, 1, 4, 4)` to logits of that shape. It does not leak: no logit depends on its own pixel or a later one. **A network that leaks earns nothing here**, whatever its loss.
# - The loss on fresh pictures of your law, recomputed in evaluation mode with the future withheld, in nats per image above the entropy. A quarter of a point, checked in the notebook too: in full up to 0.9 above, nothing from 1.3, a straight line between. The other three quarters: in full up to 0.45 above, nothing from 0.9, a straight line between. A loss
#   significantly *below* the entropy earns nothing.
#
# <details><summary>Hint</summary>In each step: a random batch, the loss, <code>zero_grad</code>, <code>backward</code>, a step of the optimiser, a step of the schedule, and <code>loss.item()</code> into the list.</details>

# %%
own_bars = course_data("bars")["bars_train"]

figure, axes = plt.subplots(figsize=(4, 2.4))
show(axes, own_bars[:32], "own_bars")
plt.show()

# %% nbgrader={"grade": false, "grade_id": "train-bars-solution", "locked": false, "schema_version": 3, "solution": true, "task": false}
def make_bars_model():
    """A new, untrained network for 4 x 4 bars; change it as you like."""
    return PixelCNN(channels=24, n_layers=3, kernel_size=5)


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
# Train on `own_bars`. Bind the trained network to `bars_model` and the list of losses to `bars_losses`.
with when_written():
    ### BEGIN SOLUTION
    bars_model = make_bars_model()
    bars_losses = fit(bars_model, own_bars, steps=600, batch_size=128, lr=1e-2)
    ### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "train-bars", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check("train-bars")

# %% [markdown]
# The learning curve, samples beside data, and completions: the upper half is known, the lower half is drawn four times. If the upper half is made of rows, the rest is a guess among the frequent ones; if it is made of columns, the rest must continue them.

# %%
with when_written("bars_model", "bars_losses"):
    figure, (curve, middle, right) = plt.subplots(1, 3, figsize=(10, 2.4))
    curve.plot(bars_losses)
    curve.set(xlabel="step", ylabel="nats per image")
    show(middle, own_bars[:32], "data")
    show(right, sample_images(bars_model, 32, 4, 4), "samples")
    plt.show()

    known = torch.zeros(8, 1, 4, 4, dtype=torch.bool)
    known[:, :, :2] = True
    shown = torch.where(known, own_bars[:8], torch.tensor(0.5))
    completed = [complete_images(bars_model, own_bars[:8], known) for _ in range(4)]
    figure, axes = plt.subplots(figsize=(6, 3))
    show(axes, torch.cat([shown, *completed]), "first row: what is known; below: four completions")
    plt.show()

# %% [markdown]
# ## 5.2 Digits (1 point)
#
# The same with handwriting: `digits_train` holds 6000 pictures, and `digits_test` 500 by other writers, to see how you are doing. Three layers of $5 \times 5$ see far enough: six rows up, six columns to the left, and to the right all but the blind spot.
# Write `make_digits_model()`, which builds a new network, and train it.
# You may also hand in the file that the training cell saves, `digits_model.pt`, beside the notebook: it is then loaded into the network that `make_digits_model()` builds, and nothing is trained. Delete an old one when you change the network.
#
# *What to expect*, in nats per image on digits of other writers: independent pixels 26.5; the training pictures learned by heart, with flips, 21.1; mixtures of 20, 80 and 160 pixel models 21.2, 19.8 and 19.5; a PixelCNN after 100 steps of 64 images 18.6, after 600 steps (9 seconds) 17.9 (0.40 bits per pixel).
# Samples look like hasty but recognisable digits.
#
# **What is checked**
# - `digits_model` maps `(B, 1, 8, 8)` to logits of that shape; it does not leak (else nothing is earned here). A file `digits_model.pt` has to fit what `make_digits_model()` builds.
# - The loss on digits of other writers, drawn when you are graded, recomputed in evaluation mode, in nats per image. 0.2 points, checked in the notebook too, on `digits_test`: in full up to 19.5, nothing from 20.7, a straight line between. 0.5 points: in full up to 18.5, nothing from 19.5, a straight line between.
# - (0.3, only if that loss is below 20.7: images recited with some noise look new as well) 200 images that the judge draws from the conditionals of `digits_model`: the mean share of white pixels is within 0.08 of the data's; they differ from each other at least 80 % as much as real digits do (distance of pairs, number of distinct images); no more than 30 % are copies of training images or of digits of other writers, after
#   allowing for real digits that happen to be as close.
#
# <details><summary>Hint</summary>The network and the schedule of task 5.1 do here as well; only the number of steps is a choice. Watch the loss on <code>digits_test</code>.</details>

# %% nbgrader={"grade": false, "grade_id": "train-digits-solution", "locked": false, "schema_version": 3, "solution": true, "task": false}
def make_digits_model():
    """A new, untrained network for 8 x 8 digits."""
    ### BEGIN SOLUTION, repeats given code
    return PixelCNN(channels=24, n_layers=3, kernel_size=5)
    ### END SOLUTION


# %% tags=["train", "train:digits"] nbgrader={"grade": false, "grade_id": "train-digits-run", "locked": false, "schema_version": 3, "solution": true, "task": false}
# Train on `digits_train`. Bind the trained network to `digits_model` and the list of losses to `digits_losses`.
with when_written():
    ### BEGIN SOLUTION
    digits_model = make_digits_model()
    digits_losses = fit(digits_model, digits_train, steps=600, batch_size=64, lr=1e-2)
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
        test_bits = nll_loss(digits_model, digits_test, unit="bits").item()
    print(f"digits of other writers: {test_loss:.2f} nats per image, {test_bits:.3f} bits per pixel")
    samples = sample_images(digits_model, 32, 8, 8)
    distance = torch.cdist(samples.flatten(1), digits_train.flatten(1), p=1)
    nearest = digits_train[distance.argmin(dim=1)]
    figure, axes = plt.subplots(1, 4, figsize=(12, 2.2), width_ratios=[1.2, 1, 1, 1])
    axes[0].plot(digits_losses, label="training")
    axes[0].axhline(test_loss, color="black", linewidth=1, label="other writers, at the end")
    axes[0].set(xlabel="step", ylabel="nats per image")
    axes[0].legend(fontsize=7)
    show(axes[1], digits_test[:32], "other writers")
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
# ★ Digits by other writers are *easier* than fresh digits by the training writers, by about a nat for independent pixels. So a test loss below the training loss proves nothing bad, and one above it nothing good. What would you compare instead to see whether a network has learned its training pictures by heart?
#
# # Part 6. All three on one axis
#
# Nothing to write, and nothing here is run in grading. The bars of part 1, whose entropy is known, give every model the same exam: a MADE (300 steps, in task 2.3), a PixelCNN and a transformer (400 steps each with your `fit`). How far right of the entropy does each one end, and how many parameters did it take?
# Expect all three between 6.6 and 7.1 nats. A second each is not a race: the transformer must find out what "above" means, while the PixelCNN was told. Which one gains most from more steps?

# %% tags=["train"]
def train_on_bars(net, steps=400):
    """Train with your `fit` on the bars of part 1; the transformer is given rows of pixels."""
    flat = isinstance(net, ImageTransformer)
    fit(net, bars_train.flatten(1) if flat else bars_train, steps=steps, batch_size=128, lr=1e-2)
    with torch.no_grad():
        fresh = make_bars(5000, generator=torch.Generator().manual_seed(2))
        return nll_loss(net, fresh.flatten(1) if flat else fresh).item()


with when_written("made"):
    torch.manual_seed(0)
    reached = {"MADE": (-log_prob(made, make_bars(5000).flatten(1)).mean().item(), made)}
    for name, net in {"PixelCNN": PixelCNN(channels=24, n_layers=3, kernel_size=5), "transformer": ImageTransformer(16)}.items():
        reached[name] = (train_on_bars(net), net)
    figure, axes = plt.subplots(figsize=(9, 2))
    axes.axvline(bars_entropy()[0], color="black", linewidth=1)
    axes.text(bars_entropy()[0], 3, f" entropy {bars_entropy()[0]:.3f}", fontsize=8)
    axes.axvline(16 * math.log(2), color="black", linestyle=":", linewidth=1)
    axes.text(16 * math.log(2), 3, "independent pixels ", fontsize=8, ha="right")
    for height, (name, (loss, net)) in enumerate(reached.items()):
        size = sum(parameter.numel() for parameter in net.parameters())
        axes.plot(loss, height, "o")
        axes.text(loss + 0.08, height, f"{name}: {loss:.2f} nats, {size} parameters", fontsize=8, va="center")
    axes.set(ylim=(-0.7, 3.6), yticks=[], xlabel="nats per image on fresh bars")
    plt.show()

    figure, axes = plt.subplots(1, 3, figsize=(9, 2.8))
    for panel, (name, (_, net)) in zip(axes, reached.items()):
        x = (torch.rand(1, 16) < 0.5).float()
        panel.imshow(moves(net, x.view(1, 1, 4, 4) if name == "PixelCNN" else x), cmap="viridis")
        panel.set(title=name, xlabel="flipped pixel", ylabel="logit that moves", xticks=range(0, 16, 5), yticks=range(0, 16, 5))
    figure.tight_layout()
    plt.show()

# %% [markdown]
# **Before you hand in:** restart the kernel, run everything, save. Hand in the notebook, and the file `digits_model.pt` if you like.
#
# **Glossary.** autoregressive model = авторегрессионная модель · law, distribution = распределение · likelihood = правдоподобие · conditional = условное распределение · entropy = энтропия · nats = наты ·
# mask = маска · receptive field = рецептивное поле · blind spot = слепая зона · attention = внимание · sample = выборка, сэмпл · held-out data = отложенные данные
