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
# # Homework 4. Adversarial models, and how to tell whether they are good
#
# ![samples of a generator after 0, 100, 300, 1000 and 2000 steps: a blob becomes eight spots on a circle](data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAogAAACQBAMAAAB5fYdWAAAAGFBMVEX+/v6goKD+0qz+fw7zrG0gICBZWVnasIr1RZVfAAAACHRSTlP///////////OBUtQAABb6SURBVHja7V3LbyTHef/VxyEpxBSnps31XmTy65k92hA1JCLEiLVDrQMfzQ2wCwRRIBqBfFJgCvorEgSwcwyCABLgXKwAdgLYJ8fk+qEAgR2vAgPJwWYXiUWUSHRPz5j2rqRhdQ7dPdPd04/qbu56o2Vh9sHh/Orx9feu+mqAy3bZLttlu2xmbXH6vyu3G4Bv7eLK7cpdJAavjt+d9nML4tZe8KqDX4rA1fAZ69hdkvXB2MXukqzaxQwvF2V1/G6so0V8OXjVwQvsLuJm8Mr+aKugm1uTtdG3v/TRd/be/zbw0e4blUiQAEPIj276lbqI473FUUX84u6dxb1F763b/lsA0HnvO8GrDt4HOu/9OHhlf5ryOxKf+NYb3/Tf6uDv3oaoyofiE99645vtAFynJfCLN6vCO2+999Gb7/+T/PAfa0lgEr90WPLpAiL6390D5K3fAEP4XsVZ+N/dAxCAAfhexS4S+I++3a6If/8rABa/tBuihtGrOh7An3qV8bH2qUUsAovyK8DNRVkfjF3cXJQVu4jh9xZlVbzY28UucHNpD1hEhL9ZB78oa+Cn/dzaW7otbt1cfGUPWLrZAPzKLbl0s1oXCfyV26iIv3Ibr+xduSVv3waWbt3EKzJ81cBfuXUTt2T4au7nPGpwc/wuHgWeDJiiySxEw1U0xEv8bvGX7bJdtst22S5bTevXadSD7z3p+Auw49IIz+Gfang2cMHkI5l/oRdEj4bhyQr+VEbZ/P9AnFuPZhjtAnBroBxN+rEn4iPiRCjAroPSAS/yE09EYgAgR6EOORwFkPVYk/FRENG2AMBej5RjtelpANqtrlA/ZjrRWQcAR0+VYwX6nyuANFR1hfqI20W6CISqMlvoYhAA3Og+YS6OzUmZZQAErjUMAxpdtLzH3c+5aCI6KiGzZAGwu1YdMpAFcLfDk87BE2Odg3XqyKGJPD0CnCPXUTV8Sw+0JtuqO+Q1izF4fCl5YUQkK6YLZ8s9sRkaStd4JCR4/XTsXZPDo/Z/WK2zegaa6HdPROP0vHanupBjy7V9VfeR2P6JpXzZpiPceRZ6Rdcx0MLeacTA8iKI6BunOFSkC8mKLdcZZhhrMnokjgZw/LPrbcakQ/aY6jwOn+s9xaiNd5oTUZg9C5oSkgHtznSi0JAhg1LKhJc+ElhwxcbmP4xOgO+tOG5g+Csy4vK524QTxc5QNiaiL4wEekoVsgAonupFX0BAu5ykXLmZIQDas+Ef//bDU5sJh1BO14z+ifm/+uuFJrGO8BZGjYko20aHJ6ZU0W5EyYD9ZHtpCJxYScqVmhmyuwDEhpKrnxsqR9lMNtOIGcfVhFO+2cx+WsB1EFFxAFFuWEw4USfEULszX1G89Fo4UBUDbfuCgWOP4b8hoOEo21eT9omFjYrCuRdk4EIGrkpLfhkQsHd2GLRW3EGB1EtRqhPjYRMh5eNIQTL4sccVwi4Keur2pdiXs55bDJrjiMKwzdpe2AzhXYB7XWBgjqftta1NiS4RgBvMlLUKk7BPJk/VCWGiG2M+zqqQgJpKsxAmKkYHvH3kYulfg/E1AFxn+K1KKk7/qvOfFgDdpc6gZTnCxpm596fbL3WksKTWaOHgxLLZubdfxxcSZX5jIScCryGxVSLKOZESj/u1ZMrJbvWNOYkAYLnfY4C2Btf6vQGodWOLDfE9BgEiWMyNAcAE9LYG2dSTldzNTgVxAKgvQX3cmM28QyX4XjepEeKPh/q9HePxg4exTwBwrQ8mgHqbm6Z4io/fCsOI17dEdSKmIB0JYU7EHkMwAKbtUJl1JERKr8xzIgDuUp/j44egzj6JSpwokumk128sGHPi/Pqp//rC1ms1ODE1Z9mRJovg1CoYvW4/xFM5vrW9xdf68fEjkLwqzYnAqfn3mNa2FyoRMbl+bm0uDGoYFj8JEPCK0zjxbIQG4IMAKDhHbojXua7C9N2NlaHyV+Pj63D85c9YppZlQFZq/o6nz1eeM/M0KWv93uQLWfBqnpNX4HrHM7GxbESUp9VQwDjC25lp2mk44hwewTnMGn+ldTQ2m3TrbC5joT0Mt1YMXVXOXP9fD6wGmYo4M2aLA89UR+JnCiSJA80msQygO/O4YuJEZbsLDJK4MUho1VxxXODsGEQYiXPeg5Isaljncqqm8dSfnw9Rn6b0BPVnk0zge5yBT3XcSi4wj4i0XXf+BrnOijqxRkuJEdkM1oAdKEk4CtrNiZ83FAC9WtjxBNokya1PjWhQL9fZRCeaphYTB5FsX5EF7TkK043kHOXeGgMAjfNmqAIadI2S3DljBEFwFV4r5pFMIsqGFJSzg0jB0QfnCNoFxAtcmsqarIBlsYZvWaDOuluYeCkkgm6zwfyLOFGVE9Grx+NxvHbhnCA8+kAh5x2fJRJimSuhMVle6lGnko8bq9BDnORL0HPMGfF1bLgDVUjFceBcVLHbFyXOyZ4V9A4DTpSFYoAmp24saZb9sLVLc4KYUp7OIaCs/J0TGilrY7VIj+liRrNftKCMkqfxmD7dOpVr2EiHh0RmeBopQKvgN7SmggMhRYoloH4Py783LEtdard1sJ5rTxb+nX5ZqMdKdrxczzR5ms+JwqtcU2oz6wR+P7KNgUXWbZ57fipHKchn9srHP2lzLjfd23zel8VWppDR1AKXjs+lpqRT7QyzhKTIs+MAP3P0KPYPZ1u/uLPdY+p90WB82gZHvaT9vBsLQbaKDHV4Ct/a2nqudPh+zN3P8hOl8CqLsw4FhCxAir3fRvLCEeuvJ9VSnlKyfYXRr0zG11A5vcg7+0HetdgPyP3tikS7dPjUiY45Io7a7U51L0dNlc3oU2+/uq9iHhlRsNzAaHCRUnKOYP+ZNBg/vouTnv/KN+6uZOv/YusQ4X/+Tqk02xl6MYWRsqo4J9/YvzqVLAbQu8Gh4AXxXjGe0Ns3Gp84b3x5tdn8rz5v7s/lxc6iYlmHzMcHu0tRzIxWpnuYSEAAWDYZn9Drl49fa/52Z79SAJ2XgJCNnmQK3+tGeekeZ7nYMXykrsvH73E+JxrNP9ewUN8M3y8moqj6JK20xpg9KQaoNwinTJn5mQQnMgBBVWgwT8Rlk1n3OA/PZuvn4iyOX9WqiAR/UWdmgMkC9PE41MM6tAWcE/dREEv4BkdFdIEH84xJmibf7Ciz9Z9ccNjnZ8Qiwd/rbhDtTommAJrRd87tCFBGJ0Jt5pwA3Ai+Pmi46HjcWZuIIjsO4sjdUQBo7SSMdiPSAbCDFIzvBqNTYvUqO67KaMdkcU4AbmKY5Fkz/qGRugAiZjN9ywK6sazTDoM0aEo6Bhylpuxrc3zJukrCVFuepWvXZehPrsBuwoyJlG/9xyGzVO3GKqjD0zcODhRsJpvhKAUOdOQ0XAOlz3iRZV5Y09arULVnf3C49ulxE1ZU8iKI6MnOfLbJOYQequkbWgOOshnQAK3FTt4BnuzY13kuErluxB8M2z87K/eECyzTs79uVnnpWTsXnU+MQjEAR8mMk4ZzJ1B1bYbieLjmHKRZ6R6NDkspwyALx79ZeDrTKzaUUvKw0My4PDdsblg6AiXJregNHR4qPAiTBirC6zleuP7CaSb94l4PWdAucP7S7/8g0+KYSSndxU+byLNY8xYuwrD4uV4oZTodmiMu5Gw8QymVmW+Juy3aBRQmn3/nbzPtysaq0fw3PvuObFIv6L8M9JsSsZMObXgqabODqUmV17VCLiRrhqcEi2X4eEGN1hyHdxaGz51kuomHRvMfdf7iy6oBETt/j/MXwv8vAHjqQY1OHnxw/4F8AOCpB089AED2ssdj+11/2QNGbQ/ko9t5N6Be2wNA7HoA+YC/7E3x3fsPovH95XFALPLZy/Wlwl99+EHH+5N3ven4VQOu3777QN2Pzb/6+v/7f/4rwNfnROnPzjYxAO1ZQQGLAgALbHOwUTUVRu2GriGzohBPcOIsZvMAAOxu/lZS5GCvyuHq11RRUFsy/w8+X7aZUhg0S/919uombTISaVZ09mY2f6Y+ZVtXAm330eMA3+vGEwD8Ymt7logoXATT1nZuFqbi/Cutf9b/1aIEhLGjlIyWoaa72gSlXR1ni5l11dCnLhwV4J148oLWxpOV4DMF2irUqlrqhg5aLT6MOWjvX2gCIlqyHSeZSmQZHBUXNIV1ABgAOmF2T1eCmiyjpRx7mTsl+mGX6CvMMcZFXl/gaJBmhdkmdFjsFxQDkKVCrXYCCwqtszmzq8g6sYxspqK21MrRBYt82G02+EUeaNKRSUjWBkWPTLvRv/a6ZwGTlbnhSbu5nJT8KOvhgcLFX5lDlZZrbFhaW2X6ORGKM82ZSErqZAKBGQwC9ziGp/yKIaSqiWIHHOcy0xWplcT3uCrZjQzLdWwaz4o1lM1hwTOlH1nIijZrsu6RBbtrJZxrm4vyqYnfaTdv5/hFwyPdOfA6VwQY6EQlzVjcPldkKcDRtKZk8Eaqou9kUwW6RLvXzxUczXpOpxZKD6uZnjieZK5n7FbVaAUyenFE3CTTWWk3sCLt7ogVHA3Y5yc6bTk1AHVvAmhWqQXwwvkcJ8Q+RHGjs3GexTQbKz+po9EeviKdGM9KBWJycDRUwRtBMnHOcjImyNhmoVC8KSNCMXRfnEO+wJXX6ypju/C8fbdCggiOAvQspxhc9ZVS+CFh5kskVv05fZX4kCrTXkIbX7eRecJRXAQRs46QfL9CZ1Imzg0Ogo0Tm7M5SqW57iwYP0EflWNwdda7Upo624mdpsL1VybisNHl4PZguByjFbfOIr6j5O2JKkc3tV8Wg3l9lWQuiiXW5tqw1TU0r9nFBfXWnyJix2ty8P34fue9F+Rs7WEk7DrKZttAK9l458/PZEkkF+UqM8V27eXOi1XDt4TobDVMx9RM6cSdVUa8vIqB6eWJmL80jQPHNn6MhOj5gdlj58BfTzvLNxa2trj+/FtbW4Ma1EtygxByVJcNCcBxhJ/tpQSXJ2pKF4dOTXGc5fz2H9wpu41Xh/0rNc+My9hEu0HwfN3ctHCuSPlStGsrRI7htRv1HCZmtWelR3PnXbUlvNkOi2CoPCE1b0OeEefi+/VpSB7Ezww/auUSUXp+7Rk4Ctif4tU07RAyxpELYIc5pgAxK4kM26t7PnSQbSw51aQy1drwX76oG/h/utP5ReW04rwaFI10IvVFXMHNsT5tX+sj2g+MiiUTd0iIqYqhOjoNgrYNUgicj69+Odh8AsKvme8N2vpqsO/CAKCnQhn6OIBeba9GdyoOdIbHrH3yQibU5mSIz7+s6CzfsFdZf7pU7iJDyLVxcAespQDSQeysAta3zxXQGg9/GkrCcTs7grU/fYjyK9Ja+UVPB+VRcZE/zkZmKZW9uMik7PppUJqw7jJgs444jVS0e7xyBATnIydu9ujHY1CpRNFG/h0G2iCzoHJ52TBo1A8vDLeUCrYBTqz4aGQzoIkAW02FgU+yk3oT1yDNYPt+88nmMCnX6OwCxVm7gTgEKf4Zx9vhUcRfRlsijgZZC+dB7lHPc0mpRLHvyaZSk/OkgpRn04ilBjqGn+7KxjxmCs6/p/ZIwh97nEzPMxs9+Wv5B9dRtkNASOxOp/CGnEicb50vhBuR/P4KHZzt1IkZqvDoeso805ploGYm2CgyPmRxmWnNF1vDPVvbaq4Tc1NGakpM52TKVmEZ8/TOWUDKQFWmVbRuhzxc7GtfG60XPUnPKosK5B9bNRyg2Pp5tTkRR54UhT6c4nW7u2aF/SubwYD2olmOPJl9Ze+BF/Bw4YYRrcr7siDIPXJLTCvt/fgFUcMBmrb7P7ormnNiR/g59AvyfLRmOep0uifnBNkCweEsZUc4R9keihsmx4uChbH3OeFXTXPFhfGHk3f8umAAePU8Pn5NInrIquwmC6Dg6KQ+dbUNNT3fGTxgJwp5PcCX2Q67ys+PcCjn9gbeqP5tybF+joFf5+JNCrq+/uxmDF+TiD6GGV8VHEhCQDalUhyl4howGw+Qbifu2E+oxuBoPQD/4HRpWPnbkmP9aOBnG55ZTJf5kU2MYuPXI6LICdRVQqXoMNHAxnjYfKDi+jC5Y+8BgIWu5R+/tN/EifB37uWnHQ3274/vPkw/ca71+Ea3b55FISB1sjHZGQCm/o1ufpWoicfHJfMvZ8XlwQX4icI0w3J8bzRnK1tWLl4D2rXzPG5HBUcfD4StDYQ2d3aqOH9t4OR8mDigX1snmk2BNp5ZQfoyn41VFJvW+VUEzuN6ePRRbzjmfn/m7PwyZAkzCuthZXEyJm/76nAugig73+8cxSp6aRYAkYXgyFOrtACF8lwVIy9QlTJjspuHcOHabPJdOEeEQfJrRnK23RMyrWjKM3boWjoK2iVLA8HJxhLzyXm8pKpzQmk3D/PbSqjDGva1s/XT6cWebKhz7GndkKMCrtIAVHQp4GHZyI5q+PVqlXI5dPGpnUAAJYJSSecXq5ZS8W8lMBMpGV0TE/fbwksBS62nvY5VrwkNufL6ZSMSzt+TzYDsRZv1RHlXM+W6GAxk50jCrpJVFpnX7ktCb1DfRTOv4yhycbwGrOgowHNE6A3bO/FtCxMpIQvsxVhBx4RcmXGy9mxWmRf4mqULtVt5/TI7xdDI2aYvdpKcyOZ4pn5vW3bCbG6Z7skev/X6FoUX3yfe7hvicVUYKr8CZ1sIr9EBsR0vxGsd+3oWQ6WuPaf9ZU/Y0SUPNMeTpW3j63it66i0mTYsQQXEZ561K4XVmU9CNOJE2rY702syOCgXqIDvdUnEOLHHcxWrpZJwY+ELvW7iLp5uNivl4Le2+92mnAg02gvSp8qTNsMeMKBgdy01qAB3xDo8qcNdYHZUKh9vMIE79tAXHOXgGGh1uAIv28AfRZdZEFAsCnlE7LST58NExfTdqL0/clR4kSyco2HrrAoJnFFbjqL8rrXOELtXMK8k81vnqxudIycqiO5aouVXOqrF50//1VBhulUhxNXqfuLQGyaypn67GhWH47f9VWBy6gbXKDorT8sKnr0eyuHSi9JlANpbs2B/Y7IPm41V6/BrP/qe1OE5Z5Ku/9XNH1Th5TsLjh/ciMvkK8Bvf+b56s52+qsavGE1+dbvwWsBKopDvbfHssJXndGa+MOxe2IxBjhyvVbnE/f+WVYpf9QfwgvSwi4Ahb/Bs6sVpj8ZHgdlsCeWLQFgfDjJVUi5m/fpPQxhXttKGoBwgOvnh1O3Trx695fh5r3Jd37p9s5o9SdE1r0zQLAtBnd87WizozLT+evAN113gQnOK4Vyjh9qQfdknRVgyxphX5qGUrZNfR6bQ/ydw6mHLeQ3fn4cbj0bMeSdsT5mveJOVsDOwYHzztNrx7qCoxTfR7IUxNp5q9LllP7M4TqxADHC+f3q4pzq0/OE6QGYaX59MgsSfO+9D/3QXzSqn5ucuseKxorGLUuva+ezh/8mahYzaxfwPeB/GyT3fE/m4ytkcQzuy+UMR2DKPcNoQmZ+hlIbrF3o1Y1VsjD4IYY21yxmVgDOP1m/EloB2Ni+qxoT0eQgVqa0hdwT4SusxFGsQGMo7bXG7Y16FaDT+f9oBU2a85c1dGJdvk93TfUZQJMVnpoRz6w0LhH/4LDZ2vCIiJikV2A/klaEqz+Uk5GCczLGY9weYmY7kD6nVN5LHopuM7R2K36d7iNtrYfXdSgA8RrlWtb1QANQpJ88TuQk3QiVzUrqYegnT5xjcquSmpHw8WsPaU3TK/4o5X/jcdZtj5s4KwQ3Gttp/7uRs/fkGRbYvjt/6Ye+FOdqPo74eNLskXKidp4IEj5kY6lz3J5LIl6E23NJxNp8uXpJxOZDjT+uRGyh+hcSJZtvjHc6zfBNx39Y+Mt22R6T9n9/DvHNDobvxQAAAABJRU5ErkJggg==)
#
# Homeworks 1 to 3 judged every model by a likelihood. A **generator** alone has none: it is a map from noise to pictures, and nobody can say how probable a picture is under it. So it gets another judge, a second network that tries to tell
# its samples from real ones. The two play a game, in which the divergence between data and samples is never computed, only estimated by whoever plays well:
#
# $$ \min_G \max_D \; \mathbb E_{x \sim p} \ln D(x) + \mathbb E_{z \sim \mathcal N} \ln\big(1 - D(G(z))\big). $$
#
# You will write this game in its main dialects, learn *whose gradient must stop where*, repair the judge in three ways, and then face the question that the game leaves open: **how good is the generator?** Each of the usual answers will be built,
# and each will be shown something that it can not see.
#
# | part | what | points |
# |---|---|---|
# | 1 | theory: the best discriminator, a divergence of your own, what a penalty does, why a perfect generator does not score 0 | 4 |
# | 2.1–2.3 | the games: minimax, non-saturating, least squares, f-GAN; the two steps | 2 |
# | 2.4–2.6 | better critics: Wasserstein and clipping, gradient penalty, spectral normalisation | 3 |
# | 2.7 | labels and pairs: projection discriminator, cycle loss | 1 |
# | 2.8–2.11 | evaluation: Inception score, Fréchet distance, precision and recall, truncation | 3 |
# | 3 | a WGAN-GP on eight Gaussians, where coverage can be counted | 2 |
#
# **Time.** Expect 7–9 hours with the reading: theory 2½–3, part 2 four, part 3 one and a half. The training takes 15 to 25 seconds of one CPU core.
#
# **How to work.** Fill the places marked `YOUR CODE HERE` (delete the line `raise NotImplementedError()`), run the cell, then run the `check("...")` cell below it: it
# tries, within a second, a part of what is scored, and says what does not hold. Under each task a list **What is checked** names what is scored; the conventions below hold in every task, and nothing else is scored. A task that passes here can still miss a line of its list. You may add
# cells, helper functions and optional arguments; names, required arguments and shapes must stay. Tasks marked ★ carry no points. If you are stuck, unfold the *Hint* of a task.

# %% [markdown] tags=["limits"]
# What grading allows is printed here from `assignment.yaml`.

# %% [markdown]
# **Conventions.** Papers write the game as a maximisation, with probabilities; libraries write it as they like. This homework fixes one reading.
#
# - A **discriminator** returns logits, a **critic** unbounded scores, both of shape `(B,)`: one number for each sample, no sigmoid inside. $D = \mathrm{sigmoid}(\text{logit})$ is the probability of *real*; a critic scores real samples **high**.
# - Every loss is a scalar **to be minimised**, a mean over the batch. Where real and fake samples enter one loss, each is averaged over its own number, which may differ.
# - In penalties `real` and `fake` have the same shape `(B, *)`, with any `*`: vectors or images. Neither carries a graph. The norm of a gradient is the Euclidean norm over **all** entries of one sample.
# - $\lambda$ multiplies the penalty where the total loss is formed; `gradient_penalty` itself knows no $\lambda$.
# - Features are `(N, D)`, probabilities `(N, K)` with rows that sum to 1. A covariance divides by $N - 1$. Logarithms are natural, $0 \ln 0 = 0$. Results keep the dtype of their input; the grader sends float64, so compute in it.
# - A *scalar* is a tensor without dimensions. Where no gradient is needed, a Python float is as good; so is a named tuple for a tuple, or a class of yours that is a dictionary.
# - Networks are arguments. A network that is only asked for its values (in a penalty, in 2.7) may be any callable; one that is trained or clipped is a module.
# - No ε is added anywhere unless a task allows one. No function changes a tensor it is given, unless the task says so (`x.clamp_()` does): this is checked in many tasks.
# - Random numbers come from PyTorch's global generator, fresh in every call.
#
# **Reading**, by section: GAN [Goodfellow et al., 2014](https://arxiv.org/abs/1406.2661) (section 4) · f-GAN [Nowozin et al., 2016](https://arxiv.org/abs/1606.00709) (section 2, table 2) · LSGAN [Mao et al., 2017](https://arxiv.org/abs/1611.04076) (section 3.2) ·
# WGAN [Arjovsky et al., 2017](https://arxiv.org/abs/1701.07875) (examples 1 and 2) · gradient penalty [Gulrajani et al., 2017](https://arxiv.org/abs/1704.00028) (section 4) · spectral normalisation [Miyato et al., 2018](https://arxiv.org/abs/1802.05957) (section 2, algorithm 1) ·
# projection discriminator [Miyato, Koyama, 2018](https://arxiv.org/abs/1802.05637) (section 3) · CycleGAN [Zhu et al., 2017](https://arxiv.org/abs/1703.10593) (section 3) · Inception score [Barratt, Sharma, 2018](https://arxiv.org/abs/1801.01973) (what it can not see) ·
# Fréchet distance [Heusel et al., 2017](https://arxiv.org/abs/1706.08500) (section 2) · precision and recall [Kynkäänniemi et al., 2019](https://arxiv.org/abs/1904.06991) (section 2) · truncation [Brock et al., 2019](https://arxiv.org/abs/1809.11096) (section 3.1).

# %% tags=["package"]
from autograder import check

# %%
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


# %% [markdown]
# **What the game is about.** Grey: data, eight spots on a circle. Three generators that are all wrong, each in its own way: one covers a single spot, one blurs the spots together, one is a circle of the right radius. Look for a number that would tell them apart, and keep your guess until task 2.10.

# %%
torch.manual_seed(0)
angles = torch.arange(8) * math.pi / 4 + 0.3
spots = 2 * torch.stack([angles.cos(), angles.sin()], 1)[torch.randint(8, (1500,))] + 0.1 * torch.randn(1500, 2)
way = 2 * math.pi * torch.rand(1500)
wrong_ones = {
    "one spot only": 2 * torch.tensor([math.cos(0.3), math.sin(0.3)]) + 0.1 * torch.randn(1500, 2),
    "blurred": spots + 0.5 * torch.randn(1500, 2),
    "a circle": 2 * torch.stack([way.cos(), way.sin()], 1) + 0.1 * torch.randn(1500, 2),
}
figure, axes = plt.subplots(1, 3, figsize=(9, 3))
for axis, (title, points) in zip(axes, wrong_ones.items()):
    axis.scatter(*spots.T, s=2, color="0.75")
    axis.scatter(*points[:500].T, s=3, color="tab:orange")
    axis.set(title=title, xlim=(-3, 3), ylim=(-3, 3), xticks=[], yticks=[])
    axis.set_aspect("equal")
plt.show()

# %% [markdown]
# # Part 1. Theory (4 points)
#
# Tasks by hand are read by a human: short and complete beats long. Formulas go between dollar signs.
#
# ## 1.1 The best discriminator of an unbalanced game (0.5 by hand, 0.5 typed)
#
# Reading: Goodfellow et al. 2014, section 4, which does $\pi = \tfrac12$. A batch holds real samples with probability $\pi \in (0, 1)$, law $p$, and fakes with probability $1 - \pi$, law $q$. The discriminator maximises
#
# $$ V(D) = \pi\, \mathbb E_p \ln D + (1 - \pi)\, \mathbb E_q \ln(1 - D). $$
#
# 1. (0.2) Find the best $D^*$.
# 2. (0.15) Write $V(D^*)$ with Kullback–Leibler divergences from the mixture $m = \pi p + (1 - \pi) q$, and show that $V(D^*) + H(\pi)$ is a divergence between $p$ and $q$: at least 0, and 0 only for $p = q$. Here $H(\pi) = -\pi \ln \pi - (1 - \pi) \ln (1 - \pi)$.
# 3. (0.15) Nearly all samples are real: $\pi \to 1$. Which divergence, up to a factor, does the generator minimise then, to leading order in $1 - \pi$? Does it rather cover all modes, or rather avoid bad samples?
#
# <details><summary>Hint</summary>Maximise under the integral, one point at a time: $a \ln D + b \ln(1 - D)$ has its maximum at $D = a/(a + b)$. For 3, which of the two terms is of first order in $1 - \pi$?</details>

# %% [markdown] by_hand="theory-discriminator" points=0.5
# <!-- ### BEGIN SOLUTION -->
# **1.** $V = \int \pi p \ln D + (1 - \pi) q \ln (1 - D)$. At each point the integrand $a \ln D + b \ln(1 - D)$ is concave in $D$ with derivative $a/D - b/(1 - D)$, zero at $D = a/(a + b)$. So $D^* = \pi p / m$.
#
# **2.** $V(D^*) = \pi\, \mathbb E_p \ln \frac{\pi p}{m} + (1 - \pi)\, \mathbb E_q \ln \frac{(1 - \pi) q}{m} = \pi\, \mathrm{KL}(p \| m) + (1 - \pi)\, \mathrm{KL}(q \| m) - H(\pi)$.
# So $V + H$ is a positive combination of two divergences: $\ge 0$, and $0$ iff $p = m$ and $q = m$, hence iff $p = q$. (For $\pi = \tfrac12$ it is the Jensen–Shannon divergence, $H = \ln 2$.)
#
# **3.** Let $\varepsilon = 1 - \pi$, $m = p + \varepsilon (q - p)$. $\mathrm{KL}(p \| m) = O(\varepsilon^2)$, since it is zero to first order at $m = p$; $(1 - \pi)\, \mathrm{KL}(q \| m) \to \varepsilon\, \mathrm{KL}(q \| p)$. So $V + H \approx (1 - \pi)\, \mathrm{KL}(q \| p)$
# where that is finite: the *reverse* divergence, which punishes samples where there are no data and forgives a missing mode. The generator is mode seeking.
# <!-- ### END SOLUTION -->

# %% [markdown] tags=["rubric"]
# - 0.2 part 1: maximisation at each point, D* = πp/m (0.1 for the result without a reason)
# - 0.1 part 2: V(D*) = π KL(p‖m) + (1 − π) KL(q‖m) − H(π)
# - 0.05 part 2: at least 0, and 0 only for p = q
# - 0.1 part 3: the limit is (1 − π) KL(q‖p), the first term being of second order
# - 0.05 part 3: mode seeking, it rather avoids bad samples

# %% [markdown]
# Type it for laws over $K$ states. *Numbers to meet:* $p = (\tfrac12, \tfrac12)$, $q = (1, 0)$, $\pi = \tfrac12$: $D^* = (\tfrac13, 1)$ and $V = -0.4774$.
#
# <details><summary>Hint</summary>`torch.special.xlogy(a, b)` is $a \ln b$, and 0 where $a = 0$.</details>
#
# **What is checked**
# - `d`, `(K,)`, and `value`, a scalar, for $\pi$ from 0.1 to 0.9. A state may be impossible under one of the two laws, never under both.

# %% answer="theory-discriminator-answer"
def optimal_discriminator(p, q, prior):
    """The best discriminator of two finite laws, and the value of the game there.

    p, q: (K,), probabilities of real and of fake samples; prior: the probability of real. Returns d (K,) and value ().
    """
    ### BEGIN SOLUTION
    real, fake = prior * p, (1 - prior) * q
    d = real / (real + fake)
    value = torch.special.xlogy(real, d).sum() + torch.special.xlogy(fake, 1 - d).sum()
    return d, value
    ### END SOLUTION


# %% graded="theory-discriminator-code" points=0.5
check("theory-discriminator-code")

# %% [markdown]
# ## 1.2 A divergence of your own (1 point, typed)
#
# Reading: Nowozin et al. 2016, sections 2.1 and 2.2. Every convex $f$ with $f(1) = 0$ gives a divergence $D_f(p \| q) = \mathbb E_q f(p/q)$, and its *conjugate* $f^*(t) = \sup_{u \ge 0}\, ut - f(u)$ gives a game: for every critic $T$,
#
# $$ \mathbb E_p T - \mathbb E_q f^*(T) \;\le\; D_f(p \| q), \qquad \text{with equality at } T^* = f'(p/q). $$
#
# The usual tables stop after seven divergences. Here is another, the triangular discrimination: $f(u) = (u - 1)^2/(u + 1)$ for $u \ge 0$. Derive $f^*(t)$ for **every** $t \le 1$ (beyond that it is $+\infty$) and the best critic as a function of the ratio $u = p/q$.
#
# *Numbers to meet:* $f^*(\tfrac12) = 0.6716$, $T^*(3) = \tfrac34$.
#
# <details><summary>Hint</summary>Write $f(u) = u - 3 + 4/(u + 1)$. Where does $f'(u) = t$ have a solution with $u \ge 0$? And where is the supremum if it has none? The best critic never goes there. An untrained one does.</details>
#
# **What is checked**
# - `conjugate(t)`: values for $-6 \le t \le 1$, of any shape, $f^*(1)$ included; its derivative for $t < 1$, taken by autograd. 0.4 of the point are for those $t$ that lie below every value of $T^*$.
# - `optimal_critic(ratio)` for ratios $\ge 0$, of any shape; together the two reach $D_f(p\|q)$ exactly, for laws with $q > 0$.

# %% answer="theory-conjugate-answer"
def conjugate(t):
    """f*(t) of the triangular discrimination, elementwise, for t <= 1; differentiable for t < 1."""
    ### BEGIN SOLUTION
    root = torch.sqrt(1 - t)
    inside = 4 - t - 4 * root  # the supremum is at u = 2 / root - 1
    return torch.where(t < -3, -torch.ones_like(t), inside)  # below, it is at u = 0: -f(0)
    ### END SOLUTION


def optimal_critic(ratio):
    """The best critic T* at u = p/q >= 0, elementwise."""
    ### BEGIN SOLUTION
    # f(u) = u - 3 + 4 / (u + 1), and T* is its derivative
    slope = 1 - 4 / (ratio + 1) ** 2
    return slope
    ### END SOLUTION


# %% graded="theory-conjugate" points=1
check("theory-conjugate")

# %%
with when_written():
    t = torch.linspace(-6, 0.999, 400)
    u = torch.linspace(0, 6, 400)
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 2.8))
    left.plot(u, (u - 1) ** 2 / (u + 1), label="f(u)")
    for point in (0.0, 1.0, 3.0):
        slope = optimal_critic(torch.tensor(point))
        left.plot(u, slope * u - conjugate(slope), linewidth=0.7, color="0.5")
    left.set(xlabel="u = p/q", ylim=(-1.5, 4), title="f and its tangents, u T* − f*(T*)")
    right.plot(t, conjugate(t), label="f*(t)")
    right.plot(t, t, color="0.7", linewidth=0.7, label="t")
    right.axvline(-3, color="0.7", linestyle=":")
    right.set(xlabel="t", title="f*: what a fake sample costs", ylim=(-3, 3.2))
    right.legend()
    plt.show()

# %% [markdown]
# ## 1.3 What a gradient penalty does to the distance (0.6 by hand, 0.4 typed)
#
# Reading: Arjovsky et al. 2017, example 1; Gulrajani et al. 2017, section 4. Real data sit at 0, fakes at $\theta > 0$ on a line, so the Wasserstein distance is $W_1 = \theta$. A critic with a gradient penalty maximises
#
# $$ D(0) - D(\theta) - \lambda \cdot \frac1\theta \int_0^\theta \big(|D'(x)| - 1\big)^2\, dx . $$
#
# 1. (0.2) Show that the best critic has the same slope, sign included, everywhere between 0 and $\theta$.
# 2. (0.2) Find its steepness $|D'|$, the gap $D(0) - D(\theta)$ and the maximum. By how much does the gap, which people report as "Wasserstein estimate", exceed $W_1$?
# 3. (0.2) Which force does the generator feel, that is, the derivative of its loss $-D(\theta)$ in $\theta$ with the critic held fixed (its slope from the left; to the right of $\theta$ nothing is said of $D$)? Where does it pull? Compare its size with that of a critic whose weights are clipped (a linear one, weight in $[-c, c]$), and with the Jensen–Shannon divergence.
#
# <details><summary>Hint</summary>The gap is $-\int_0^\theta D'$. So what is maximised is an integral of a function of $D'(x)$ alone, the same at every $x$.</details>

# %% [markdown] by_hand="theory-penalty" points=0.6
# <!-- ### BEGIN SOLUTION -->
# **1.** The objective is $\int_0^\theta \big[-D'(x) - \tfrac\lambda\theta (|D'(x)| - 1)^2\big] dx$, and each $x$ may choose its own $D'(x)$. A positive slope is worse than its negative, so $D' = -a$ with $a \ge 0$, and $a - \tfrac\lambda\theta (a - 1)^2$ is strictly concave in $a$ and the same at every $x$: it has one maximiser, the same everywhere.
#
# **2.** $1 = \tfrac{2\lambda}{\theta}(a - 1)$, so $a = 1 + \theta/(2\lambda)$. The gap is $a\theta = \theta + \theta^2/(2\lambda)$, which exceeds $W_1 = \theta$ by $\theta^2/(2\lambda)$. The maximum is $a\theta - \lambda(a - 1)^2 = \theta + \theta^2/(4\lambda)$.
#
# **3.** $\partial(-D(\theta))/\partial\theta = a = 1 + \theta/(2\lambda)$: the generator moves towards the data with a force that *grows* with the distance. A clipped linear critic has slope $-c$, so the force is $c$, whatever $\theta$. The Jensen–Shannon divergence of two different
# points is $\ln 2$ for every $\theta \ne 0$, so its derivative, the force, is 0: the generator learns nothing until it has arrived.
# <!-- ### END SOLUTION -->

# %% [markdown] tags=["rubric"]
# - 0.2 part 1: the integrand depends on D′(x) alone, is concave, and the same at every x (0.1 if a constant slope is assumed)
# - 0.1 part 2: steepness 1 + θ/(2λ)
# - 0.1 part 2: gap θ + θ²/(2λ), excess θ²/(2λ), maximum θ + θ²/(4λ) (0.05 if one is missing)
# - 0.2 part 3: force 1 + θ/(2λ), growing; c for clipping, whatever θ; 0 for Jensen–Shannon (0.1 if one of the last two is missing)

# %% [markdown]
# Type the answers of 2. *Numbers to meet:* $\theta = 2$, $\lambda = \tfrac12$: 3, 6, 4.
#
# <details><summary>Hint</summary>A large $\lambda$ must give steepness 1, and both other numbers $\theta$.</details>
#
# **What is checked**
# - The three numbers, for $\theta$ and $\lambda$ between 0.3 and 4 given as floats. The steepness is positive, the gap is $D(0) - D(\theta)$, the objective has the penalty taken off.

# %% answer="theory-penalty-answer"
def penalised_critic(theta, lam):
    """The best critic of task 1.3: its steepness |D'|, the gap D(0) - D(theta), and the maximum, three numbers."""
    ### BEGIN SOLUTION
    steepness = 1 + theta / (2 * lam)
    gap = steepness * theta
    return steepness, gap, gap - lam * (steepness - 1) ** 2
    ### END SOLUTION


# %% graded="theory-penalty-code" points=0.4
check("theory-penalty-code")

# %% [markdown]
# ## 1.4 A perfect generator does not score 0 (0.6 by hand, 0.4 typed)
#
# Reading: Heusel et al. 2017, section 2. The Fréchet distance compares Gaussians fitted to features of real and of generated samples,
#
# $$ d^2 = \lVert \mu_1 - \mu_2 \rVert^2 + \mathrm{tr}\big(C_1 + C_2 - 2 (C_1 C_2)^{1/2}\big). $$
#
# Suppose that the generator is **perfect**: $N$ real and $M$ generated features all come from the same $\mathcal N(0, I)$ in $\mathbb R^D$. Means and covariances (with $N - 1$) are estimated from them.
#
# 1. (0.2) What does the first term give on average?
# 2. (0.3) And the second, to leading order for $N, M \gg D$?
# 3. (0.1) Two papers report distances on 5,000 and on 50,000 samples. What follows? What is left if the statistics of the real data are exact, $N = \infty$?
#
# <details><summary>Hint</summary>Near the identity, $\mathrm{tr}(A + B - 2(AB)^{1/2}) \approx \tfrac14 \lVert A - B \rVert_F^2$. An entry $(i, j)$ of the covariance of $N$ standard normal features has variance $(1 + \delta_{ij})/(N - 1)$.</details>

# %% [markdown] by_hand="theory-bias" points=0.6
# <!-- ### BEGIN SOLUTION -->
# **1.** The two means are independent, each entry with variance $1/N$ and $1/M$: $\mathbb E \lVert \mu_1 - \mu_2 \rVert^2 = D (1/N + 1/M)$.
#
# **2.** $\tfrac14 \mathbb E \lVert C_1 - C_2 \rVert_F^2$ is a quarter of the sum of the variances of all entries of both: of the $D^2$ entries $D$ lie on the diagonal, so $\sum_{ij} (1 + \delta_{ij}) = D^2 + D$. Together
# $\frac{D(D + 1)}{4} \big(\frac{1}{N - 1} + \frac{1}{M - 1}\big)$.
#
# **3.** The distance of a perfect generator falls like $1/N$: the paper with fewer samples reports a larger distance for the same generator, so the two numbers do not compare. (With $D = 2048$ and 5,000 samples the bias is some hundreds of units in this idealised case.) With exact statistics of the data only the terms in $1/M$ are left, half of it for $N = M$; it does not vanish.
# <!-- ### END SOLUTION -->

# %% [markdown] tags=["rubric"]
# - 0.2 part 1: D(1/N + 1/M)
# - 0.3 part 2: D(D + 1)/4 · (1/(N − 1) + 1/(M − 1)), N for N − 1 accepted (0.15 if the diagonal only)
# - 0.1 part 3: numbers from different sample sizes do not compare; exact statistics of one side leave the terms of the other

# %% [markdown]
# Type the sum of both terms. *Number to meet:* $D = 2$, $N = 100$, $M = \infty$: 0.0352.
#
# <details><summary>Hint</summary>Python divides by `math.inf` without complaint.</details>
#
# **What is checked**
# - The leading order within 2 %, for sizes of at least 400, equal and unequal (there $N$ in the place of $N - 1$ makes no difference; in the number to meet it does). `m`, or `n`, may be `math.inf`.

# %% answer="theory-bias-answer"
def frechet_bias(dims, n, m):
    """Expected Fréchet distance between n and m features of the same N(0, I) in `dims` dimensions, to leading order."""
    ### BEGIN SOLUTION
    mean_part = dims * (1 / n + 1 / m)
    cov_part = dims * (dims + 1) / 4 * (1 / (n - 1) + 1 / (m - 1))
    return mean_part + cov_part
    ### END SOLUTION


# %% graded="theory-bias-code" points=0.4
check("theory-bias-code")

# %% [markdown]
# # Part 2. Games, critics, measures (9 points)
#
# ## 2.1 Three ways to play (0.75 points)
#
# Reading: Goodfellow et al. 2014, section 3; Mao et al. 2017, section 3.2. With $D = \mathrm{sigmoid}(\text{logit})$:
#
# - discriminator: $-\operatorname{mean} \ln D(\text{real}) - \operatorname{mean} \ln(1 - D(\text{fake}))$, the sum of both, without a ½;
# - generator, `"minimax"`: $\operatorname{mean} \ln(1 - D(\text{fake}))$; `"non-saturating"`: $-\operatorname{mean} \ln D(\text{fake})$. Both are minimised, and both pull the logit up;
# - least squares, with targets $a$ for fake, $b$ for real, $c$ for what the generator wants: $\tfrac12 \operatorname{mean} (\text{real} - b)^2 + \tfrac12 \operatorname{mean} (\text{fake} - a)^2$, and $\tfrac12 \operatorname{mean} (\text{fake} - c)^2$.
#
# *Numbers to meet:* logits of real (0, 2) and fake (−1): discriminator 0.7233, minimax −0.3133, non-saturating 1.3133.
#
# <details><summary>Hint</summary>$\ln \mathrm{sigmoid}(a) = -\mathrm{softplus}(-a)$, and `F.softplus` neither overflows nor loses digits. A logarithm of a sigmoid does both.</details>
#
# **What is checked**
# - Values, for batches of real and fake of different sizes; finite **and right** for logits of ±800, in float32 and float64.
# - The gradient of the generator's loss at a logit of −30: it vanishes for minimax, and is $-1/B$ for non-saturating.
# - `lsgan_losses` → `(d_loss, g_loss)` for several $a, b, c$, given by position or by name; the defaults are 0, 1, 1.

# %% answer="gan-losses-answer"
def discriminator_loss(real_logits, fake_logits):
    """Cross-entropy of telling real from fake; real_logits (N,), fake_logits (M,). Returns a scalar."""
    ### BEGIN SOLUTION
    missed_real = F.softplus(-real_logits).mean()  # -ln D
    believed_fake = F.softplus(fake_logits).mean()  # -ln(1 - D)
    return missed_real + believed_fake
    ### END SOLUTION


def generator_loss(fake_logits, kind):
    """The generator's loss, to be minimised. kind: "minimax" or "non-saturating". Returns a scalar."""
    ### BEGIN SOLUTION
    if kind == "minimax":
        return -F.softplus(fake_logits).mean()
    return F.softplus(-fake_logits).mean()
    ### END SOLUTION


def lsgan_losses(real_scores, fake_scores, a=0.0, b=1.0, c=1.0):
    """Least squares losses (d_loss, g_loss), two scalars."""
    ### BEGIN SOLUTION
    half_square = lambda scores, goal: 0.5 * (scores - goal).square().mean()
    d_loss = half_square(real_scores, b) + half_square(fake_scores, a)
    return d_loss, half_square(fake_scores, c)
    ### END SOLUTION


# %% graded="gan-losses" points=0.75
check("gan-losses")

# %% [markdown]
# While the discriminator is sure of itself (left in the pictures), a minimax generator feels nothing: that is what *saturating* means.

# %%
with when_written():
    logit = torch.linspace(-8, 8, 200).requires_grad_()
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 2.6))
    for kind in ("minimax", "non-saturating"):
        loss = torch.stack([generator_loss(one[None], kind) for one in logit])
        left.plot(logit.detach(), loss.detach(), label=kind)
        right.plot(logit.detach(), torch.autograd.grad(loss.sum(), logit)[0])
    left.set(xlabel="logit of a fake", title="loss of the generator")
    right.set(xlabel="logit of a fake", title="its derivative")
    left.legend()
    plt.show()

# %% [markdown]
# ## 2.2 Two steps (0.75 points)
#
# Reading: Goodfellow et al. 2014, algorithm 1. Each step trains **one** network, with the loss as it is before the step; the generator plays non-saturating.
#
# A step trains its own network only, and returns its loss before the step, a number (a float or a scalar). Steps must not disturb each other. Begin as if somebody had left gradients in your network, for the other step may. Leave no network frozen: who sets `requires_grad` to `False` sets it back. And a step of the discriminator leaves no new gradient in the generator.
#
# <details><summary>Hint</summary>Draw the way from the noise to the loss, and mark where it has to be cut. It is cut in one of the two steps only. Then ask which gradients are still lying around when a step begins.</details>
#
# **What is checked**, by the displacement of every parameter under plain gradient descent
# - A sequence of steps on the same networks: discriminator, generator, generator, discriminator, discriminator. Each moves its own network by exactly −(learning rate) · (gradient of its loss), the other not at all, and returns its loss.
# - After the first of them the grader steps the *generator's* optimiser by itself: nothing may move.
# - The losses are those of task 2.1; where yours are wrong there, your own count here.

# %% answer="gan-steps-answer"
def discriminator_step(generator, discriminator, optimizer, real, noise):
    """One step of the discriminator; optimizer holds its parameters only. real (B, *), noise (M, *). Returns the loss."""
    ### BEGIN SOLUTION
    with torch.no_grad():
        fake = generator(noise)
    loss = discriminator_loss(discriminator(real), discriminator(fake))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()
    ### END SOLUTION


def generator_step(generator, discriminator, optimizer, noise):
    """One non-saturating step of the generator; optimizer holds its parameters only. Returns the loss."""
    ### BEGIN SOLUTION
    fake = generator(noise)
    loss = generator_loss(discriminator(fake), "non-saturating")
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()
    ### END SOLUTION


# %% graded="gan-steps" points=0.75
check("gan-steps")

# %% [markdown]
# ## 2.3 Any f-divergence (0.5 points)
#
# Reading: Nowozin et al. 2016, sections 2.2–2.4 and table 2. With the conjugate $f^*$ of task 1.2 both players play one bound:
#
# $$ \text{critic: } -\big(\operatorname{mean} T(\text{real}) - \operatorname{mean} f^*(T(\text{fake}))\big), \qquad \text{generator: } -\operatorname{mean} f^*(T(\text{fake})). $$
#
# (The paper also proposes $-\operatorname{mean} T(\text{fake})$ for the generator. That heuristic is *not* asked for.) A network's raw output $v$ may be any number, $f^*$ may not like all of them: an increasing map brings $v$ into its domain.
#
# | `name` | domain of $f^*$ | $t$ |
# |---|---|---|
# | `"kl"`, `"pearson"` | all numbers | $v$ |
# | `"reverse-kl"` | $t < 0$ | $-e^{-v}$ |
# | `"gan"` | $t < 0$ | $-\mathrm{softplus}(-v)$ |
#
# *Numbers to meet:* Pearson's $f^*(t) = t + t^2/4$, $t$ of real (2), of fake (0, 2): critic −½, generator −1.5.
#
# <details><summary>Hint</summary>A mean of $f^*$ is not $f^*$ of a mean.</details>
#
# **What is checked**
# - With two conjugates that the grader passes, for laws over a few states given as batches of unequal size: both losses; at the best critic the first is minus the divergence.
# - `activation(v, name)` for the four names, of any shape, finite and right for $v$ from −30 to 30.

# %% answer="fgan-answer"
def fgan_losses(t_real, t_fake, conjugate):
    """(critic_loss, generator_loss) of the f-GAN game; t_real (N,), t_fake (M,); conjugate: f*, elementwise."""
    ### BEGIN SOLUTION
    cost = conjugate(t_fake).mean()
    bound = t_real.mean() - cost
    return -bound, -cost
    ### END SOLUTION


def activation(v, name):
    """Brings raw outputs v, of any shape, into the domain of f*. name: "kl", "pearson", "reverse-kl" or "gan"."""
    ### BEGIN SOLUTION
    if name == "reverse-kl":
        return -torch.exp(-v)
    return -F.softplus(-v) if name == "gan" else v
    ### END SOLUTION


# %% graded="fgan" points=0.5
check("fgan")

# %% [markdown]
# ## 2.4 A critic, and what it estimates (0.75 points)
#
# Reading: Arjovsky et al. 2017, section 3 and algorithm 1. A critic with slope at most 1 everywhere obeys $\mathbb E_p D - \mathbb E_q D \le W_1(p, q)$, and the best one reaches it. Its losses are
# $\operatorname{mean} D(\text{fake}) - \operatorname{mean} D(\text{real})$, and $-\operatorname{mean} D(\text{fake})$ for the generator. The first WGAN kept the slope in bounds by force: after each step **every parameter** is clipped to $[-c, c]$.
#
# On a line the distance that the critic tries to estimate can be computed: it is the **area between the two distribution functions**, which for samples are staircases,
#
# $$ W_1 = \int |F_x(s) - F_y(s)|\, ds . $$
#
# *Number to meet:* samples $\{0, 1\}$ and $\{0, 0, 3\}$: $\tfrac56$.
#
# <details><summary>Hint</summary>Put all points of both samples in one sorted row. Between neighbours both staircases are flat: how high is each? `torch.searchsorted` counts. The samples may have different sizes, so pairing sorted points is not enough.</details>
#
# **What is checked**
# - `critic_losses` → `(critic_loss, generator_loss)`, two scalars, for batches of unequal size.
# - `clip_parameters(critic, c)` changes all parameters in place: of nested modules, biases, frozen ones too. Buffers and flags stay, and the critic can be trained afterwards as before.
# - `wasserstein_1d`, a scalar, for samples of equal and unequal sizes, with ties, within 1e-6; symmetric; a shift by $v$ costs $|v|$.

# %% answer="critic-answer"
def critic_losses(real_scores, fake_scores):
    """Wasserstein losses (critic_loss, generator_loss), two scalars."""
    ### BEGIN SOLUTION
    real, fake = real_scores.mean(), fake_scores.mean()
    critic_loss = fake - real
    return critic_loss, -fake
    ### END SOLUTION


def clip_parameters(critic, c):
    """Clip every parameter of a module to [-c, c], in place."""
    ### BEGIN SOLUTION
    with torch.no_grad():
        for parameter in critic.parameters():
            parameter.clamp_(-c, c)
    ### END SOLUTION


def wasserstein_1d(x, y):
    """The exact distance W_1 of two samples on a line, x (N,), y (M,), float64. Returns a scalar."""
    ### BEGIN SOLUTION
    points = torch.cat([x, y]).sort().values
    gaps = points.diff()
    F_x, F_y = (
        torch.searchsorted(sample.sort().values, points[:-1], right=True).to(x.dtype) / len(sample) for sample in (x, y)
    )
    return ((F_x - F_y).abs() * gaps).sum()
    ### END SOLUTION


# %% graded="critic" points=0.75
check("critic")

# %%
with when_written():
    x, y = torch.tensor([0.0, 1.0], dtype=torch.float64), torch.tensor([0.0, 0.0, 3.0], dtype=torch.float64)
    line = torch.linspace(-1, 4, 1000, dtype=torch.float64)
    stairs = [(sample[:, None] <= line).double().mean(0) for sample in (x, y)]
    figure, axis = plt.subplots(figsize=(5, 2.4))
    axis.step(line, stairs[0], label="F of {0, 1}")
    axis.step(line, stairs[1], label="F of {0, 0, 3}")
    axis.fill_between(line, *stairs, alpha=0.3, step="pre")
    axis.set(title=f"the area between them: {wasserstein_1d(x, y):.4f}")
    axis.legend()
    plt.show()

# %% [markdown]
# ## 2.5 The gradient penalty (1.25 points)
#
# Reading: Gulrajani et al. 2017, section 4 and algorithm 1. Instead of clipping weights, ask for slope 1 where it matters, between real and fake samples:
#
# $$ \operatorname{mean} \big(\lVert \nabla D(\hat x) \rVert - 1\big)^2, \qquad \hat x = t \cdot \text{real} + (1 - t) \cdot \text{fake}, \qquad t \sim U[0, 1], \text{ one for each sample}. $$
#
# The slope is taken in $\hat x$, and the penalty is trained by the critic's *parameters*: so the gradient in $\hat x$ is part of the loss and must stay in the graph. `gradient_penalty` returns the scalar without $\lambda$, calls the critic once, with the whole batch, and fills nobody's `.grad`.
# An ε of at most 1e-8 may stand inside the square root of the norm; where it makes a difference, that is accepted.
#
# `critic_step` is one step of a critic on $\text{critic loss} + \lambda \cdot \text{penalty}$, under the rules of task 2.2, and returns that sum; real and noise have the same number of rows. How often it calls its networks is up to you.
#
# *Numbers to meet:* a linear critic of norm 2 has penalty 1. The critic $\tfrac12 \lVert x \rVert^2$ with real $(1, 0)$ and fake $(3, 0)$: 4/3 on average over $t$.
#
# <details><summary>Hint</summary>`torch.autograd.grad(scores.sum(), x_hat, create_graph=True)` gives the gradients of all samples at once: no score depends on another sample. Flatten before you take the norm. A `t` of shape `(B, 1, ..., 1)` broadcasts over images as well as vectors.</details>
#
# **What is checked**
# - (0.25) Linear and other critics on images and vectors, also a batch of one: the value.
# - (0.2) The derivative of the penalty in the critic's parameters; no `.grad` is left in them.
# - (0.25) A recorder notes the $\hat x$: each lies on the segment of its own row, the value is the mean at exactly these points, and $t$ is uniform over many calls, with large batches as with batches of one.
# - (0.1) A critic with slope 0: the value is 1, within 0.001, and the derivative in the parameters finite.
# - (0.25) `critic_step`: loss and displacement for several $\lambda$ in a row, $\lambda = 0$ among them; when the grader steps the generator's optimiser afterwards, nothing moves.
# - (0.2) In the notebook: linear critics of norm 1 and 2; the result carries a gradient.

# %% answer="gradient-penalty-answer"
def gradient_penalty(critic, real, fake):
    """Mean of (|grad D| - 1)^2 at random points between real and fake, (B, *) both. Returns a scalar with its graph."""
    ### BEGIN SOLUTION
    t = torch.rand(len(real), *[1] * (real.dim() - 1), dtype=real.dtype)  # (B, 1, ..., 1)
    x_hat = (t * real + (1 - t) * fake).requires_grad_()
    (slope,) = torch.autograd.grad(critic(x_hat).sum(), x_hat, create_graph=True)  # (B, *)
    return (slope.flatten(1).norm(dim=1) - 1).square().mean()
    ### END SOLUTION


def critic_step(generator, critic, optimizer, real, noise, lam):
    """One step of the critic on its loss + lam * penalty; optimizer holds its parameters only. Returns the loss."""
    ### BEGIN SOLUTION
    with torch.no_grad():
        fake = generator(noise)
    wasserstein, _ = critic_losses(critic(real), critic(fake))
    loss = wasserstein + lam * gradient_penalty(critic, real, fake)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()
    ### END SOLUTION


# %% graded="gradient-penalty" points=1.25
check("gradient-penalty")

# %% [markdown]
# Where your penalty looks: 4000 values of $t$, read off from the points that the critic was shown. The histogram should be flat, and the points should fill the segments.

# %%
with when_written():
    seen = []

    def spy(x):
        seen.append(x.detach())
        return x.square().sum(1) / 2

    real, fake = torch.zeros(4000, 2), torch.tensor([1.0, 0.5]).expand(4000, 2)
    gradient_penalty(spy, real, fake)
    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 2.4))
    left.hist(1 - seen[0][:, 0], bins=20)
    left.set(title="the t of 4000 samples")
    ends = torch.randn(30, 2), torch.randn(30, 2) + 4
    gradient_penalty(spy, *ends)
    for a, b in zip(*ends):
        right.plot(*torch.stack([a, b]).T, color="0.8", linewidth=0.7)
    right.scatter(*seen[1].T, s=8, color="tab:orange")
    right.set(title="30 segments and their points")
    plt.show()

# %% [markdown]
# ## 2.6 Spectral normalisation (1 point)
#
# Reading: Miyato et al. 2018, section 2.1 and algorithm 1. A third way to bound the slope: divide each weight by its largest singular value. A convolution's weight `(out, in, k, k)` is read as the matrix $W$ of shape `(out, in·k·k)`. Power iteration finds the singular value cheaply, one step in each forward pass:
#
# $$ v \leftarrow \frac{W^\top u}{\lVert W^\top u \rVert}, \qquad u \leftarrow \frac{W v}{\lVert W v \rVert}, \qquad \hat\sigma = u^\top W v . $$
#
# In gradients $u$ and $v$ are **constants**; $\hat\sigma = u^\top W v$ is not, it depends on $W$.
#
# `SpectralLinear` is an `nn.Linear` with the parameters `weight` (the raw one, which is never overwritten) and `bias`, and a buffer `u` of shape `(out,)`, which begins as a random vector of length 1. In training mode a forward pass does one step of power iteration on `weight`, keeps the new `u`, and returns $x W^\top / \hat\sigma + b$. In evaluation mode nothing moves: $\hat\sigma$ comes from the `u` that is stored, with or without a step whose `u` is not kept (after many passes in training mode that is the same).
#
# *Number to meet:* $W = \mathrm{diag}(3, 1)$, $u = (1, 1)/\sqrt2$, one step: $\hat\sigma = 2.8636$.
#
# <details><summary>Hint</summary>Compute $u$ and $v$ under `torch.no_grad()`, $\hat\sigma$ outside of it. `register_buffer` makes `u` travel in the `state_dict` without being trained; `self.u.copy_(...)` changes it in place.</details>
#
# **What is checked**
# - `power_iteration` → `(sigma, u, v)`: exact values after 1 and 3 steps, from a `u` of any length; the largest singular value after 40; for matrices, also of one row, and weights of convolutions. `u` itself is not changed.
# - `SpectralLinear(in_features, out_features)`: forward passes in training mode; three times the grader changes `weight` and looks at the next output, the new `u`, and the derivative in `weight`. In evaluation mode, after 100 forward passes in training mode, the output is $x W^\top/\sigma_{\max} + b$, twice the same, and `u` stays. `u` is in the `state_dict`.

# %% answer="spectral-norm-answer"
def power_iteration(weight, u, n_steps):
    """n_steps >= 1 steps from u (out,) on weight (out, ...). Returns sigma (), u (out,) and v (rest,)."""
    ### BEGIN SOLUTION
    W = weight.flatten(1)  # (out, rest)
    with torch.no_grad():
        for _ in range(n_steps):
            v = F.normalize(W.T @ u, dim=0)
            u = F.normalize(W @ v, dim=0)
    return u @ W @ v, u, v
    ### END SOLUTION


class SpectralLinear(nn.Linear):
    """A linear layer whose weight is divided by an estimate of its largest singular value."""

    def __init__(self, in_features, out_features):
        super().__init__(in_features, out_features)
        ### BEGIN SOLUTION
        start = torch.randn(out_features)
        start = start / start.norm()
        self.register_buffer("u", start)
        ### END SOLUTION

    def forward(self, x):
        """x (B, in_features) to (B, out_features)."""
        ### BEGIN SOLUTION
        sigma, u, _ = power_iteration(self.weight, self.u, 1)
        if self.training:
            self.u.copy_(u)
        return F.linear(x, self.weight / sigma, self.bias)
        ### END SOLUTION


# %% graded="spectral-norm" points=1
check("spectral-norm")

# %%
with when_written():
    torch.manual_seed(0)
    W, u = torch.randn(8, 20, dtype=torch.float64), torch.randn(8, dtype=torch.float64)
    top = torch.linalg.matrix_norm(W, 2)
    off = [(top - power_iteration(W, u, n)[0]).item() for n in range(1, 40)]
    figure, axis = plt.subplots(figsize=(5, 2.2))
    axis.semilogy(range(1, 40), off)
    axis.set(xlabel="steps of power iteration", title="how far below the largest singular value")
    plt.show()

# %% [markdown]
# ## 2.7 Labels, and pairs of domains (1 point)
#
# Reading: Miyato, Koyama 2018, section 3; Zhu et al. 2017, section 3. **With labels.** A discriminator can be told which class a sample claims to be: with features $h(x)$ and one vector $e_y$ for each class,
#
# $$ \text{logit}(x, y) = \psi(h(x)) + \langle e_y, h(x) \rangle, \qquad \psi \text{ linear, with bias.} $$
#
# **With pairs of domains, but no pairs of samples.** Two generators $g_{ab}$, $g_{ba}$ translate between domains. What goes there and back should come home, and what is there already should stay; both are means of absolute differences over all entries, one term for each direction:
#
# $$ \text{cycle} = \operatorname{mean} |g_{ba}(g_{ab}(a)) - a| + \operatorname{mean} |g_{ab}(g_{ba}(b)) - b|, \qquad \text{identity} = \operatorname{mean} |g_{ab}(b) - b| + \operatorname{mean} |g_{ba}(a) - a| . $$
#
# *Numbers to meet:* $g_{ab}(x) = 2x$, $g_{ba}(x) = x/2 + 1$, $a = b = 0$: cycle 3, identity 1.
#
# <details><summary>Hint</summary>`self.psi(h)` has shape `(B, 1)`. Added to a `(B,)`, it broadcasts to a matrix.</details>
#
# **What is checked**
# - `ProjectionDiscriminator(features, dim, n_classes)`: `features` is any module from `(B, *)` to `(B, dim)`, `psi` is `nn.Linear(dim, 1)`, `embedding` is `nn.Embedding(n_classes, dim)`. The logits `(B,)`, also `(1,)` for a batch of one (0.1), with weights put in by these names; their gradient reaches all three parts.
# - `cycle_losses`: a dictionary with `cycle` and `identity`, two scalars, for maps that are inverses of each other and for maps that are not, vectors and images, batches `a` and `b` of different sizes.

# %% answer="conditional-answer"
class ProjectionDiscriminator(nn.Module):
    """Logits of samples with labels, psi(h) + <e_y, h>."""

    def __init__(self, features, dim, n_classes):
        super().__init__()
        ### BEGIN SOLUTION
        self.features = features
        self.psi = nn.Linear(dim, 1)
        self.embedding = nn.Embedding(n_classes, dim)
        ### END SOLUTION

    def forward(self, x, label):
        """x (B, *), label (B,) whole numbers. Returns (B,)."""
        ### BEGIN SOLUTION
        h = self.features(x)  # (B, dim)
        fits = (self.embedding(label) * h).sum(1)
        return self.psi(h).squeeze(1) + fits
        ### END SOLUTION


def cycle_losses(g_ab, g_ba, a, b):
    """The dictionary {"cycle": scalar, "identity": scalar}; a (N, *) and b (M, *)."""
    ### BEGIN SOLUTION
    apart = lambda x, y: (x - y).abs().mean()
    cycle = apart(g_ba(g_ab(a)), a) + apart(g_ab(g_ba(b)), b)
    return {"cycle": cycle, "identity": apart(g_ab(b), b) + apart(g_ba(a), a)}
    ### END SOLUTION


# %% graded="conditional" points=1
check("conditional")

# %% [markdown]
# ## 2.8 The Inception score (0.75 points)
#
# Now to measures. Reading: Barratt, Sharma 2018, sections 2 and 4. A classifier gives each generated sample a law over $K$ classes, one row of `probs`. Good samples are *clear*, each row is sharp, and *diverse*, the mean row is flat:
#
# $$ \mathrm{IS} = \exp\Big( \frac1N \sum_n \mathrm{KL}\big(p(\cdot \mid x_n) \,\|\, \bar p\big) \Big), \qquad \bar p = \frac1N \sum_n p(\cdot \mid x_n). $$
#
# *Numbers to meet:* rows $(1, 0)$ and $(\tfrac12, \tfrac12)$: 1.2408. It lies between 1 and $K$. Note what it never looks at: the real data.
#
# <details><summary>Hint</summary>`torch.special.xlogy(p, p)` is $p \ln p$ with $0 \ln 0 = 0$. A class that never occurs must not give NaN.</details>
#
# **What is checked**, all rows at once (no splits)
# - Balanced one-hot rows give $K$, uniform rows and a single row 1; random rows with $N \ne K$; zeros, and a class that never occurs. The accepted error, 1e-5, has room for an ε of 1e-7 in the logarithm.

# %% answer="inception-score-answer"
def inception_score(probs):
    """exp of the mean divergence of the rows from their mean; probs (N, K). Returns a scalar."""
    ### BEGIN SOLUTION
    marginal = probs.mean(0)
    kl = (torch.special.xlogy(probs, probs) - torch.special.xlogy(probs, marginal)).sum(1)
    return kl.mean().exp()
    ### END SOLUTION


# %% graded="inception-score" points=0.75
check("inception-score")

# %% [markdown]
# ## 2.9 The Fréchet distance (1 point)
#
# Reading: Heusel et al. 2017, section 2. Fit a Gaussian to the features of real samples, another to those of generated ones, and compare the two by the formula of task 1.4. The root is that of a **matrix**, not of its entries.
#
# *Number to meet:* $\mathcal N(0, 1)$ and $\mathcal N(1, 4)$: 2.
#
# <details><summary>Hint</summary>The product of two symmetric matrices is not symmetric, but its eigenvalues are real and at least 0: those of $C_1^{1/2} C_2 C_1^{1/2}$, which is symmetric. `torch.linalg.eigh` gives the root of $C_1$. Rounding makes eigenvalues like $-10^{-17}$: clamp.</details>
#
# **What is checked**
# - `feature_statistics` → `(mean, cov)`, `(D,)` and `(D, D)`, also for $D = 1$ and for fewer samples than dimensions.
# - The distance, a real scalar, for full covariances that do not commute, of any rank, also 0; symmetric; 0 for a set against itself. Accepted error $10^{-6} (1 + \mathrm{tr}\, C_1 + \mathrm{tr}\, C_2)$, to either side of 0 too.

# %% answer="frechet-answer"
def feature_statistics(features):
    """Mean (D,) and covariance (D, D) of features (N, D), divided by N - 1."""
    ### BEGIN SOLUTION
    mean = features.mean(0)
    centred = features - mean
    return mean, centred.T @ centred / (len(features) - 1)
    ### END SOLUTION


def frechet_distance(mean_1, cov_1, mean_2, cov_2):
    """Squared Fréchet distance of two Gaussians; means (D,), covariances (D, D), float64. Returns a scalar."""
    ### BEGIN SOLUTION
    values, vectors = torch.linalg.eigh(cov_1)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T  # of cov_1
    inner = torch.linalg.eigvalsh(root @ cov_2 @ root)
    cross = inner.clamp(min=0).sqrt().sum()  # tr (C_1 C_2)^(1/2)
    return (mean_1 - mean_2).square().sum() + cov_1.trace() + cov_2.trace() - 2 * cross
    ### END SOLUTION


# %% graded="frechet" points=1
check("frechet")

# %% [markdown]
# Task 1.4 in one picture: the distance of a **perfect** sampler from the data, against the number of samples.

# %%
with when_written():
    def perfect(n, dims):
        return feature_statistics(torch.randn(n, dims, dtype=torch.float64))

    torch.manual_seed(0)
    sizes = [100, 200, 400, 800, 1600, 3200, 6400]
    figure, axis = plt.subplots(figsize=(5, 2.6))
    for dims in (4, 16):
        found = [np.mean([float(frechet_distance(*perfect(n, dims), *perfect(n, dims))) for _ in range(10)]) for n in sizes]
        axis.loglog(sizes, found, "o", label=f"measured, D = {dims}")
        axis.loglog(sizes, [frechet_bias(dims, n, n) for n in sizes], color="0.5", linewidth=0.8)
    axis.set(xlabel="samples of each kind", title="Fréchet distance between equals; lines: task 1.4")
    axis.legend()
    plt.show()

# %% [markdown]
# ## 2.10 Precision and recall (0.75 points)
#
# Reading: Kynkäänniemi et al. 2019, section 2. Two questions instead of one number. Give each real point the distance to its $k$-th nearest **other** real point as a radius. *Precision* is the share of fakes that lie within the radius of at least one real point: are samples good? *Recall* is the same with the roles exchanged,
# the share of real points within the radius of at least one fake: is everything covered?
#
# *Numbers to meet:* real $\{0, 1, 2, 3\}$, fake $\{1.4, 10\}$, $k = 1$: precision ½, recall 1.
#
# <details><summary>Hint</summary>`torch.cdist` gives all distances. A point is at distance 0 from itself; put ∞ on the diagonal, then `kthvalue`. Two different points may also coincide, and those count. (From more than 25 rows on `torch.cdist` rounds such a 0 to some 1e-8, unless you pass `compute_mode="donot_use_mm_for_euclid_dist"`.)</details>
#
# **What is checked**
# - `(precision, recall)`, two scalars, for sets of unequal sizes and $k$ from 1 to 3; points that coincide (in sets of a few points); a generator that has dropped a mode. No distance ties with a radius, unless both are 0.

# %% answer="precision-recall-answer"
def precision_recall(real, fake, k):
    """(precision, recall) by the distances to the k-th nearest other point; real (N, D), fake (M, D)."""
    ### BEGIN SOLUTION
    def covered(points, centres):
        among = torch.cdist(centres, centres).fill_diagonal_(math.inf)
        radius = among.kthvalue(k, dim=1).values
        return (torch.cdist(points, centres) <= radius).any(1).double().mean()

    return covered(fake, real), covered(real, fake)
    ### END SOLUTION


# %% graded="precision-recall" points=0.75
check("precision-recall")

# %% [markdown]
# **The picture of this homework.** Fresh data, a circle, one fitted Gaussian: by the Fréchet distance all three are nearly perfect, since mean and covariance are right. Recall sees no difference either: all of them cover the data. Precision does.

# %%
def with_titles(real, candidates):
    """Draw candidate samples over real ones, each with its three numbers."""
    figure, axes = plt.subplots(1, len(candidates), figsize=(3.1 * len(candidates), 3.4))
    for axis, (name, fake) in zip(axes, candidates.items()):
        real_64, fake_64 = real[:2000].double(), fake[:2000].double()
        distance = frechet_distance(*feature_statistics(real_64), *feature_statistics(fake_64))
        precision, recall = precision_recall(real_64, fake_64, 5)
        axis.scatter(*real[:1000].T, s=2, color="0.75")
        axis.scatter(*fake[:1000].T, s=2, color="tab:orange")
        axis.set(xlim=(-3, 3), ylim=(-3, 3), xticks=[], yticks=[])
        axis.set_title(f"{name}\nFréchet {distance:.3f}, P {precision:.2f}, R {recall:.2f}", fontsize=9)
        axis.set_aspect("equal")
    plt.show()


def eight_spots(n):
    """n points of eight equal Gaussians on a circle, (n, 2)."""
    return 2 * torch.stack([angles.cos(), angles.sin()], 1)[torch.randint(8, (n,))] + 0.1 * torch.randn(n, 2)


def circle_and_gaussian(points):
    """Two trivial baselines that have the mean and the covariance of points (N, 2): a circle and a Gaussian."""
    way, centre = 2 * math.pi * torch.rand(len(points)), points.mean(0)
    radius = ((points - centre).square().sum(1).mean() - 0.02).sqrt()
    circle = centre + radius * torch.stack([way.cos(), way.sin()], 1) + 0.1 * torch.randn(len(points), 2)
    return circle, centre + torch.randn(len(points), 2) @ torch.linalg.cholesky(points.T.cov()).T


with when_written():
    torch.manual_seed(1)
    real = eight_spots(2000)
    circle, gaussian = circle_and_gaussian(real)
    dropped = real[real[:, 0] > 0][torch.randint(int((real[:, 0] > 0).sum()), (2000,))]
    with_titles(real, {"fresh data": eight_spots(2000), "a circle": circle, "one Gaussian": gaussian, "half of the modes": dropped})

# %% [markdown]
# ## 2.11 Truncation (0.5 points)
#
# Reading: Brock et al. 2019, section 3.1. Samples get better, and less diverse, if the noise is kept near its middle. Two ways: shrink a latent towards its mean, $\bar w + \psi (w - \bar w)$, or draw the noise from $\mathcal N(0, 1)$ **given** $|z| \le c$. The second is a law of its own: what lies outside is drawn again, not clamped to the border.
#
# *Number to meet:* the variance of $\mathcal N(0, 1)$ given $|z| \le \tfrac12$ is 0.0806.
#
# <details><summary>Hint</summary>Draw again only what lies outside, until nothing does: a whole tensor never comes out inside at once. Inverting the distribution function, with `torch.special.ndtri`, is as good.</details>
#
# **What is checked**
# - `truncate(w, mean, psi)` for $\psi$ from 0 to 1.5, with `w` `(B, D)` and `mean` `(D,)`.
# - `truncated_normal(shape, threshold)`: the shape, a tuple; float32 or float64, as you like; $|z| \le c$; the law of 50,000 draws at $c$ = 0.5, 1 and 1.5, and of 10,000 at $c$ = 0.1, none of which pile up at one number; fresh in every call.

# %% answer="truncation-answer"
def truncate(w, mean, psi):
    """Move w (B, D) towards mean (D,): psi = 1 changes nothing, psi = 0 gives the mean."""
    ### BEGIN SOLUTION
    away = w - mean
    kept = psi * away
    return mean + kept
    ### END SOLUTION


def truncated_normal(shape, threshold):
    """Independent draws of N(0, 1) given |z| <= threshold, of this shape."""
    ### BEGIN SOLUTION
    z = torch.randn(shape)
    while (outside := z.abs() > threshold).any():
        z[outside] = torch.randn(int(outside.sum()))
    return z
    ### END SOLUTION


# %% graded="truncation" points=0.5
check("truncation")

# %%
with when_written():
    draws = truncated_normal((20_000,), 1.0)
    figure, axis = plt.subplots(figsize=(5, 2.2))
    axis.hist(draws, bins=60, density=True)
    line = torch.linspace(-1, 1, 100)
    axis.plot(line, (-line.square() / 2).exp() / math.sqrt(2 * math.pi) / 0.6827, color="black")
    axis.set(title="N(0, 1) given |z| ≤ 1, drawn and exact")
    plt.show()

# %% [markdown]
# # Part 3. Eight Gaussians, where coverage can be counted (2 points)
#
# The classic test of a GAN: eight Gaussian spots on a circle. A likelihood would not be hard here; a *game* finds it hard, and forgets spots. And every claim can be checked, since the law is known.
#
# The family: eight centres on a circle of radius 1.8–2.2 around a point within ±0.3 of the origin, 45° apart, turned by 10°–35°; each spot has standard deviation 0.09–0.11; the weights of the spots are proportional to numbers between 0.75 and 1.25. **When you are graded, the grader draws all these numbers anew**, hands over 8,000
# points of that law as `ring_train`, and trains your networks on them: what is typed in from this example is worth nothing then. At home everybody sees the same example.
#
# ## 3.1 A WGAN-GP (1.5 points)
#
# Build both networks and the training:
#
# - `make_generator()` → a new generator: a module with an attribute `noise_dim` that takes noise `(n, noise_dim)` to points `(n, 2)`;
# - `make_critic()` → a new critic, `(n, 2)` to scores `(n,)`;
# - `fit_wgan_gp(generator, critic, data, steps)` trains both in place, with `steps` steps of the generator and some steps of the critic (2.5) for each of them, and returns the list of the critic's losses, one number for each step of the generator (that of its last critic step or their mean, with the penalty or without). You may call `critic_step` or write its step anew. If it is given a function `watch`, it calls `watch(step)` before each step and `watch(steps)` at the end (this is for the pictures, and not scored).
#
# *What to expect.* Perceptrons with three hidden layers of 128 ReLUs, 8 numbers of noise, **λ = 1**, Adam with betas (0, 0.9) and a learning rate of 1e-3 that falls linearly to 0, batches of 128, 2 critic steps for each of 2,000 generator steps: 15 to 25 seconds of one core.
#
# | | share within 3σ of a centre | least share of a spot over its weight |
# |---|---|---|
# | fresh data (the best possible) | 0.989 | 0.94–0.97 |
# | such a training, over several laws and seeds | 0.87–0.91 | 0.78–0.91 |
# | half of the steps | about 0.73 | about 0.65 |
# | λ = 10, as in the paper | 0.02–0.11 | 0 |
# | a circle of the right radius | up to 0.47 | up to 0.43 |
# | one Gaussian | 0.05–0.09 | below 0.1 |
#
# The paper's λ = 10 is for pictures; by task 1.3 it makes the critic stiff where the distances are short. And 100 % is out of reach for *any* continuous generator: it must cross the empty space between the spots somewhere.
#
# **How it is judged.** Both networks are asked in evaluation mode, the generator with the grader's own standard normal noise, float32. Without the following nothing is earned:
#
# - The generator answers row by row, and twice the same.
# - It is a **continuous** map: halving the way between two noises 20 times, always keeping the half with the longer jump, leaves less than 0.1 for at least 90 % of 64 pairs. Networks leave 0.0001, a table of training points leaves 3.
# - What it knows it knows by its weights. A new one from `make_generator()` reaches a share below 0.5; given the `state_dict` of `ring_generator` it answers as that does. The grader alters the parameters one after another: those that move the answers hold at least 40 % of all their numbers.
# - It learns from the **critic** alone: `fit_wgan_gp` gets a new generator of yours, a linear critic of the grader's, $D(x) = w^\top x$ with $\lVert w \rVert = 10$, and 4,000 points on the side where this critic scores low. After 50 steps the mean score of the samples is higher than before. (So ask nothing of a critic but its scores and its parameters.)
#
# For its own points `ring_critic`, too, answers row by row, and by its weights: a new one from `make_critic()` answers differently, and given its `state_dict` answers as `ring_critic` does.
#
# The cell with the call of `fit_wgan_gp` carries the tags `train` and `train:ring`; it is run only when the model is graded, with up to 120 seconds on one CPU core.
#
# <details><summary>Hint</summary>If one spot dies, look at the critic's surface, not at the loss: does it still rise there? If nothing moves, are both optimisers stepping, each its own network? If everything is a blob, is λ small enough, and the rate high enough?</details>
#
# **What is checked**, on 20,000 samples
# - (0.35, in the notebook too) The conditions above; at least five of the eight spots hold 2 % of the samples or more within 3σ; the share within 3σ of a centre is at least 0.5.
# - (0.4) That share: in full from 0.75, nothing up to 0.5, a straight line between.
# - (0.3) The least share of a spot (within 3σ) over its weight: in full from 0.7, nothing up to 0.5.
# - (0.25) The critic is one. On points between data and samples, the mean of $(\lVert \nabla D \rVert - 1)^2$, computed by the grader: in full up to 0.35, nothing from 0.5. That share of the points is multiplied by another, for the rise of $D$, its mean on data less its mean at the midpoints of neighbouring centres: in full from 0.2, nothing up to 0.05. Only for a generator with a share above 0.5.
# - (0.2) `fit_wgan_gp` teaches the pair it is given: a new one from your `make_generator()` and `make_critic()`, 300 steps on 4,000 points of a single Gaussian spot somewhere else within 2.5 of the origin. In one of three trainings at least (a game may go round) the mean of the samples comes two fifths of the way from where it was to the spot, and there the map is continuous as above; a second new generator, which stood by, answers as before, and 300 losses, floats or scalars, are returned.

# %% locked="ring-data"
from autograder import course_data

ring_train = course_data("ring")["ring_train"]  # (8000, 2)

# %%
def find_spots(points, k=8):
    """k centres of points (N, 2) by k-means, and the standard deviation around them."""
    centres = points[:1]
    for _ in range(k - 1):  # next comes the point that is farthest from all so far
        centres = torch.cat([centres, points[torch.cdist(points, centres).min(1).values.argmax()][None]])
    for _ in range(20):
        owner = torch.cdist(points, centres).argmin(1)
        centres = torch.stack([points[owner == j].mean(0) for j in range(k)])
    return centres, ((points - centres[owner]).square().mean().sqrt()).item()


class Snapshots:
    """Keeps samples of a generator at some steps of its training: snapshots(step)."""

    def __init__(self, generator, at=(0, 100, 300, 1000, 2000)):
        self.generator, self.at, self.kept = generator, at, {}
        self.noise = torch.randn(1000, generator.noise_dim)

    def __call__(self, step):
        if step in self.at:
            was_training = self.generator.training
            self.generator.eval()
            with torch.no_grad():
                self.kept[step] = self.generator(self.noise)
            self.generator.train(was_training)


ring_centres, ring_sigma = find_spots(ring_train)
print(f"eight spots, standard deviation {ring_sigma:.3f}")
figure, axis = plt.subplots(figsize=(3.2, 3.2))
axis.scatter(*ring_train[:2000].T, s=2)
axis.scatter(*ring_centres.T, marker="+", color="black")
axis.set(title="2000 points of ring_train", xlim=(-3, 3), ylim=(-3, 3))
plt.show()

# %% answer="train-ring-answer"
def make_generator():
    """A new, untrained generator with an attribute noise_dim: (n, noise_dim) to (n, 2)."""
    ### BEGIN SOLUTION
    layers = [nn.Linear(8, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU()]
    generator = nn.Sequential(*layers, nn.Linear(128, 2))
    generator.noise_dim = 8
    return generator
    ### END SOLUTION


def make_critic():
    """A new, untrained critic: (n, 2) to (n,)."""
    ### BEGIN SOLUTION
    widths = [2, 128, 128, 128]
    layers = [part for a, b in zip(widths, widths[1:]) for part in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(*layers, nn.Linear(128, 1), nn.Flatten(0))
    ### END SOLUTION


def fit_wgan_gp(generator, critic, data, steps, watch=None):
    """Train both networks in place on data (N, 2). Returns the critic's loss at each of the generator's steps."""
    ### BEGIN SOLUTION
    optimizers = [torch.optim.Adam(net.parameters(), lr=1e-3, betas=(0.0, 0.9)) for net in (generator, critic)]
    schedules = [torch.optim.lr_scheduler.LinearLR(opt, 1.0, 0.0, total_iters=steps) for opt in optimizers]
    losses, noise = [], lambda: torch.randn(128, generator.noise_dim)
    for step in range(steps):
        if watch:
            watch(step)
        for _ in range(2):
            real = data[torch.randint(len(data), (128,))]
            loss = critic_step(generator, critic, optimizers[1], real, noise(), lam=1.0)
        losses.append(loss)
        optimizers[0].zero_grad()
        (-critic(generator(noise())).mean()).backward()
        for part in (optimizers[0], *schedules):
            part.step()
    ### END SOLUTION
    if watch:
        watch(steps)
    return losses


# %% answer="train-ring-run" tags=["train", "train:ring"]
# Bind the trained networks to `ring_generator` and `ring_critic`, the losses to `ring_losses`, and the snapshots to `ring_snapshots`.
with when_written():
    ### BEGIN SOLUTION
    ring_generator, ring_critic = make_generator(), make_critic()
    ring_snapshots = Snapshots(ring_generator)
    ring_losses = fit_wgan_gp(ring_generator, ring_critic, ring_train, steps=2000, watch=ring_snapshots)
    ### END SOLUTION
    ring_generator.eval()
    ring_critic.eval()

# %% graded="train-ring" points=1.5
check("train-ring")

# %% [markdown]
# Samples on their way; the critic's surface at the end, with the eight spots; the critic's loss, turned over, beside the exact $W_1$ (2.4) of data and samples along one direction, which the true distance in the plane can not be below.

# %%
with when_written("ring_generator", "ring_critic", "ring_losses", "ring_snapshots"):
    figure, axes = plt.subplots(1, len(ring_snapshots.kept), figsize=(13, 2.7))
    for axis, (step, points) in zip(axes, ring_snapshots.kept.items()):
        axis.scatter(*ring_train[:1000].T, s=1, color="0.8")
        axis.scatter(*points.T, s=2, color="tab:orange")
        axis.set(title=f"step {step}", xlim=(-3, 3), ylim=(-3, 3), xticks=[], yticks=[])
        axis.set_aspect("equal")
    plt.show()

    def surface(axis, critic, title):
        line = torch.linspace(-3, 3, 100)
        with torch.no_grad():
            scores = critic(torch.cartesian_prod(line, line)).reshape(100, 100)
        axis.contourf(line, line, scores.T, levels=30, cmap="viridis")
        axis.scatter(*ring_centres.T, s=12, color="white")
        axis.set(title=title, xticks=[], yticks=[])
        axis.set_aspect("equal")

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3), width_ratios=[1, 2])
    surface(left, ring_critic, "the critic: high is real")
    right.plot(-np.array(ring_losses), linewidth=0.5, label="minus the critic's loss")
    bounds = {step: wasserstein_1d(ring_train[:, 0].double(), points[:, 0].double()) for step, points in ring_snapshots.kept.items()}
    right.plot(list(bounds), list(bounds.values()), "o-", color="black", label="W₁ along the first axis")
    right.set(xlabel="step", ylim=(-0.2, 2.5))
    right.legend()
    plt.show()

# %% [markdown]
# ## 3.2 All numbers of one generator (0.5 points)
#
# Put the measures of part 2 to use. `evaluate_ring(real, fake, centres, sigma)` returns a dictionary:
#
# - `frechet`: the Fréchet distance of 2.9, with the coordinates themselves as features; `precision` and `recall`: those of 2.10 with $k = 5$;
# - `modes`: how many centres hold at least 2 % of **all** fakes within $3\sigma$.
#
# *Numbers to expect* for the generator above and 2,000 points of each kind: a Fréchet distance below 0.02, precision and recall near 0.9, all eight modes.
#
# <details><summary>Hint</summary>`torch.cdist(fake, centres) <= 3 * sigma` is a table of who lies where.</details>
#
# **What is checked**
# - (0.4) The four numbers for good, mode-dropping, blurred, shifted and circular samples, 600 to 800 of them, float64, by the definitions; where your 2.9 or 2.10 is wrong, by your own functions. Numbers or tensors without dimensions; `modes` a whole number.
# - (0.1) The same for 700 samples of your `ring_generator` beside 700 points, under the conditions of 3.1; and its precision: in full from 0.75, nothing up to 0.55 (a circle reaches 0.5), a straight line between.

# %% answer="train-ring-metrics-answer"
def evaluate_ring(real, fake, centres, sigma):
    """Measures of fakes (M, 2) beside real points (N, 2): the dictionary with frechet, precision, recall and modes."""
    ### BEGIN SOLUTION
    distance = frechet_distance(*feature_statistics(real), *feature_statistics(fake))
    precision, recall = precision_recall(real, fake, 5)
    held = (torch.cdist(fake, centres) <= 3 * sigma).double().mean(0)  # share of all fakes, by centre
    modes = int((held >= 0.02).sum())
    return {"frechet": distance, "precision": precision, "recall": recall, "modes": modes}
    ### END SOLUTION


# %% graded="train-ring-metrics" points=0.5
check("train-ring-metrics")

# %%
def samples_of(generator, n=2000):
    with torch.no_grad():
        return generator(torch.randn(n, generator.noise_dim))


with when_written("ring_generator"):
    torch.manual_seed(2)
    found = evaluate_ring(ring_train[:2000].double(), samples_of(ring_generator).double(), ring_centres.double(), ring_sigma)
    print({name: round(float(value), 4) for name, value in found.items()})

# %% [markdown]
# # All models on one axis
#
# Nothing is scored here. The same networks, 300 steps each, with a critic that is not repaired at all, clipped to ±0.05, or held by a penalty with λ = 10; beside them your critic, with λ = 1. Then all of them beside your generator, the data, a circle and one Gaussian, by every measure. Which measure would you have trusted?

# %%
with when_written("ring_generator", "ring_critic", "surface"):
    def short_training(lam, clip=None, steps=300):
        """A pair trained for a short while with one repair or none; lam = 0 is no penalty."""
        torch.manual_seed(3)
        nets = {"g": make_generator(), "d": make_critic()}
        adam = {name: torch.optim.Adam(net.parameters(), 1e-3, (0.0, 0.9)) for name, net in nets.items()}
        for turn in range(3 * steps):
            x, fake = ring_train[torch.randint(8000, (128,))], nets["g"](torch.randn(128, nets["g"].noise_dim))
            player = "g" if turn % 3 == 2 else "d"
            adam[player].zero_grad()
            both = critic_losses(nets["d"](x), nets["d"](fake if player == "g" else fake.detach()))
            extra = lam * gradient_penalty(nets["d"], x, fake.detach()) if player == "d" and lam else 0.0
            (both["dg".index(player)] + extra).backward()
            adam[player].step()
            if clip and player == "d":
                clip_parameters(nets["d"], clip)
        return nets["g"].eval(), nets["d"].eval()

    repairs = {"no repair": (0.0, None), "clipped to ±0.05": (0.0, 0.05), "penalty, λ = 10": (10.0, None)}
    pairs = {name: short_training(*settings) for name, settings in repairs.items()}
    figure, axes = plt.subplots(1, 4, figsize=(13, 3))
    for axis, (name, (_, critic)) in zip(axes, [*pairs.items(), ("yours", (ring_generator, ring_critic))]):
        surface(axis, critic, f"critic: {name}")
    plt.show()

# %%
with when_written("pairs", "ring_generator"):
    circle, gaussian = circle_and_gaussian(ring_train[:2000])
    everyone = {"fresh data": ring_train[4000:6000], "your generator": samples_of(ring_generator)}
    everyone |= {f"300 steps, {name}": samples_of(generator) for name, (generator, _) in pairs.items()}
    everyone |= {"a circle": circle, "one Gaussian": gaussian}
    measured = {name: evaluate_ring(ring_train[:2000].double(), points.double(), ring_centres.double(), ring_sigma) for name, points in everyone.items()}
    shares = {name: float((torch.cdist(points, ring_centres).min(1).values <= 3 * ring_sigma).double().mean()) for name, points in everyone.items()}
    columns = {"share within 3σ": shares, **{key: {name: float(row[key]) for name, row in measured.items()} for key in ("frechet", "precision", "recall", "modes")}}
    figure, axes = plt.subplots(1, 5, figsize=(14, 2.8), sharey=True)
    for axis, (title, column) in zip(axes, columns.items()):
        axis.barh(list(column), list(column.values()), color=["tab:orange" if "your" in name else "0.6" for name in column])
        axis.set(title=title)
        for row, value in enumerate(column.values()):
            axis.text(value, row, f" {value:.2f}", va="center", fontsize=8)
        axis.margins(x=0.25)
    axes[0].invert_yaxis()
    figure.tight_layout()
    plt.show()

# %% [markdown]
# **★ More, without points.** (1) Train a one-dimensional critic with a penalty between two points, for two values of λ, and hold its slope and gap against task 1.3. (2) MMD with a Gaussian kernel of two bandwidths, beside the Fréchet distance, on the samples above: which bandwidth sees the circle? (3) Fréchet distance at several sample sizes, extrapolated along $1/N$ to $N = \infty$:
# does it remove the bias of task 1.4? (4) Replace the penalty by `SpectralLinear` layers and train again.
#
# **Glossary.** law = распределение · generator = генератор · discriminator = дискриминатор · critic = критик · logit = логит · loss = функция потерь · gradient penalty = штраф на градиент · singular value = сингулярное число · sample = сэмпл, образец · mode = мода · coverage = покрытие · precision, recall = точность, полнота · truncation = усечение
#
# **Before you hand in:** restart the kernel, run everything, save. Hand in the notebook alone: the networks are always trained anew.
