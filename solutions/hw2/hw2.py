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
# # Homework 2. Normalizing flows
#
# ![points of the training data on their way through the layers of a trained flow to Gaussian noise](data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAogAAACQCAMAAAC8jWpXAAAASFBMVEX6+vovLy/5qGD3zadinsii0aHrqJr9iSRbs1uryuAkebUyojKeoJ7eYGGMt9U1hLpbW1z+fw7WLy9Ei716wXqXkyiRqGBQnC0fPl3tAAAWtUlEQVR42u1diZarNgx1vGIIkK3t//9pJdmASTITIMYmGWhf3izvjBX56mq1h7H92Z/92Z/92Z/9+ZbneEy94umQWZJdgB2ItA33EhwOp7Q4+AEZ+QQAFeQH4mkTQEyog9PjYqlxcL/UKbMAhz/PiEBGR3yBPwfmmWnd5XAlt9iBHTsf5RmRuPFEn/pvw1eO6wtw6iwhkwAdAFMI8GAUsASjRWBhXHJ9FDynQwLigXRxOBxWB+LB8wG858PxeAqdwvHYff/Ufzs2RzwVABfOK8DpkEwA9uiMDu7lhFggK8kERHzplLP+ct1Kx4EJTt13T4SI0+jbx9PqAuCen3IKcDx1n60uwLPI8NQBEZfKgMKRa2bJXLNzO7j7R78Nh4APUBsHB46jo43j6gIEQWomAU7pNPAUiN41H5xrzoTFPY/fBdifZ7tw2AXYUbA/+7M/+7M/+7M/+7M/X/Qc8j67ALsAHoh5zeBLBBAZBDCccQ5/BWvzD92CHYgRBTAiiQCFCvEvxjawAzE9DkKdc74BIPIQEcKsJcCt6D/UIgY370CMB0TBsgHR6KdAXEmASo1UoMWDBU63gB2IX+qakwrQ+QBjhHjTGHcgRtCC2BYQ+QJaWiZA98YBiG5Rc14ao+xAjKAFswEgBpvPFxjId5ni7ppzCiD4JrKlO6H0DsS/BkR+TiyAGZds4NPBEnRvHTsQ/1yyIlhaRhz5Y5etix5/4gO3IAkQf9XMt2TNqYA4rt88CVPNR3JBGiB+IyOKTAKoB+XyPkdP1NrZXfMLLkgqQLjpxrwjyEwBbsFS3MDHBovq5HX4MvvYgRhFCyK3AD4/NVwkIaTijhNhVWF4ZxdLujt/AYjia13z3Fh4TQHChRdYwx8Aogte1geiEVsAYmoBjKtejt+7MZPrh3/QNQtuVq6eZAUi2sHyUuIkAZT6MUQmK+zCRsGn1w//FiNC6GR+c1qf75qFMWhn684cFE/LNhAenl1oOrzsMeKDlsQUvoqrhTShelHceUPGE1uC6KkY3HP/pmnugc/OnTcPxJv7q1LLfrzmfCg0xHLNtxdOMgcfCCPWBWLxkCnzR8MLvY75HiDiWwe7V0UVfG12NtfNJmG5C/crQvFii1kzX1sA9UMi6EJvqt1QZ0+YTBpYEYhP3NAUZnwIUzgqClCof+iBHvaByGkCKKSF8craoGY51dPPYPWc7H42GrcMRFUF2doc3zz0F7z7APcMPtqc+Q9A/XAgau7e6epjYG5HAIrFbeBEjH4QjC5cNFrnMMVJ/P1OjKh+KxtMKdloSOogXBEuoOd6FN18T9bsPKQwJoUAaqziIdoRy41hvgZ+R0URGYhVYHzLgAi+wpCqNFVf39aCKjYGRGdWFHRwsVav+XZ76nYIeYKdxb03Ar3nBWI816zCD5auCUEheOQzBIgCi72h9X4DIzpXqVkHQZNKAOUPM/sFdZctkRSIRY7lxTmJ/HZjxL5agB9U8NaLmbTEu3gQHJYxZ2BDo3+gxAXmWG2CEfsbMY1JI4AKN6fPSNDliB6I/Ym+OZO6264jVsO+V6rCdz+RGg0f6hkcffP5fIaYXpzNcLBDvKkFEuWWF4ij9DVBj3FUTBQ94gY/45IW0jE3aTWwJhBVz36FKipHjTP9tCY6PGsBcczZMH4Wght+l7Es0gLtSbEFILqaFE8ARBW6AnLB2tu0Cd0QYZDkmTwJ8oYGfggWRRQgFsGrUkVxQ06ckRB1MMMu8xnDRIgRAZAM2ZE/FLk+PGuGmOPdUuJUIN7feYNOGVsG2G4O9l6n1MAdED1OFmRLz4B46wwQfjD85KKoqqILGycxIu9qCRgeGip1ub+fBdBv4aBQuYHoDS9Fr9kRYuV6DJpTCZNT1QiBaARsv0mtgaqIxAW/lW8KBGJVQLJSQXxCTnpibRvnbVA7gmvwzGC4Z97X2e7BuEQLCi0xVgUhxoS2MMkEKPz+o3PBInbfKTDPXeIEB/0OI7IEQPQLFUrdPAlPRSGxogGnxcEpg6bQKf8UPyzRQoHSFEptAojI+DzR9E3h9+Co0KA5eZlBr0/NQaylgZvq+VCIFYHovV6Fjhk8dHHr3aB6gcG+roC9T4P53dnlKEEaw1eMlFMCUei3qzezgFgFYTrkggJvYPJVdWw7p5xHVKqXRa8JxIqSZHDKwDzooYMs+sfCzV0Uz/FMjwH1UK5Ck5uu0RJq7LOTFc6FSXl6q+v8K5erox2IrqnPlx6Z2Hj5hjBHbHirqIZVqRetFh5+4BopyIfU6DOCghm9SS28NX3DUwvgS1dGm8HPYFRuwrsavweI2GhWNKCuVNEzYVdP/OXRYKXMJcnAFgYDGaHdgFJMLaiNADGpACoooeHpFB1GqtyM69h85btvVCIgYmePmLDoMtSXrTXiQGwukw8W2GXmgibpuZuNjRigFNvorGjx9hn/WclKNURmJkQcjV0sLKwv1IBPVbS584frZM2eEt1c5qsfaEaJmuCCzpRxGt+MyIggFBpHdSvyA5FzJkw6AQociMLirgqCcQh4TN9WEfPd82KnhPMXZ4z3dZB/9kf9+WRennJ4SjkYTp40eFgXYHjGnEVE04IqVES3EOeqCc7TCEAlE0XFjIKNcpThPKlICETRtzg7a+T9rXhijgC/A5E8QeEscdnWY1HBeew4WqjAIIqqejhIlwWIakwBSQTA7LGis0SVG4PCA/XCJ01CJLm6OGinBGjjQSlnphQvgagCFipmsZDLJTkEEDyU9u0Wn3Il9gLLqbmB6CIDnHBLKIAqusrFDTNJjvc6ECuJs0Y28oQEn4l1BMBy3qPuhyECrhdp4KVrHvHjHCC6YVGaCQsO3kbBQdD7zghERZVWxk3iW6CoelM5TAxTYJip0GE+EW7AGgL80EbozHHMPKsAcV5VzR0oEi8LbbNxgOV1YmhK54tsQPRbIkRiIJIJUtcVXaT2WSs3Z0Gj4oazNW+MVV6Eh5zBH1Do58TZPEtYD4gYOgni7NG3zXt+gcIjRWV2FokVFwOxcIUtfRbJBcDpPJ+xuaIEnczAAi5b0F+ZlbZ3aFQ3EmC4QcGIYS5TzxZgGhAXNXWNcOYZ9JVDL71oG25IiDfIWKoi2nmBxUAkU6j6rGxdAVpb2jA4oSYD+oMCAcj6Zv6d/5nU91lYyh2CNY6/AevMh5tXjNgQEAXzFhLPNavbjU4tKJfEV1EocTkQK+ZaToKzJfOoswQgFJbN4J7x/Ab6Zp/C9qMX4nEX4mugTxWFz5Rp5m/0yxHnnLH+uBtjXXhUuWEMlds1U2tHMbbelSOyuftcjvPX6tjPbTtGTDR94zpuqH9/ZzMNt3Dhb8lzQwYz0ucPvbq4oBpi7qzZbcWQK/H1fxWefHBTqjgqHxlwd+tVIiCOqmd4x4TgXfh/PpsF2dLnAVG5im5OSwjSx6HfneDXW0jbBqSIaxfFcYCD0Ulveih89olzPzhwavhwl0fsgvb2gOg63/Dc8icr9482kQUYe+IgVgzNckRMyYBYoDOAV8o+cQQaaBCzd3d6ZrVkZRtAxHeOCFSbcM2Mrh6oivclmSVAee8khziBEqZEv96Cxk5YdaNDEpxGrTTBkbvJCz7rBpYPA6JyZ3ur21C6qVKf4nsooBddmyOBACFBXpsQjTgkBQGLHvlEsaopVtRRMHQnHh4JwbkfFye7o+tCfC0Qfc3E5SoOgjnLNw6T6n1KXATEsKroymtgpCPXPL2yOVcDhR+PxjFxbHbTJeKGFjQ0XrDgNvmPAqI/rYHV7I2MgdGR7/xBqudp0gpf//es0BFjNEC8ueNM9yYwPwvNCZZOhOl4/CggFkHhpChYXiC6Ec3Cn6XICsRylMUDW0W/6aGRj+bnmgnkks0Zjwwbf98WHrTmCwT4HCBWPQAwHsoMRHeEgnKV98+0ThfAQmAoW3DKTdtl1db2+ilu6m5Wj5tJVeVXAtj7raiwxVgVrs+Nv9aAKBHwiJMXJnTN4uuAqCrqK0W8fGk5EG80/eNHL5IA0UPByqbnJ4kwlKwdRS438piDREK/2+KzwwJl1+gp8IR/1UUlmmZO2ZmfOd6BiZ4Zc2Y9I079tPJNpRTbAhCxu0invYvnmXR8AaQdKHHwmNKlL6X/Tpe+ze58TtWAbZqgUuCu5hJ48yXTZ7xny+AHdGG6eXox3vFbkhXfU8kMRCJmOu3tTpa9fQ/PTAFkW1IGLbt6tx1BtKCqgrqtIYAt+zUqIgZ3IOmMd1/Shaxu9gNPuVJ9cca9eB8BxM7XqMhXNy8DoquVFHR/aUeHVUIBHOSkCxYtAhKcZmm9+65cKqfmDGNMFEDKxnZBIo490IC4u3+HbgWmzIUGkfzpCT7117J9GhCzU/IgkBtLrVSMC+YnCNA8a/a18MW2tU3ryNHxZBBTT76EYrJrln3E6K6hYcU/1FU5Uw2HMmbscwqcARPgoxV4Y8O/B4hbEwBDhApnYnNcR2Z9AmEbQp6HRusgKB+C1iljgdMEwBS9tQPOMW92E6GaLknHTrP3zRQqAkX+c2RTryPbNhCLTQKRHBMRQo7JXI8Fx5H9WERZ/vDPJ55vnwbEoJBDgTJdQgNoFPDHGH3+l6M+jscjE/8CJo8olL7sQJwvQGmn8aG7RdffPZDVJ4QTOnYdAR6GgLqcxV8Qh9PiRfVvVfz33z/kr33jBayF2JH+bf3drvlq4wpg+0IJ6REdnrxKyAWC+JAu6iv6SYcqhwYACljUA+9sS0mT3C1KeYcY6vrQi4jBiE0P9Y4cpXSv7fWogKohjb4FTa86BN+XA9FGEgAdHWxu2VXsqHRrJX65gUwgRKfCvg7QwA2PcbEYcxeLNODq2dKHhddrKa28d89qon+exoi2bSxFABAcNKCtxmK+3pTwyGtbUsPHYtn7itYLMJx+amU6EJttAdH3tWw0AcrWFega4hUJ2pUtEQ67Suk6Cs2VDZG6AtNnRaSThPM0gEXlElXQul1B4eTTtHoVAZzqkX8RiA6OZdmC37CoPzQQz5d1zeIDUdpNANGSq7Sd2tsmlgD4cwF8FoJ+UOa1AYaxYP8tUAB+HULHloy9ByIVdIssWbPtLbDtRh7aHiEWw1xbriaAJJNFvQDvlZSrl9cWuRgM4gqGLK/1xWXr+gsPT1kwOyAAcj4NxUYNY/eHid4RACCNMETVluSAGgRg6YBJ35GhPXYHCLdxm7wEEICGbJBTryaApT+I9RbDU9JUiT7atrBFwIt1XV/wkroL/RUBiBgOy2xAtAEJYq1WIhjA5lunaPALso0pQEOVOInOBn4yNnFb+F8yN+cCZt64fPqOaqqNABGi2SaNAK2bumhalyrJFtGILpnZq5XXk71ckAovuo5+rhkdYZkYiHSrgURnAwhs4a1epausgMsMvPSP9YUlAoBuS4xvYG3rIdf3zaTr77o8USYxxRcFPVfYRgKEILYXuF1GifMtQSIB2ys1dUrHGxBDs2Ot0SfXeCOPZnGBSPwrY8Vjv2lB0hJN27YNgQ9psHSP7NqcK8Ag2AaJIhC3uICrkeR0bIf0Bv9BKVu7ASCiIkgQUI7rtLic0vaGPD28n93aYdjeRqttgko6pMnwgjCck6e8AqLt3rIvosmHWweibgMs1wLDX20HvBZeAY3wedtcMVBrGJULmFybkhF36KfB5t0bp6XdluIcVBs9cVvGiEN5jwDRPaUvtcwpeMxs7QStb0gcQSduHq2+QHhYeyKcRYi/ARFNqsEfT7lkV7pcC4gIOcAbxBoNAA+zBOlSMothccMoEqeq3vpAdOCjvXS06A+1S8wTCZt2XDkqm9RAdGYBef11AEc5ZNLpglQMoDFLIaQgGwIfAhle8OM4QJSurAY5kcT2AhaMrHPO5Rp8ULYY71qLFCgpJ24tpsg0YIKe0blDuR4l/1Sxe6hdOu035fA1m5oRnz3h6dLZIfMCAaRbx5bDkvpCd7qzrqmn68lo/B2IrCSCQjBA1mjXSqIJiECG1E5jmLX6lZou8hkwkBOI95Gzc4vJXbO8d89l74B7eZ1Y07W2CIgUk3pagsCeXcAtY82mB1+srBmRh/EakBVovS3XxIGEN1LSSF3TDTRtq5D5HBClZXmAiHbQBUtD+uaR13a1bbmmBtxPxxARwAHhOxIg1RA7/Ok6EhDbpr0SEDFks41cHQc+My3ZRwARYrQsQOwJCZIEB7hw/KZZFCosmbpofXyMKURjMbKqaeBrTh17YvmGauWugtJSj+uF3nVSHGQHom0yCuBOrHgR+jzSLiwtLWJEXyai9qdnZ13PrB9OAWIjuyKeK6aA+b9IyC5PP/xaIMYzyIW5wl2p7fHjBBqwNLPtDUIjG15iAxGblzhcREBkFJPMoIB5De/vAuLsrXhbgFEaaUfG4DdCvyvAj5lqgHztsuQnI9mvVPKys2KlrytjQDQneAtK669GxQ/7oZl5AgSOqbSPJa0y3HntU4bfkfCGBh6LqHXsGLGRtsR0ReKAQTs3LteTs6ZvBuI0cpzZYRsIwV5HTnqo63XGP7HVNl8DXZjWPo7Ix3bNWI2yJUWiEAPL6ywUokOY6p1XxIHWCQSo9R3nBxaoo2tgHKjbp9iv56JhSdZMfGxlV7SUs0s2M7JmHI1qsYBo5bwgmABwYZsD4nOCelMAvZgHFgpgx36LSXkXqjksrgnEIE13RPzmUN4LRpQ4Foqc2LazNmXe7MVXuOalVDBTAFs+1Kldk3FU5q0XDL/M08A4O7LvDuJNGQOTZSvvTg/9DEHaDrcnF/2ngLg8PJofI96xQtkNZ8PyDoGQLsyeOXhDA0+qKXV8INLAgXw11FYH71zXOhMO2DKFRBGAooA6iSUM4Zn3zt2NNJ3ia5YUiBEscuKZFTt5YRzAqGumtwJEnRCI9eIwcZoAjbQBHVz7CQf79hhaxC1YJVmZvRcX7U2xhl2ptwDEjxVAPgaCbNpccJ1VA3oDQOyLGG4iLSUQ6+xA7JxirVcRYKjW/QbES/2gi1p/iilGAyLV8DWdWejL+n8FiPpyyW0JPRCXMNTmgTgnKa/pMCsNi18cEifuzu6aIwhw2YwGdL0CEBfQ4gX/q/s8MpkWtN4IEOuMAmD1JlBEnaOncMkNRB8i1mgSVM7agZghSL2gImrPkHOOjHxTjNiZ4WVea+WjPWOdW4DBNw+wS9Fr3iwQ6awCsmJdB2FCnUML+pIOBzpGyBYjXQuK2fNjta9ixI4Gdbg9aYG4sOG7AiNGI6TrxGJ1f/WWXiLDlwBRuzkoD0Q8trC75lgCNJvXwKaAmNsxPeJDpxOgzo8D/aZs3+WaN5S0Jm3567dB+bYG6p9iY/03gbis7X+IKkA9Hw9xhh6ovXbJZor1kxtaP2oSLyYQNcsMxJyUrPuXOvkpPqaHZYNB0PqvApGxJada19FCxpxRp9fAAxPPK2F9FRBnz6evq4V6OiY+mJLvClZ6U1uQCYiLe2yrTmjr7waip4Cpx4R++ld71vxFMWJmAZZcGLwDcQfiKgLoi96BuAEcXPRuCT/kLjsQ02lh7bNLb4RgCXFQ6yV5+w7Ejyck/TKTTauBzy3l7kCMN/Tg56P1n9LADsT33OEqrpktvi91B+LOiDGPl9d5BQjTNb0DcStArPXXW8J9Jy8g5MsOxK0AMe3Rofynty56qRA7ENfRgs4hQIiB+vPOLu1AfFMLz8ZM6uTziO+lTG/Vj/QOxG2Yo/49Zv92QtqBuGfNUTKl3TXvQPwyAfQOxB0HPljNOnVR70DcgeixWP91DbwLxLzPLsAuANuf/dmf/dmf/vkf872lfpJWxZcAAAAASUVORK5CYII=)
#
# Homework 1 paid for an exact likelihood with slow sampling: one call of the network for every pixel. A **flow** gets both at once. It bends a Gaussian with a map
# that can be undone, and keeps the books of how the map stretches space:
#
# $$
# z = f_\theta(x), \qquad \ln p_\theta(x) = \ln \mathcal N(f_\theta(x);\, 0, I) + \ln \left| \det \frac{\partial f_\theta}{\partial x}(x) \right|.
# $$
#
# A determinant of $D$ numbers costs $D^3$ operations, unless the map is built so that it is cheap. You will build the four classic ways, and ask of each the same two questions: *is it a bijection, and is the volume right?*
#
# | part | what | how the determinant becomes cheap | points |
# |---|---|---|---|
# | 1 | theory: invertibility, volume, one dimension, pixels | – | 4 |
# | 2.1 | planar flow | rank one | 1 |
# | 2.2–2.6 | couplings, RealNVP, ActNorm, 1×1 convolution | half of the input is not touched; one small matrix for all pixels | 5.25 |
# | 2.7, 2.8 | MAF and IAF | masks make a triangle: homework 1's idea, now with real numbers | 1.75 |
# | 2.9 | dequantisation and the logit | one entry at a time | 1 |
# | 3 | two trained flows: a mixture in the plane, and digits | – | 2 |
#
# **Time.** Expect 6–7 hours: theory 2, part 2 three and a half, part 3 one. All trainings together take under a minute of one CPU core.
#
# **How to work.** Fill the places marked `YOUR CODE HERE` (delete the line `raise NotImplementedError()`), run the cell, then run the `check("...")` cell below it: it
# tries, within a second or two, a part of what is scored, and says what does not hold. Under each task a list **What is checked** names everything that is scored, and nothing else is: a task that passes here can still miss a line of it. You may add
# cells, helper functions and optional arguments; names, required arguments and shapes must stay. Tasks marked ★ carry no points. If you are stuck, unfold the *Hint* of a task.

# %% [markdown] tags=["limits"]
# What grading allows is printed here from `assignment.yaml`.

# %% [markdown]
# **Conventions.** The literature disagrees; this homework fixes one reading.
#
# - `forward` goes from data $x$ to noise $z$, `inverse` from noise to data. Both return a pair `(result, logdet)`. `logdet` has shape `(B,)`, one number for each sample, in **nats**, and belongs to
#   **the direction just taken**: $\ln|\det \partial z/\partial x|$ at $x$ from `forward`, $\ln|\det \partial x/\partial z|$ at $z$ from `inverse`. (Some libraries return the forward one both ways.)
# - The base law is $\mathcal N(0, I)$. $\ln \mathcal N(z; 0, I) = -\tfrac12 \lVert z\rVert^2 - \tfrac D2 \ln 2\pi$ is **summed over all $D$ dimensions of a sample**, constant included. *Example:* $D = 2$, $z = 0$: $-1.8379$.
# - A sample may have any shape: vectors `(B, D)`, images `(B, C, H, W)`. A sum over dimensions goes over everything but the batch.
# - Scales are passed as **logarithms**. A mask holds ones and zeros as floats; **1 means: this entry passes unchanged, and the network sees it**.
# - A `net` argument is any callable, perhaps without parameters. Results keep the dtype of the input, and modules work in double precision after `.double()`. An argument is never modified. Row $b$ of
#   a result depends on row $b$ of the input only (ActNorm's first batch is the one exception).
# - Random numbers come from PyTorch's global generator, fresh in every call: the same `torch.manual_seed` gives the same draws, the next call gives others.
# - Trained flows are used and judged in **evaluation mode**: with dropout on, `forward` and `inverse` are not each other's inverse.
#
# **Reading**: review [Papamakarios et al., 2021](https://arxiv.org/abs/1912.02762) (sections 2 and 3) · planar flows [Rezende, Mohamed, 2015](https://arxiv.org/abs/1505.05770) (appendix A.1) ·
# RealNVP [Dinh et al., 2017](https://arxiv.org/abs/1605.08803) (sections 3.4–3.6) · Glow [Kingma, Dhariwal, 2018](https://arxiv.org/abs/1807.03039) (sections 3.1–3.3) ·
# MAF [Papamakarios et al., 2017](https://arxiv.org/abs/1705.07057) (sections 3.1, 3.2) · IAF [Kingma et al., 2016](https://arxiv.org/abs/1606.04934) · dequantisation [Theis et al., 2016](https://arxiv.org/abs/1511.01844) (section 3.1).

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


def measured_logdet(fn, x):
    """ln |det| of the measured Jacobian of each sample, (B,): the judge's way of asking whether a volume is right.

    fn maps (B, D) to (B, D), or to a pair that begins with that; x: (B, D), better in float64.
    """
    x = x.detach().requires_grad_()
    z = fn(x)
    z = z[0] if isinstance(z, tuple) else z
    rows = [torch.autograd.grad(z[:, i].sum(), x, retain_graph=True)[0] for i in range(z.shape[1])]
    return torch.linalg.slogdet(torch.stack(rows, 1))[1]  # (B, D, D): row i holds the derivatives of z_i


def grid(side=21, size=3.0):
    """Points of a square grid, (side * side, 2), rows of the picture one after another."""
    line = torch.linspace(-size, size, side)
    return torch.cartesian_prod(line, line)


def draw_grid(axes, points, side=21, **style):
    """Draw a grid (side * side, 2) wherever its points have gone."""
    lattice = points.detach().reshape(side, side, 2).numpy()
    for lines in (lattice, lattice.transpose(1, 0, 2)):
        for line in lines:
            axes.plot(line[:, 0], line[:, 1], **{"color": "0.75", "linewidth": 0.5, "zorder": 0, **style})


# %% [markdown]
# **What you will build.** Read the picture from left to right: a cloud of Gaussian noise and the grid it lies on are bent, step by step, into another law. No step folds or tears the grid, so each can be undone, and the
# density of the last cloud is known exactly at every point: it is the Gaussian's, divided by how much the grid was stretched there. Here the steps were written by hand. Yours will be learned from data.

# %%
torch.manual_seed(0)
cloud, lattice = torch.randn(1500, 2), grid()
colour = cloud[:, 0].clone()
steps = [lambda p: torch.stack([p[:, 0], p[:, 1] + torch.sin(1.5 * p[:, 0])], 1),
         lambda p: torch.stack([p[:, 0] + 0.6 * torch.sin(1.5 * p[:, 1]), p[:, 1]], 1),
         lambda p: torch.stack([p[:, 0], p[:, 1] * 0.7 + 0.25 * p[:, 0] ** 2], 1)]
figure, axes = plt.subplots(1, 4, figsize=(12, 3))
for number, axis in enumerate(axes):
    draw_grid(axis, lattice)
    axis.scatter(*cloud.T, c=colour, s=3, cmap="coolwarm")
    axis.set(xlim=(-4, 4), ylim=(-4, 4), xticks=[], yticks=[], title="noise" if number == 0 else f"after step {number}")
    axis.set_aspect("equal")
    if number < 3:
        cloud, lattice = steps[number](cloud), steps[number](lattice)
plt.show()

# %% [markdown]
# # Part 1. Theory (4 points)
#
# Tasks by hand are read by a human: short and complete beats long. Formulas go between dollar signs.
#
# ## 1.1 When is a planar map invertible? (1 point, by hand)
#
# Let $f(x) = x + u \tanh(w^\top x + b)$ with $u, w \in \mathbb R^D$, $w \ne 0$, $b \in \mathbb R$.
#
# 1. (0.3) Show that $\det \partial f/\partial x = 1 + w^\top u\,(1 - \tanh^2(w^\top x + b))$.
# 2. (0.4) Prove that $f$ is a bijection of $\mathbb R^D$ **if and only if** $w^\top u \ge -1$.
# 3. (0.3) Task 2.1 replaces $u$ by
#    $$ \hat u = u + \big(m(w^\top u) - w^\top u\big)\, \frac{w}{\lVert w\rVert^2}, \qquad m(a) = -1 + \ln(1 + e^a). $$
#    Show that $\hat u$ always gives a bijection with a positive determinant, and that nothing is lost: every $v$ with $w^\top v > -1$ is the $\hat u$ of exactly one $u$ of the form $v + \lambda w$. Which $u$ stay where they are?
#
# <details><summary>Hint</summary>For 2, look at $w^\top f(x)$ as a function of the single number $w^\top x$. A zero of its derivative does no harm, a change of sign does.</details>

# %% [markdown] nbgrader={"grade": true, "grade_id": "theory-planar", "locked": false, "points": 1, "schema_version": 3, "solution": true, "task": false}
# <!-- ### BEGIN SOLUTION -->
# **1.** $\partial f/\partial x = I + h' u w^\top$ with $h' = 1 - \tanh^2(w^\top x + b)$. For a matrix of rank one, $\det(I + v w^\top) = 1 + w^\top v$ (it has the eigenvalue $1 + w^\top v$ in direction $v$ and 1 on the
# hyperplane orthogonal to $w$). Hence $1 + w^\top u\, h'$.
#
# **2.** Let $a = w^\top x$ and $\kappa = w^\top u$. Then $w^\top f(x) = g(a) := a + \kappa \tanh(a + b)$, with $g'(a) = 1 + \kappa h'(a)$ and $h' \in (0, 1]$, equal to 1 only at $a = -b$.
# *If $\kappa \ge -1$:* $g' \ge 0$, and $g' = 0$ at one point at most, so $g$ is strictly increasing; as tanh is bounded, $g \to \pm\infty$, so $g$ is onto. Given $z$, therefore, $a$ is determined by $g(a) = w^\top z$, and then
# $x = z - u \tanh(a + b)$ is the only candidate; it solves the equation since $w^\top x = w^\top z - \kappa\tanh(a + b) = a$.
# *If $\kappa < -1$:* $g'(-b) = 1 + \kappa < 0$, while $g' \to 1$ far away. So $g$ is not monotone, and being continuous it takes some value at two different $a_1 \ne a_2$. Take $x_i$ with $w^\top x_i = a_i$ and
# $x_1 - x_2 = -u(\tanh(a_1 + b) - \tanh(a_2 + b))$, which is consistent as $a_1 - a_2 = -\kappa(\tanh(a_1+b) - \tanh(a_2+b))$: then $f(x_1) = f(x_2)$.
#
# **3.** $w^\top \hat u = w^\top u + (m(w^\top u) - w^\top u) = m(w^\top u) \in (-1, \infty)$. So by 2 it is a bijection, and by 1 the determinant is $1 + m h' > 1 - h' \ge 0$. $m$ is strictly increasing from $-1$ to $\infty$, so a
# bijection of $\mathbb R$ onto $(-1, \infty)$: for $v$ with $w^\top v > -1$ let $a = m^{-1}(w^\top v)$; then $u = v + (a - w^\top v) w/\lVert w \rVert^2$ has $\hat u = v$, and no other vector of that line has.
# $u$ stays iff $m(a) = a$: $1 + e^a = e^{1 + a}$, $e^a = 1/(e - 1)$, $a = w^\top u = -\ln(e - 1) = -0.5413$.
# <!-- ### END SOLUTION -->

# %% [markdown] tags=["rubric"]
# - 0.3 part 1: the determinant by the rank-one lemma (0.15 if the factor 1 − tanh² is missing)
# - 0.1 part 2, sufficient: along w the map is increasing when wᵀu ≥ −1, equality included
# - 0.1 part 2, sufficient: it is onto, and the rest of x follows from wᵀx
# - 0.2 part 2, necessary: two points with one image when wᵀu < −1 (0.1 if only "the determinant may vanish": a change of sign, not a zero, destroys injectivity)
# - 0.1 part 3: wᵀû = m(wᵀu) > −1, hence a bijection with positive determinant
# - 0.1 part 3: m maps the line one to one onto (−1, ∞)
# - 0.1 part 3: the fixed point wᵀu = −ln(e − 1) = −0.5413

# %% [markdown]
# ## 1.2 What a flow of constant volume can never do (0.5 by hand, 0.5 typed)
#
# The first flows (NICE) used *additive* couplings $z_A = x_A$, $z_B = x_B + t(x_A)$, whose log-determinant is 0 everywhere; in a stack the two parts change roles from layer to layer.
#
# 1. (0.15) Show that such an $f$ (with a smooth $t$) maps every measurable set to one of the same volume.
# 2. (0.1) Conclude that with base $\mathcal N(0, I)$ no stack of them can ever reach $\mathcal N(0, 4I)$. Can a stack reach $\mathcal N(0, \operatorname{diag}(4, \tfrac14))$?
# 3. (0.25) Let $\Sigma$ be symmetric and positive definite. Find the smallest $\mathrm{KL}(\mathcal N(0, \Sigma) \,\|\, p_\theta)$, $p_\theta$ the density of the flow, over all volume-preserving maps. *Linear* maps ($x \mapsto Ax$, $|\det A| = 1$) are enough for full points; the general case has the same answer. Say when equality holds.
#
# <details><summary>Hint</summary>Write the KL as $-h(p) + \tfrac12 \mathbb E\lVert f(x) \rVert^2 + \tfrac D2 \ln 2\pi$. For $f = A$ the middle term is a trace; the eigenvalues of $A\Sigma A^\top$ have a fixed product.</details>

# %% [markdown] nbgrader={"grade": true, "grade_id": "theory-volume", "locked": false, "points": 0.5, "schema_version": 3, "solution": true, "task": false}
# <!-- ### BEGIN SOLUTION -->
# **1.** For a bijection, $\operatorname{vol} f(S) = \int_S |\det \partial f/\partial x|\, dx = \int_S 1\, dx = \operatorname{vol} S$.
#
# **2.** The model's density is $p_\theta(x) = \mathcal N(f(x); 0, I)$, so its largest value is that of $\mathcal N(0, I)$, $(2\pi)^{-D/2}$; that of $\mathcal N(0, 4I)$ is $2^D$ times smaller. (Or: differential entropy is kept.) Yes for
# $\operatorname{diag}(4, \tfrac14)$: $\operatorname{diag}(\tfrac12, 2)$ has determinant 1, and a diagonal matrix with entries $a, 1/a$ is a product of four shears, each an additive coupling.
#
# **3.** $\mathrm{KL} = -h(p) + \tfrac12 \mathbb E \lVert Ax \rVert^2 + \tfrac D2 \ln 2\pi$ with $h(p) = \tfrac12 \ln\det\Sigma + \tfrac D2(1 + \ln 2\pi)$. By the inequality of arithmetic and geometric means for the eigenvalues of $A\Sigma A^\top$,
# whose product is $\det\Sigma$: $\operatorname{tr}(A\Sigma A^\top) \ge D g$, $g = (\det\Sigma)^{1/D}$, with equality iff $A\Sigma A^\top = g I$, which $A = \sqrt g\, \Sigma^{-1/2}$ attains. Hence the gap $\tfrac D2 (g - 1 - \ln g)$; it is zero iff $\det\Sigma = 1$.
# (General $f$: the sets $\{p > c\}$ keep their volume, so $\mathbb E\lVert f(x)\rVert^2$ is least when they become balls around 0, which is the law $\mathcal N(0, gI)$.)
# <!-- ### END SOLUTION -->

# %% [markdown] tags=["rubric"]
# - 0.15 part 1: volumes are kept (change of variables)
# - 0.05 part 2: not N(0, 4I), by the largest density or by entropy
# - 0.05 part 2: diag(4, ¼) can be reached
# - 0.15 part 3: the minimisation by the inequality of the means; linear maps are enough
# - 0.1 part 3: the value (D/2)(g − 1 − ln g), and equality when A Σ Aᵀ = g I

# %% [markdown]
# Type the answer of 3 as a function. *Numbers to meet:* $4 I_2 \to 1.6137$; $\operatorname{diag}(4, \tfrac14) \to 0$; the $1 \times 1$ matrix $\tfrac13 \to 0.2160$.
#
# <details><summary>Hint</summary>`torch.linalg.slogdet` gives the logarithm of a determinant, and does not overflow.</details>
#
# **What is checked**
# - `volume_preserving_gap` for symmetric positive definite matrices of 1 to 5 rows, in nats, a number or a tensor without dimensions.

# %% nbgrader={"grade": false, "grade_id": "theory-volume-gap-solution", "locked": false, "schema_version": 3, "solution": true, "task": false}
def volume_preserving_gap(cov):
    """Least KL(N(0, cov) || model) in nats over volume-preserving maps; cov (D, D) symmetric positive definite."""
    ### BEGIN SOLUTION
    D = cov.shape[0]
    log_g = torch.linalg.slogdet(cov)[1] / D  # of the geometric mean of the eigenvalues
    return D / 2 * (log_g.exp() - 1 - log_g)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "theory-volume-gap", "locked": true, "points": 0.5, "schema_version": 3, "solution": false, "task": false}
check("theory-volume-gap")

# %% [markdown]
# ## 1.3 The one-dimensional flow to any mixture (1 point)
#
# In one dimension there is exactly one increasing map that turns a density $p$ into $\mathcal N(0, 1)$: send $x$ to its quantile, and the quantile to the Gaussian's value. With the cumulative distribution functions $F$ of $p$ and $\Phi$ of $\mathcal N(0, 1)$,
#
# $$ z = \Phi^{-1}(F(x)), \qquad F(x) = \sum_k \pi_k\, \Phi\!\left(\frac{x - \mu_k}{\sigma_k}\right) \text{ for a mixture of Gaussians.} $$
#
# Applied to one coordinate after another, each given the ones before, it is the reason why a *triangular* flow can represent every density. Find the logarithm of its derivative yourself: a density is all it takes. *Worked number:* weights ½, ½, means ±2,
# deviations 1, $x = 0$: $z = 0$ and `logdet` $= -2$.
#
# Use `torch.special.ndtr` for $\Phi$ and `torch.special.ndtri` for its inverse; far to the right ($z > 8$) the CDF rounds to 1, which is not asked about here.
#
# <details><summary>Hint</summary>Differentiate $\Phi(z) = F(x)$ on both sides. `torch.logsumexp` adds up densities given by their logarithms.</details>
#
# **What is checked**
# - `z` and `logdet`, both `(B,)`, float64, for mixtures of one to four components with unequal weights, at points with $|z| \le 4$ that lie within 10 deviations of some component.

# %% nbgrader={"grade": false, "grade_id": "theory-gaussianise-solution", "locked": false, "schema_version": 3, "solution": true, "task": false}
def gaussianise(x, weights, means, stds):
    """The increasing map from a mixture of Gaussians to N(0, 1).

    x: (B,); weights, means, stds: (K,), all float64. Returns z (B,) and logdet = ln dz/dx (B,).
    """
    ### BEGIN SOLUTION
    u = (x[:, None] - means) / stds  # (B, K)
    z = torch.special.ndtri((weights * torch.special.ndtr(u)).sum(1))
    log_p = torch.logsumexp(weights.log() - stds.log() - u.square() / 2, dim=1)
    return z, log_p + z.square() / 2  # ln p(x) − ln φ(z); both lack −½ ln 2π
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "theory-gaussianise", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check("theory-gaussianise")

# %%
with when_written():
    weights, means, stds = (torch.tensor(v, dtype=torch.float64) for v in ([0.2, 0.5, 0.3], [-3.0, 0.0, 2.5], [0.4, 0.8, 0.5]))
    x = torch.linspace(-5, 5, 800, dtype=torch.float64)
    z, logdet = gaussianise(x, weights, means, stds)
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(11, 2.5))
    left.plot(x, z)
    left.set(xlabel="x", ylabel="z", title="the map: steep where data are dense")
    middle.plot(x, (-z.square() / 2 - 0.5 * math.log(2 * math.pi) + logdet).exp())
    middle.set(xlabel="x", title="N(z) times dz/dx: the mixture")
    component = torch.multinomial(weights, 4000, replacement=True)
    data = means[component] + stds[component] * torch.randn(4000, dtype=torch.float64)
    right.hist(gaussianise(data, weights, means, stds)[0], bins=50, density=True)
    right.plot(z, (-z.square() / 2).exp() / math.sqrt(2 * math.pi), color="black")
    right.set(xlabel="z", xlim=(-4, 4), title="4000 points after the map")
    figure.tight_layout()
    plt.show()

# %% [markdown]
# ## 1.4 A density bounds a probability (0.5 by hand, 0.5 typed)
#
# Pixels are integers $x \in \{0, \dots, L-1\}^D$, a flow models a density $p$ on $\mathbb R^D$. *Dequantisation* adds noise: $y = (x + u)/L$ with $u$ uniform on $[0, 1)^D$. The probability that the model gives to the picture $x$ is the mass of its cell,
# $P(x) = \int_{[x, x+1)/L} p(y)\, dy$.
#
# 1. (0.35) Show that $\mathbb E_u \ln p(y) - D \ln L \le \ln P(x)$.
# 2. (0.05) When is it an equality?
# 3. (0.1) Take $\ln \frac1K \sum_k p(y_k) - D \ln L$ with $K$ independent draws of the noise. Between which two quantities of 1 does its *expectation* lie, and where does the quantity itself tend as $K \to \infty$?
#
# <details><summary>Hint</summary>Write $P(x)$ as an expectation over $u$. On which side of a concave function does its mean lie?</details>

# %% [markdown] nbgrader={"grade": true, "grade_id": "theory-dequantise", "locked": false, "points": 0.5, "schema_version": 3, "solution": true, "task": false}
# <!-- ### BEGIN SOLUTION -->
# **1.** The cell has volume $L^{-D}$, and $y = (x + u)/L$ is uniform on it. So $P(x) = L^{-D}\, \mathbb E_u\, p(y)$, $\ln P(x) = \ln \mathbb E_u\, p(y) - D \ln L$. By Jensen's inequality for the concave logarithm
# $\ln \mathbb E_u\, p(y) \ge \mathbb E_u \ln p(y)$.
#
# **2.** Equality iff $p$ is constant (almost everywhere) on the cell.
#
# **3.** In expectation it lies between the two sides, and it grows with $K$: the mean of $K$ draws is an average of means of $K - 1$ of them, to which Jensen applies again. By the law of large numbers it tends to $\ln P(x)$.
# <!-- ### END SOLUTION -->

# %% [markdown] tags=["rubric"]
# - 0.2 part 1: the cell's volume L^−D, so P is L^−D times the mean density
# - 0.15 part 1: Jensen's inequality in the right direction
# - 0.05 part 2: equality exactly if the density is constant on the cell
# - 0.1 part 3: between the two, growing with K, and tending to ln P

# %% [markdown]
# Type it, as **bits per dimension**:
# $$ \mathrm{bits}(x) = - \frac{\ln \frac1K \sum_k p(y_k) - D \ln L}{D \ln 2}. $$
#
# *Worked number*, $D = 1$, $L = 2$, $p(y) = 2y$ on $[0, 1]$, $x = 1$: $P = \tfrac34$, which is 0.4150 bits; with $K = 1$ the mean is 0.4427.
#
# <details><summary>Hint</summary>Call `log_density` once, on all draws of all rows at once, and take the mean of the densities with `torch.logsumexp`.</details>
#
# **What is checked**
# - With the uniform density $p = 1$, any $K$ gives $\log_2 L$ exactly.
# - With densities $\ln p(y) = b^\top y + c$, whose $P$ is known, the mean over 4000 rows with $K = 1$ and with $K = 64$. `log_density` is any callable from `(N, D)` to `(N,)`; call it on as many rows at once as you like.
# - The noise is drawn anew for every entry, row and draw; the result has shape `(B,)` and the dtype of `x`.

# %% nbgrader={"grade": false, "grade_id": "theory-bits-solution", "locked": false, "schema_version": 3, "solution": true, "task": false}
def dequantised_bits(log_density, x, n_levels, n_draws=1):
    """Bits per dimension of pictures under a density on the unit cube, with n_draws draws of the noise.

    log_density: maps (N, D) to (N,), nats; x: (B, D), floats that hold the integers 0 .. n_levels - 1. Returns (B,).
    """
    ### BEGIN SOLUTION
    B, D = x.shape
    noise = torch.rand(n_draws, B, D, dtype=x.dtype)
    y = (x + noise) / n_levels
    log_p = log_density(y.flatten(0, 1)).reshape(n_draws, B)
    log_mean = torch.logsumexp(log_p, dim=0) - math.log(n_draws)
    return (D * math.log(n_levels) - log_mean) / (D * math.log(2))
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "theory-bits", "locked": true, "points": 0.5, "schema_version": 3, "solution": false, "task": false}
check("theory-bits")

# %% [markdown]
# # Part 2. Four ways to a cheap determinant (9 points)
#
# ## 2.1 Planar flow (1 point)
#
# Reading: Rezende, Mohamed 2015, appendix A.1. With $\hat u$ from task 1.1, **used always**, not only where it is needed,
#
# $$ z = x + \hat u \tanh(w^\top x + b), \qquad \mathrm{logdet} = \ln\big(1 + w^\top \hat u\,(1 - \tanh^2(w^\top x + b))\big). $$
#
# *Worked number:* $w = (1, 0)$, $u = (-5, 0)$, $b = 0$, $x = (1, 0)$: $\hat u = (-0.9933, 0)$, $z = (0.2435, 0)$, `logdet` $= -0.5398$. Without the hat the determinant would be negative here.
#
# <details><summary>Hint</summary>`F.softplus` is ln(1 + eᵃ), and it neither overflows nor loses digits.</details>
#
# **What is checked**, for $D$ from 1 to 6, $w^\top u$ from $-20$ to $20$ and any length of $w$
# - `planar_u_hat`: $w^\top \hat u = m(w^\top u)$, and $\hat u - u$ is parallel to $w$.
# - `planar_forward`: the formula of $z$, and `logdet` against the measured Jacobian, shape `(B,)`.

# %% nbgrader={"grade": false, "grade_id": "planar-solution", "locked": false, "schema_version": 3, "solution": true, "task": false}
def planar_u_hat(u, w):
    """The vector of task 1.1 with w . u_hat > -1, whatever u is; u, w: (D,). Returns (D,)."""
    ### BEGIN SOLUTION
    a = u @ w
    m = F.softplus(a) - 1
    return u + (m - a) * w / (w @ w)
    ### END SOLUTION


def planar_forward(x, u, w, b):
    """A planar map, with u_hat in the place of u. x: (B, D); u, w: (D,); b: (). Returns z (B, D) and logdet (B,)."""
    ### BEGIN SOLUTION
    u = planar_u_hat(u, w)
    h = torch.tanh(x @ w + b)
    z = x + h[:, None] * u
    return z, torch.log1p((u @ w) * (1 - h.square()))
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "planar", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check("planar")

# %% [markdown]
# One planar map pushes or pulls space across a line. Left: the grid after the map, coloured by `logdet`; right: the density that it gives to data, $\mathcal N(f(x); 0, I)$ times the volume. Where the grid is pulled apart (red), few data fill much noise, so data are dense there.

# %%
with when_written():
    points = torch.cartesian_prod(*2 * [torch.linspace(-3, 3, 121)])
    u, w, b = torch.tensor([-2.0, -1.0]), torch.tensor([1.5, 0.5]), torch.tensor(0.3)
    z, logdet = planar_forward(points, u, w, b)
    print(f"worst difference from the measured volume: {(measured_logdet(lambda p: planar_forward(p, u, w, b), points) - logdet).abs().max():.1e}")
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4))
    shown = left.scatter(*z[::7].T, c=logdet[::7], s=3, cmap="RdBu_r", vmin=-2, vmax=2)
    figure.colorbar(shown, ax=left, label="logdet, nats")
    draw_grid(left, planar_forward(grid(31), u, w, b)[0], side=31, color="0.3", zorder=2)
    left.set(title="where points go", xlim=(-5, 5), ylim=(-5, 5))
    density = (logdet - z.square().sum(1) / 2 - math.log(2 * math.pi)).exp()
    right.imshow(density.reshape(121, 121).T, origin="lower", extent=(-3, 3, -3, 3), cmap="viridis")
    right.set(title="the density of the data: two humps from one")
    plt.show()

# %% [markdown]
# ## 2.2 Masks, and squeezing an image (0.75 points)
#
# Reading: Dinh et al. 2017, sections 3.4 and 3.6. A coupling leaves some entries alone. Which ones, a mask says, in the **full shape of a sample** (a vector of length $C$ would silently broadcast along the *columns* of an image):
#
# - `"checkerboard"`, shape $(C, H, W)$: 1 where $r + c + \text{parity}$ is odd, the same in every channel;
# - `"channel"`, shape $(C, \dots)$: parity 0 has ones in the first $\lfloor C/2 \rfloor$ channels, parity 1 in the others. A vector `(D,)` is $D$ channels.
#
# To get channels out of pixels, `squeeze` turns each $2\times2$ block into four channels: `(B, C, H, W)` → `(B, 4C, H/2, W/2)`; **new channel $4c + 2\,\delta r + \delta c$ holds the pixel $(2r + \delta r,\, 2c' + \delta c)$ of old channel $c$** at place $(r, c')$. `unsqueeze` undoes it.
#
# *Worked number:* a $2\times2$ checkerboard of parity 0 is $\begin{pmatrix}0&1\\1&0\end{pmatrix}$; squeezing $\begin{pmatrix}1&2\\3&4\end{pmatrix}$ gives four channels 1, 2, 3, 4.
#
# <details><summary>Hint</summary>Split first: `x.reshape(B, C, H // 2, 2, W // 2, 2)`. Then decide in which order the six axes belong.</details>
#
# **What is checked**
# - `coupling_mask`: exact values, float32, both parities (which are complementary): a checkerboard for images of odd and unequal sides, `"channel"` for vectors too.
# - `squeeze` and `unsqueeze`: every number in its place, for one to three channels and $H \ne W$.

# %% nbgrader={"grade": false, "grade_id": "coupling-masks-solution", "locked": false, "schema_version": 3, "solution": true, "task": false}
def coupling_mask(kind, shape, parity):
    """A mask of the shape of one sample, float32, 1 = passes. kind: "checkerboard" or "channel"; parity: 0 or 1."""
    ### BEGIN SOLUTION
    if kind == "checkerboard":
        rows, columns = torch.arange(shape[-2])[:, None], torch.arange(shape[-1])[None, :]
        return ((rows + columns + parity) % 2 == 1).float().expand(shape).clone()
    mask = torch.zeros(shape)
    mask[: shape[0] // 2] = 1
    return mask if parity == 0 else 1 - mask
    ### END SOLUTION


def squeeze(x):
    """(B, C, H, W) to (B, 4C, H/2, W/2); H and W are even."""
    ### BEGIN SOLUTION
    B, C, H, W = x.shape
    blocks = x.reshape(B, C, H // 2, 2, W // 2, 2)
    return blocks.permute(0, 1, 3, 5, 2, 4).reshape(B, 4 * C, H // 2, W // 2)
    ### END SOLUTION


def unsqueeze(x):
    """The inverse of squeeze: (B, 4C, H, W) to (B, C, 2H, 2W)."""
    ### BEGIN SOLUTION
    B, C, H, W = x.shape
    blocks = x.reshape(B, C // 4, 2, 2, H, W)
    return blocks.permute(0, 1, 4, 2, 5, 3).reshape(B, C // 4, 2 * H, 2 * W)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "coupling-masks", "locked": true, "points": 0.75, "schema_version": 3, "solution": false, "task": false}
check("coupling-masks")

# %%
with when_written():
    numbers = torch.arange(16.0).view(1, 1, 4, 4)
    small = squeeze(numbers)[0]
    pictures = {"checkerboard, parity 0": coupling_mask("checkerboard", (1, 4, 4), 0)[0] * 15, "an image": numbers[0, 0]}
    pictures |= {f"squeezed, channel {c}": small[c] for c in range(4)}
    figure, axes = plt.subplots(1, 6, figsize=(12, 2.2))
    for axis, (title, picture) in zip(axes, pictures.items()):
        axis.imshow(picture, vmin=0, vmax=15, cmap="viridis")
        axis.set(title=title, xticks=[], yticks=[])
        axis.title.set_fontsize(9)
        for (r, c), value in np.ndenumerate(picture.numpy()):
            axis.text(c, r, f"{value:.0f}", ha="center", va="center", color="white", fontsize=8)
    plt.show()

# %% [markdown]
# ## 2.3 Affine coupling (1.25 points)
#
# Reading: Dinh et al. 2017, sections 3.2–3.4. With a mask $m$, a network that gives $(s, t)$ of the shape of its input, and $\odot$ for products entry by entry:
#
# $$ z = m \odot x + (1 - m) \odot \big(x \odot e^{s} + t\big), \qquad (s, t) = \mathrm{net}(m \odot x), \qquad \mathrm{logdet} = \sum (1 - m) \odot s. $$
#
# What passes ($m = 1$) is what the network sees, so the receiver can compute the same $s$ and $t$ and undo the rest. On the entries that pass the network may answer any finite number: it must not matter.
#
# *Worked number:* $x = (1, 2)$, $m = (1, 0)$, $s = \ln 2$ and $t = 3$ everywhere: $z = (1, 7)$, `logdet` $= 0.6931$ (not 1.3863).
#
# <details><summary>Hint</summary>Multiply $s$ and $t$ by $(1 - m)$ once, *before* both uses.</details>
#
# **What is checked**, for vectors and images and several masks, also all ones and all zeros
# - `coupling_forward` follows the formula (first multiply, then shift); `logdet` equals the measured one, shape `(B,)`.
# - `coupling_inverse` undoes it at any $z$, and its `logdet` is of its own direction. What the network answers on entries that pass has no influence, however large it is (up to $10^3$), and what the network is given does not depend on the entries that do not pass.

# %% nbgrader={"grade": false, "grade_id": "coupling-solution", "locked": false, "schema_version": 3, "solution": true, "task": false}
def coupling_forward(x, mask, net):
    """x: (B, *); mask: the shape of x[0]; net maps (B, *) to (log_s, t), each (B, *). Returns z (B, *) and logdet (B,)."""
    ### BEGIN SOLUTION
    log_s, t = net(mask * x)
    log_s, t = (1 - mask) * log_s, (1 - mask) * t
    return x * log_s.exp() + t, log_s.flatten(1).sum(1)
    ### END SOLUTION


def coupling_inverse(z, mask, net):
    """The inverse map. Returns x (B, *) and its own logdet (B,)."""
    ### BEGIN SOLUTION
    log_s, t = net(mask * z)  # what passes is the same on both sides
    log_s, t = (1 - mask) * log_s, (1 - mask) * t
    return (z - t) * (-log_s).exp(), -log_s.flatten(1).sum(1)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "coupling", "locked": true, "points": 1.25, "schema_version": 3, "solution": false, "task": false}
check("coupling")

# %% [markdown]
# The Jacobian of a coupling on six numbers, as it is and with the passing entries first: a triangle. The determinant of a triangle is the product of its diagonal.

# %%
with when_written():
    torch.manual_seed(1)
    A = torch.randn(6, 6) / 2
    mask, x = coupling_mask("checkerboard", (1, 1, 6), 0).flatten(), torch.randn(1, 6)
    jacobian = torch.autograd.functional.jacobian(lambda v: coupling_forward(v, mask, lambda h: (torch.tanh(h @ A), h @ A.T))[0], x)[0, :, 0]
    order = torch.argsort(mask, descending=True)
    figure, axes = plt.subplots(1, 2, figsize=(6, 2.6))
    for axis, picture, title in zip(axes, (jacobian, jacobian[order][:, order]), ("∂z / ∂x", "passing entries first")):
        axis.imshow(picture, cmap="RdBu_r", vmin=-2, vmax=2)
        axis.set(title=title, xticks=[], yticks=[])
    plt.show()

# %% [markdown]
# ## 2.4 A stack: log-likelihood and sampling (1.25 points)
#
# Bijections compose and log-determinants add up. Write the whole flow: a module that holds a list of layers, each with `forward` and `inverse` as above.
#
# *Worked number:* one layer $z = 2x$ in $D = 2$: `log_prob(0)` $= -1.8379 + 2 \ln 2 = -0.4516$.
#
# <details><summary>Hint</summary>A plain Python list hides its modules from `parameters()`; `nn.ModuleList` does not. What is the order of the layers on the way back?</details>
#
# **What is checked**, with layers of the judge's that do not commute, for vectors and images
# - `self.layers` holds the layers in the order from data to noise, registered: their parameters are the flow's. An empty stack is the identity with `logdet` zeros of shape `(B,)`.
# - `forward` and `inverse`: result and accumulated `logdet` of the direction taken. `log_prob(x)`: `(B,)`, nats, summed over the whole sample, differentiable in `x` and in the parameters.
# - `sample(n, shape)`: `(n, *shape)`, fresh in every call, without a gradient graph; its law (20,000 draws). `sample` is asked of flows in the default dtype only.

# %% nbgrader={"grade": false, "grade_id": "realnvp-solution", "locked": false, "schema_version": 3, "solution": true, "task": false}
class Flow(nn.Module):
    """A stack of invertible layers with base law N(0, I)."""

    def __init__(self, layers):
        """layers: modules with `forward` and `inverse`, in the order from data to noise."""
        super().__init__()
        ### BEGIN SOLUTION
        self.layers = nn.ModuleList(layers)
        ### END SOLUTION

    def forward(self, x):
        """Data x (B, *) to noise z (B, *) and logdet (B,)."""
        ### BEGIN SOLUTION
        total = x.new_zeros(len(x))
        for layer in self.layers:
            x, logdet = layer(x)
            total = total + logdet
        return x, total
        ### END SOLUTION

    def inverse(self, z):
        """Noise z (B, *) to data x (B, *) and the logdet (B,) of this direction."""
        ### BEGIN SOLUTION
        total = z.new_zeros(len(z))
        for layer in reversed(self.layers):
            z, logdet = layer.inverse(z)
            total = total + logdet
        return z, total
        ### END SOLUTION

    def log_prob(self, x):
        """ln p(x) in nats, (B,), summed over all dimensions of a sample."""
        ### BEGIN SOLUTION
        z, logdet = self(x)
        base = -0.5 * (z.square() + math.log(2 * math.pi))
        return base.flatten(1).sum(1) + logdet
        ### END SOLUTION

    def sample(self, n, shape):
        """n samples, each of the given shape: (n, *shape)."""
        ### BEGIN SOLUTION
        z = torch.randn(n, *shape)
        with torch.no_grad():
            x, _ = self.inverse(z)
        return x
        ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "realnvp", "locked": true, "points": 1.25, "schema_version": 3, "solution": false, "task": false}
check("realnvp")

# %% [markdown]
# ## 2.5 ActNorm (1 point)
#
# Reading: Kingma, Dhariwal 2018, section 3.1. Deep flows train badly unless each layer starts with numbers of unit size. ActNorm is an affine map with one scale and one shift for each channel, which are *set once from the data* and learned from then on:
#
# $$ z = x\, e^{\mathtt{log\_scale}} + \mathtt{shift}, \qquad \mathrm{logdet} = H W \sum_c \mathtt{log\_scale}_c. $$
#
# The first `forward` in training mode, under `torch.no_grad()` too, sets both parameters so that *this batch* leaves with mean 0 and variance 1 in each channel, over batch and pixels. Afterwards they are never set again, also not in a fresh module into which the `state_dict` of one that has seen a batch was loaded.
# They stay **the same parameter objects**: an optimiser made before the first batch must go on working.
#
# *Worked number* (divisor $n$): one channel with values 1 and 5: `log_scale` $= -0.6931$, `shift` $= -1.5$.
#
# <details><summary>Hint</summary>A flag kept with `register_buffer` travels in the `state_dict`; an attribute does not. `with torch.no_grad(): p.copy_(...)` changes numbers and keeps the object.</details>
#
# **What is checked**, for `x` of shape `(B, C)` and `(B, C, H, W)`
# - Parameters `log_scale` and `shift`, `(C,)`, zero at first. The first training batch leaves with mean 0 and variance 1 (either divisor, $n$ or $n - 1$; a small ε is allowed); the next batch goes by the old numbers.
# - `eval()` first does not set anything, training mode later does; a fresh module with loaded state does not set anything; the parameters stay the same objects.
# - `logdet` against the measured Jacobian, and `inverse` with its own.

# %% nbgrader={"grade": false, "grade_id": "actnorm-solution", "locked": false, "schema_version": 3, "solution": true, "task": false}
class ActNorm(nn.Module):
    """An affine map for each channel, set from the first batch seen in training mode."""

    def __init__(self, channels):
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(channels))
        self.shift = nn.Parameter(torch.zeros(channels))
        ### BEGIN SOLUTION
        self.register_buffer("is_set", torch.tensor(False))

    def _set_from(self, x):
        dims = [0, *range(2, x.dim())]
        mean, std = x.mean(dims), x.std(dims, unbiased=False)
        with torch.no_grad():
            self.log_scale.copy_(-torch.log(std + 1e-8))
            self.shift.copy_(-mean / (std + 1e-8))
            self.is_set.fill_(True)

    def _for(self, x):
        shape = (-1, *[1] * (x.dim() - 2))
        pixels = x[0, 0].numel()
        return self.log_scale.view(shape), self.shift.view(shape), pixels * self.log_scale.sum().expand(len(x))
        ### END SOLUTION

    def forward(self, x):
        """x: (B, C) or (B, C, H, W). Returns z of that shape and logdet (B,)."""
        ### BEGIN SOLUTION
        if self.training and not self.is_set:
            self._set_from(x)
        log_scale, shift, logdet = self._for(x)
        return x * log_scale.exp() + shift, logdet
        ### END SOLUTION

    def inverse(self, z):
        """The inverse map and its own logdet."""
        ### BEGIN SOLUTION
        log_scale, shift, logdet = self._for(z)
        return (z - shift) * (-log_scale).exp(), -logdet
        ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "actnorm", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check("actnorm")

# %% [markdown]
# ## 2.6 Invertible 1×1 convolution (1 point)
#
# Reading: Kingma, Dhariwal 2018, section 3.2. Instead of a fixed permutation between couplings, mix the channels with a learned matrix, the same at every pixel:
#
# $$ z_{:, :, r, c} = W x_{:, :, r, c}, \qquad \mathrm{logdet} = H V \ln |\det W| \quad \text{for images of } H \times V \text{ pixels}. $$
#
# Start from a random *orthogonal* matrix. You may store $W$ itself, or its factors in any form; `matrix()` returns the matrix that is meant.
#
# *Worked number:* $W = 2 I_3$ on $2\times2$ pixels: `logdet` $= 4 \cdot 3 \ln 2 = 8.3178$.
#
# <details><summary>Hint</summary>`torch.logdet` gives NaN for a negative determinant, and half of all orthogonal matrices have one.</details>
#
# **What is checked**
# - At the start `matrix()` is orthogonal; later, with any weights: output $= W x$ at each pixel, `logdet` equals the measured one, whichever sign the determinant has, also when $H \ne V$.
# - `inverse` undoes it, with its own `logdet`. The matrix is learnable, and its determinant too: the gradient of `logdet` reaches parameters.

# %% nbgrader={"grade": false, "grade_id": "conv1x1-solution", "locked": false, "schema_version": 3, "solution": true, "task": false}
class InvertibleConv1x1(nn.Module):
    """One learned matrix (C, C) mixes the channels at every pixel of (B, C, H, W)."""

    def __init__(self, channels):
        super().__init__()
        ### BEGIN SOLUTION
        start = torch.randn(channels, channels)
        Q, _ = torch.linalg.qr(start)
        self.weight = nn.Parameter(Q)
        ### END SOLUTION

    def matrix(self):
        """W, shape (C, C)."""
        ### BEGIN SOLUTION
        return self.weight
        ### END SOLUTION

    def forward(self, x):
        """x: (B, C, H, W). Returns z and logdet (B,)."""
        ### BEGIN SOLUTION
        W = self.matrix()
        z = torch.einsum("ij,bjhw->bihw", W, x)
        return z, (x[0, 0].numel() * torch.linalg.slogdet(W)[1]).expand(len(x))
        ### END SOLUTION

    def inverse(self, z):
        """The inverse map and its own logdet."""
        ### BEGIN SOLUTION
        W = self.matrix()
        x = torch.einsum("ij,bjhw->bihw", torch.linalg.inv(W), z)
        return x, (-z[0, 0].numel() * torch.linalg.slogdet(W)[1]).expand(len(z))
        ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "conv1x1", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check("conv1x1")

# %% [markdown]
# ## 2.7 Masked autoregressive flow (1 point)
#
# Reading: Papamakarios et al. 2017, sections 3.1 and 3.2. A triangle can also come from an *order*: entry $i$ is shifted and scaled by numbers that depend on the entries before it,
#
# $$ z_i = \big(x_i - \mu_i(x_{<i})\big)\, e^{-\sigma_i(x_{<i})}, \qquad \mathrm{logdet} = -\sum_i \sigma_i. $$
#
# `net(x)` gives `(mean, log_std)`, each `(B, D)`, and entry $i$ of both depends on $x_{<i}$ only, as in a MADE. $\mu_0$ and $\sigma_0$ are numbers, in general not 0. So data to noise takes **one** call of the network, and the way back one call after another: $x_0$ is known at once, $x_1$ when $x_0$ is known, …
#
# *Worked number:* `mean(v)` $= (0, v_0, v_1)$, `log_std` $= (0, \ln 2, 0)$, $z = (1, 1, 1)$: $x = (1, 3, 4)$, and `logdet` of the inverse is 0.6931.
#
# <details><summary>Hint</summary>Entry $i$ is final after sweep $i$. Sweeping over all entries $D$ times is as right as filling in one at a time, as long as no early sweep overflows.</details>
#
# **What is checked**, for $D$ from 1 to 6
# - `maf_forward`: the formula, `logdet` against the measured Jacobian, exactly **one** call of `net`.
# - `maf_inverse`: undoes it at any $z$, with its own `logdet`, in at most $D + 1$ calls (the last one for `logdet`, if you like).

# %% nbgrader={"grade": false, "grade_id": "maf-solution", "locked": false, "schema_version": 3, "solution": true, "task": false}
def maf_forward(x, net):
    """Data x (B, D) to noise in one call of net, which maps (B, D) to (mean, log_std). Returns z and logdet (B,)."""
    ### BEGIN SOLUTION
    mean, log_std = net(x)
    z = (x - mean) * (-log_std).exp()
    return z, -log_std.sum(1)
    ### END SOLUTION


def maf_inverse(z, net):
    """Noise z (B, D) to data, one entry after another. Returns x and its own logdet (B,)."""
    ### BEGIN SOLUTION
    x = torch.zeros_like(z)
    for i in range(z.shape[1]):
        mean, log_std = net(x)
        entry = z[:, i] * log_std[:, i].exp() + mean[:, i]
        x = torch.cat([x[:, :i], entry[:, None], x[:, i + 1 :]], dim=1)
    return x, net(x)[1].sum(1)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "maf", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check("maf")

# %% [markdown]
# ## 2.8 Inverse autoregressive flow (0.75 points)
#
# Reading: Kingma et al. 2016. The same triangle the other way round: the network looks at the **noise**,
#
# $$ x_i = z_i\, e^{\sigma_i(z_{<i})} + \mu_i(z_{<i}), \qquad \ln\left|\det \frac{\partial x}{\partial z}\right| = + \sum_i \sigma_i. $$
#
# *Worked number,* with the same network: $z = (1, 1, 1)$ gives $x = (1, 3, 2)$: compare with MAF's $(1, 3, 4)$, and find the reason. (Not scored: which of the two trains fast, and which samples fast?)
#
# <details><summary>Hint</summary>IAF's inverse is MAF's forward with the roles of data and noise exchanged; only one of them can look at everything at once.</details>
#
# **What is checked**, for $D$ from 1 to 6
# - `iaf_inverse`: the formula and its `logdet`, exactly **one** call of `net`.
# - `iaf_forward`: undoes it at any $x$, with its own `logdet`, in at most $D + 1$ calls.

# %% nbgrader={"grade": false, "grade_id": "iaf-solution", "locked": false, "schema_version": 3, "solution": true, "task": false}
def iaf_inverse(z, net):
    """Noise z (B, D) to data in one call of net. Returns x and its own logdet (B,)."""
    ### BEGIN SOLUTION
    mean, log_std = net(z)
    x = z * log_std.exp() + mean
    return x, log_std.sum(1)
    ### END SOLUTION


def iaf_forward(x, net):
    """Data x (B, D) to noise, one entry after another. Returns z and its own logdet (B,)."""
    ### BEGIN SOLUTION
    z = torch.zeros_like(x)
    for _ in range(x.shape[1]):  # entry i is final after sweep i
        mean, log_std = net(z)
        z = (x - mean) * (-log_std).exp()
    return z, -net(z)[1].sum(1)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "iaf", "locked": true, "points": 0.75, "schema_version": 3, "solution": false, "task": false}
check("iaf")

# %% [markdown]
# ## 2.9 Dequantisation and the logit (1 point)
#
# Reading: Dinh et al. 2017, section 4.1; Theis et al. 2016, section 3.1. Pixels are integers, and a density may become as large as it likes on a grid of integers: a flow that gets no noise learns nothing but the grid, with bits per dimension falling without bound. So
#
# 1. `dequantise`: $y = (x + u)/L \in [0, 1]$, with fresh $u \sim U[0, 1)$ for every entry in every call;
# 2. `logit_forward`: $s = \alpha + (1 - 2\alpha)\, y$, $z = \ln s - \ln(1 - s)$, since a Gaussian lives on all of $\mathbb R$; `logdet` $= \sum \left[\ln(1 - 2\alpha) - \ln s - \ln(1 - s)\right]$, over everything but the batch;
# 3. `logit_inverse`, **not clamped**: it may leave $[0, 1]$ ($z = -10$ gives $y = -0.0555$), and a clamped map is no bijection.
#
# *Worked numbers,* $\alpha = 0.05$: $y = \tfrac12$ gives $z = 0$, `logdet` 1.2809; $y = 0$ gives $z = -2.9444$, `logdet` 2.9417.
#
# <details><summary>Hint</summary>The derivative of the sigmoid is $\sigma(z)\,\sigma(-z)$, and `F.logsigmoid` knows the logarithm of each factor, however large $z$ is.</details>
#
# **What is checked**
# - `dequantise` for $L = 2, 17, 256$, integers as `long` (result in the default dtype) or as floats (result in their dtype), any shape: the noise is uniform, and independent between entries, rows and calls.
# - `logit_forward` and `logit_inverse`: formula, `logdet` against the measured Jacobian, for several `alpha` and the default, at $y = 0$ and $y = 1$ too; each undoes the other.

# %% nbgrader={"grade": false, "grade_id": "dequantise-solution", "locked": false, "schema_version": 3, "solution": true, "task": false}
def dequantise(x, n_levels):
    """Integers 0 .. n_levels - 1, any shape, long or float, to floats (x + u) / n_levels of that shape."""
    ### BEGIN SOLUTION
    dtype = x.dtype if x.is_floating_point() else torch.get_default_dtype()
    x = x.to(dtype)
    return (x + torch.rand_like(x)) / n_levels
    ### END SOLUTION


def logit_forward(y, alpha=0.05):
    """y (B, *) in [0, 1] to z (B, *) and logdet (B,)."""
    ### BEGIN SOLUTION
    s = alpha + (1 - 2 * alpha) * y
    logdet = math.log(1 - 2 * alpha) - s.log() - torch.log1p(-s)
    return s.log() - torch.log1p(-s), logdet.flatten(1).sum(1)
    ### END SOLUTION


def logit_inverse(z, alpha=0.05):
    """z (B, *) back to y, which may leave [0, 1], and the logdet (B,) of this direction."""
    ### BEGIN SOLUTION
    s = torch.sigmoid(z)
    logdet = F.logsigmoid(z) + F.logsigmoid(-z) - math.log(1 - 2 * alpha)
    return (s - alpha) / (1 - 2 * alpha), logdet.flatten(1).sum(1)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "dequantise", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check("dequantise")

# %% [markdown]
# # Part 3. Two trained flows (2 points)
#
# Both are RealNVPs in your class `Flow`: its `layers` are **affine couplings, one a layer, and affine maps** (ActNorm, permutations, squeezes, linear maps, a fixed standardisation); in the flow of digits *one* layer before the first coupling may act on single
# entries, as the logit does. At least four couplings whose scale depends on what they let pass.
#
# **How a trained flow is judged**, in evaluation mode and in double precision. First its structure, from the measured Jacobians of each layer at a few of its own inputs: a layer with the same Jacobian everywhere is affine; any other must pass some entries exactly, each at its own place, and scale each of the others by a number
# that depends on the passing ones only. Then whether it is a bijection: a row's answer does not depend on the other rows, nor on how many there are, `inverse(forward(x))` $= x$, `forward(inverse(z))` $= z$ within $10^{-4}$ (the latter for 90 % of the rows: a little noise may meet a logit where it saturates), and for 90 % of the rows no entry of `inverse(z)` moves by more than $10^{-2}$ when $z$ moves by $10^{-6}$. (If a layer is a fixed rotation, invert the matrix that is stored: rounded to `float32` it is not quite orthogonal, and its transpose is not quite its inverse.) **Without both nothing is earned.** At last its density, computed by the judge from
# measured Jacobians: your `log_prob` and `logdet` are not used. (Why so strict about structure? Four Gaussians fitted by EM can be written as a triangular map, task 1.3, with a perfect density and no flow at all.)
#
# The cells with `fit_flow(...)` carry the tags `train` and `train:mixture` or `train:digits`; they are run only when the model is graded, with up to 240 seconds each on one CPU core.
#
# ## 3.1 A mixture in the plane (1 point)
#
# Four Gaussians of full covariance: weights 0.1, 0.2, 0.3, 0.4 in some order; centres at distance 3–4 from the origin, about 90° apart, the whole turned by some angle; deviations 0.35–0.8 along axes of their own. **When you are graded, the grader draws all these numbers anew**, hands over 10,000
# points of that law as `mixture_train`, and trains your flow on them: what is typed in from this example is worth nothing then. At home everybody sees the same example, whose entropy is 2.72 nats: your excess is the loss on `mixture_test` minus 2.72.
#
# Write the layer, the flow and the training:
#
# - `Coupling`: a layer around your functions of task 2.3 with a network of your own: the one whole network of this homework. For a sample of $n$ numbers the network gives $n$ log-scales and $n$ shifts, those of passing entries included.
# - `make_mixture_flow()` → `Flow` for `(B, 2)`; `fit_flow` maximises the mean of `log_prob`.
#
# *What to expect:* 8 couplings with two hidden layers of 64 units, 1500 steps of 256 points, Adam with a learning rate that rises to 5e-3 and falls again (`OneCycleLR`): 8–25 seconds of one core, an excess of 0.04–0.1 nats over the entropy, 97 % of the samples within 3 deviations of a mode. Four couplings of 32 units after 500 steps: an excess of 0.14 and 93 %. Best possible: 0 and 98.9 %. The best single Gaussian: 1.2–2.2 and 25–54 %. Masks that do not alternate: an excess of 1.3.
#
# <details><summary>Hint: training diverges</summary>Bound the log-scale, s = 2 tanh(a/2), say; start the last layer of the network at zero, so that each coupling starts as the identity; clip the norm of the gradient.</details>
#
# **What is checked**
# - (0.25, in the notebook too) Structure and bijection, and the density on the points `mixture_test`: points grow with its lead over the best single Gaussian (mean and covariance of `mixture_train`), in full from 0.5 nats.
# - (0.5) The excess over the entropy on fresh points of the same law: in full up to 0.2 nats, nothing from 1.0, a straight line between. A significantly negative excess earns nothing, nor does a density whose integral over the plane is not 1 within 5 %. A point counts with at most 20 nats, so that a single one far out decides nothing.
# - (0.25) 2000 draws of noise by the judge through `inverse`: the share within 3 deviations of a mode earns in full from 0.88, nothing up to 0.7; every mode gets at least a quarter of its weight.

# %%
from autograder import course_data

mixture_data = course_data("mixture")
mixture_train, mixture_test = mixture_data["mixture_train"], mixture_data["mixture_test"]  # (10000, 2), (2000, 2)

figure, axes = plt.subplots(figsize=(3.4, 3.4))
axes.scatter(*mixture_train[:2000].T, s=2)
axes.set(title="2000 points of mixture_train", xlim=(-6, 6), ylim=(-6, 6))
plt.show()

# %% nbgrader={"grade": false, "grade_id": "train-mixture-solution", "locked": false, "schema_version": 3, "solution": true, "task": false}
class Coupling(nn.Module):
    """An affine coupling as a layer; mask: the shape of one sample."""

    def __init__(self, mask, hidden=64, dropout=0.0):
        super().__init__()
        self.register_buffer("mask", mask)
        ### BEGIN SOLUTION
        n = mask.numel()
        self.body = nn.Sequential(
            nn.Flatten(), nn.Linear(n, hidden), nn.SiLU(), nn.Dropout(dropout),
            nn.Linear(hidden, hidden), nn.SiLU(), nn.Dropout(dropout), nn.Linear(hidden, 2 * n),
        )
        nn.init.zeros_(self.body[-1].weight)
        nn.init.zeros_(self.body[-1].bias)

    def net(self, h):
        log_s, t = self.body(h).chunk(2, dim=1)
        return 2 * torch.tanh(log_s / 2).reshape(h.shape), t.reshape(h.shape)
        ### END SOLUTION

    def forward(self, x):
        return coupling_forward(x, self.mask, self.net)

    def inverse(self, z):
        return coupling_inverse(z, self.mask, self.net)


def make_mixture_flow():
    """A new, untrained flow for points in the plane."""
    ### BEGIN SOLUTION
    masks = [coupling_mask("channel", (2,), parity % 2) for parity in range(8)]
    layers = [Coupling(mask, hidden=64) for mask in masks]
    return Flow(layers)
    ### END SOLUTION


def fit_flow(flow, x, steps, batch_size=256, lr=5e-3, prepare=lambda batch: batch):
    """Train flow in place on random batches of x, each sent through `prepare` first.

    Returns the list of losses, one number (nats per sample) for each step, and leaves the flow in evaluation mode.
    """
    ### BEGIN SOLUTION
    optimizer = torch.optim.Adam(flow.parameters(), lr=lr)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=lr, total_steps=steps)
    losses = []
    flow.train()
    for _ in range(steps):
        batch = prepare(x[torch.randint(len(x), (batch_size,))])
        loss = -flow.log_prob(batch).mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(flow.parameters(), 5.0)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    flow.eval()
    return losses
    ### END SOLUTION


# %% tags=["train", "train:mixture"] nbgrader={"grade": false, "grade_id": "train-mixture-run", "locked": false, "schema_version": 3, "solution": true, "task": false}
# Bind the trained flow to `mixture_flow` and the list of losses to `mixture_losses`.
with when_written():
    ### BEGIN SOLUTION
    mixture_flow = make_mixture_flow()
    mixture_losses = fit_flow(mixture_flow, mixture_train, steps=1500)
    ### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "train-mixture", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check("train-mixture")

# %% [markdown]
# The picture to be proud of: 400 points and a grid on their way through the layers of your flow, coloured by the direction they come from. Read from left to right it is `forward`, from right to left it is sampling. Below: learning curve with the Gaussian baseline, density and samples.

# %%
with when_written("mixture_flow", "mixture_losses"):
    shown = mixture_test[:400]
    tint = torch.atan2(shown[:, 1], shown[:, 0])
    with torch.no_grad():
        points, lattice = shown.clone(), grid(21, 5.5)
        stops = [(points, lattice)]
        for layer in mixture_flow.layers:
            points, lattice = layer(points)[0], layer(lattice)[0]
            stops.append((points, lattice))
    stops = [stops[i] for i in np.linspace(0, len(stops) - 1, 6).astype(int)]
    figure, axes = plt.subplots(1, 6, figsize=(15, 2.6))
    for number, (axis, (points, lattice)) in enumerate(zip(axes, stops)):
        draw_grid(axis, lattice)
        axis.scatter(*points.T, c=tint, s=3, cmap="hsv")
        axis.set(xlim=(-6, 6), ylim=(-6, 6), xticks=[], yticks=[], title={0: "data", 5: "noise"}.get(number, ""))
    plt.show()

    mean, cov = mixture_train.mean(0), mixture_train.T.cov()
    gaussian = torch.distributions.MultivariateNormal(mean, cov)
    with torch.no_grad():
        reached = -mixture_flow.log_prob(mixture_test).mean().item()
        axis_points = torch.cartesian_prod(*2 * [torch.linspace(-6, 6, 121)])
        density = mixture_flow.log_prob(axis_points).exp().reshape(121, 121)
        samples = mixture_flow.sample(2000, (2,))
    best = -gaussian.log_prob(mixture_test).mean().item()
    print(f"on mixture_test: {reached:.3f} nats per point; the best single Gaussian {best:.3f}")
    print(f"the density over the square sums to {density.sum() * 0.1 ** 2:.3f}")
    figure, (curve, middle, right) = plt.subplots(1, 3, figsize=(11, 3))
    curve.plot(mixture_losses, linewidth=0.5)
    curve.axhline(best, color="black", linestyle=":", label="best single Gaussian")
    curve.axhline(reached, color="black", linewidth=1, label="your flow, mixture_test")
    curve.set(xlabel="step", ylabel="nats per point", ylim=(reached - 0.5, best + 1))
    curve.legend(fontsize=7)
    middle.imshow(density.T, origin="lower", extent=(-6, 6, -6, 6), cmap="viridis")
    middle.set(title="density of your flow")
    right.scatter(*samples.T, s=2)
    right.set(title="samples of your flow", xlim=(-6, 6), ylim=(-6, 6))
    plt.show()

# %% [markdown]
# ## 3.2 Digits (1 point)
#
# Digits of $8 \times 8$ pixels with 17 grey levels: `digits_train`, `(6000, 1, 8, 8)`, integers 0 … 16 as floats. They were *drawn anew* from scikit-learn's digits (two of one writer morphed, then turned and shifted a little), and the grader draws the pictures it asks about in the same way from **other writers**; they lie in no file.
#
# Write `make_digits_flow()` (`digits_train` is there whenever it is called, in grading too): its `forward` takes $y \in [0, 1]$, `(B, 1, 8, 8)`, to a $z$ of any shape with 64 numbers. Train with `fit_flow`, and **dequantise anew in every step**: `prepare=lambda x: dequantise(x, 17)`. Keep the last 600 pictures for validation and watch the gap; dropout in the networks helps.
#
# *What to expect*, bits per dimension on held-out pictures: uniform 4.09 · independent pixels (histograms) 2.97 · the training pictures with Gaussian noise around them (a memoriser) 2.61 · a full Gaussian in logit space, which is the best *linear* flow, **2.20** · ten of those, one a class, 2.10 · eight checkerboard couplings with perceptrons of
# 2 × 256 units and dropout 0.1, 600 steps of 128 pictures: **1.98**, in some 15 seconds. Two usual mistakes are not far behind: half the log-determinant in the loss gives 2.14, masks that do not alternate 2.36. Not scored, but worth a try: what happens without noise?
#
# <details><summary>Hint</summary>Logit first, then a fixed standardisation with the mean and deviation of each pixel of the pictures you train on, in logit space, then couplings. Adam with OneCycleLR up to 2e-3.</details>
#
# **What is checked**, bits per dimension computed by the judge with noise of its own
# - (0.2, in the notebook too) Structure and bijection, and the bits on 100 of your validation pictures: in full below 2.6, nothing from 2.97.
# - (0.5) On 300 held-out pictures, asked together with training pictures: in full up to 2.08, nothing from 2.19, a straight line between.
# - (0.3, only if those bits are below 2.19) Pictures made from the judge's own noise by `inverse`, times 17, rounded down, clamped to 0 … 16: the mean grey is within 0.08 of the data's (of white), they differ from each other at least 80 % as much as real digits do, and at most 30 % are copies of training or held-out pictures.

# %%
digits_train = course_data("digits")["digits_train"]  # (6000, 1, 8, 8), levels 0 .. 16
LEVELS = 17


def show_digits(axes, pictures, title="", columns=8):
    """Draw pictures (N, 1, 8, 8) with values from 0 to 1 as a grid."""
    framed = F.pad(pictures[:, 0].float(), (1, 1, 1, 1), value=0.5)
    axes.imshow(torch.cat([torch.cat(list(row), 1) for row in framed.split(columns)]), cmap="gray", vmin=0, vmax=1)
    axes.set_title(title, fontsize=10)
    axes.axis("off")


figure, axes = plt.subplots(figsize=(5, 2.6))
show_digits(axes, digits_train[:32] / 16, "digits_train", columns=16)
plt.show()

# %% nbgrader={"grade": false, "grade_id": "train-digits-solution", "locked": false, "schema_version": 3, "solution": true, "task": false}
def make_digits_flow():
    """A new, untrained flow for dequantised digits y in [0, 1], (B, 1, 8, 8)."""
    ### BEGIN SOLUTION
    z = logit_forward((digits_train[:5400] + 0.5) / LEVELS)[0]
    masks = [coupling_mask("checkerboard", (1, 8, 8), parity % 2) for parity in range(8)]
    couplings = [Coupling(mask, hidden=256, dropout=0.1) for mask in masks]
    return Flow([Logit(), Standardise(z.mean(0), z.std(0)), *couplings])


class Logit(nn.Module):
    """Task 2.9 as a layer."""

    def forward(self, y):
        return logit_forward(y)

    def inverse(self, z):
        return logit_inverse(z)


class Standardise(nn.Module):
    """A fixed affine map of each pixel."""

    def __init__(self, mean, std):
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("std", std + 0.05)

    def forward(self, x):
        return (x - self.mean) / self.std, -self.std.log().sum().expand(len(x))

    def inverse(self, z):
        return z * self.std + self.mean, self.std.log().sum().expand(len(z))
    ### END SOLUTION


# %% tags=["train", "train:digits"] nbgrader={"grade": false, "grade_id": "train-digits-run", "locked": false, "schema_version": 3, "solution": true, "task": false}
# Bind the trained flow to `digits_flow` and the list of losses to `digits_losses`.
with when_written():
    ### BEGIN SOLUTION
    digits_flow = make_digits_flow()
    digits_losses = fit_flow(
        digits_flow, digits_train[:5400], steps=700, batch_size=128, lr=2e-3, prepare=lambda x: dequantise(x, LEVELS)
    )
    ### END SOLUTION
    torch.save(digits_flow.state_dict(), "digits_flow.pt")

# %% nbgrader={"grade": true, "grade_id": "train-digits", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}
check("train-digits")

# %% [markdown]
# Validation pictures, samples, the nearest training picture to each sample; then the way between two digits, in $z$ and in pixels: halfway in pixels two digits lie on top of each other, halfway in $z$ it is closer to *one* shape, if a blurred one.

# %%
def bits_of(flow, pictures, draws=1):
    """Mean bits per dimension of pictures with levels 0 .. 16, by task 1.4."""
    with torch.no_grad():
        log_density = lambda y: flow.log_prob(y.reshape(-1, 1, 8, 8))
        return dequantised_bits(log_density, pictures.flatten(1), LEVELS, draws).mean().item()


with when_written("digits_flow", "digits_losses"):
    valid = digits_train[5400:]
    print(f"bits per dimension: training {bits_of(digits_flow, digits_train[:600]):.3f}, validation {bits_of(digits_flow, valid):.3f}")
    z_shape = digits_flow(valid[:1] / LEVELS)[0].shape[1:]
    samples = ((digits_flow.sample(32, z_shape) * LEVELS).floor().clamp(0, 16) / 16).reshape(-1, 1, 8, 8)
    nearest = digits_train[torch.cdist(samples.flatten(1), digits_train.flatten(1) / 16).argmin(1)] / 16
    figure, axes = plt.subplots(1, 4, figsize=(13, 2.4), width_ratios=[1.2, 1, 1, 1])
    axes[0].plot(np.array(digits_losses) / (64 * math.log(2)) + math.log2(LEVELS), linewidth=0.5)
    axes[0].axhline(2.97, color="black", linestyle=":", label="independent pixels")
    axes[0].axhline(2.20, color="black", linestyle="--", label="best linear flow")
    axes[0].set(xlabel="step", ylabel="bits per dimension, training", ylim=(1.7, 3.5))
    axes[0].legend(fontsize=7)
    show_digits(axes[1], valid[:32] / 16, "validation data")
    show_digits(axes[2], samples, "samples")
    show_digits(axes[3], nearest, "nearest training picture")
    plt.show()

    with torch.no_grad():
        ends = (valid[[3, 11, 25, 40]] + 0.5) / LEVELS
        z = digits_flow(ends)[0]
        way = torch.linspace(0, 1, 8).view(-1, *[1] * (z.dim() - 1))
        in_z = torch.cat([digits_flow.inverse(a + way * (b - a))[0] for a, b in ((z[0], z[1]), (z[2], z[3]))])
        way = way.view(-1, 1, 1, 1)
        in_pixels = torch.cat([a + way * (b - a) for a, b in ((ends[0], ends[1]), (ends[2], ends[3]))])
    figure, axes = plt.subplots(1, 2, figsize=(10, 1.8))
    show_digits(axes[0], in_z.clamp(0, 1), "between two digits, in z")
    show_digits(axes[1], in_pixels, "between two digits, in pixels")
    plt.show()

# %% [markdown]
# # All models on one axis
#
# Nothing is scored here. Left: the loss on `mixture_test`, of the best single Gaussian and of your flow. Right: bits per dimension of digits, with one and with 64 draws of noise (task 1.4): the bound tightens a little, the ranking stays. The numbers of Homework 1 were bits of *binary* pixels, at most 1 each; these pixels have 17 levels
# and at most 4.09. They do not compare.

# %%
with when_written("mixture_flow", "digits_flow", "best"):
    known = {"uniform": 4.09, "independent pixels": 2.97, "memoriser": 2.61, "best linear flow": 2.20, "ten class Gaussians": 2.10}
    known["your flow, 1 draw"] = bits_of(digits_flow, valid[:300])
    known["your flow, 64 draws"] = bits_of(digits_flow, valid[:300], 64)
    plane = {"best single Gaussian": best, "your flow": reached}
    figure, axes = plt.subplots(1, 2, figsize=(11, 2.6), width_ratios=[1, 1.6])
    for axis, bars, unit in ((axes[0], plane, "nats per point, mixture_test"), (axes[1], known, "bits per dimension")):
        axis.barh(list(bars), list(bars.values()), color=["tab:orange" if "your" in name else "0.6" for name in bars])
        axis.invert_yaxis()
        axis.set(xlabel=unit, xlim=(0, 1.15 * max(bars.values())))
        for row, value in enumerate(bars.values()):
            axis.text(value, row, f" {value:.2f}", va="center", fontsize=8)
    figure.tight_layout()
    plt.show()

# %% [markdown]
# | calls of a network | a density | a sample |
# |---|---|---|
# | RealNVP (per coupling) | 1 | 1 |
# | MAF (per layer) | 1 | D |
# | IAF (per layer) | D | 1 |
# | PixelCNN, transformer (homework 1) | 1 | D |
#
# **★ More, without points.** (1) Replace the affine map of a coupling by a monotone rational-quadratic spline (Durkan et al., 2019) on the same mixture: an excess below 0.03 is possible. (2) Temperature: scale $z$ by 0.7 before `inverse`; what becomes of digits, and of their variety? (3) Find a picture with a *higher* density than every digit, a constant one, say, and explain it. (4) Stack
# MAF layers with homework 1's masks (two outputs an entry) and compare with RealNVP on the mixture.
#
# **Glossary.** law = распределение · density = плотность · flow = нормализующий поток · invertible map = обратимое отображение · volume = объём · determinant = определитель · coupling = связывающий слой · mask = маска · noise = шум · dequantisation = деквантизация · nats, bits = наты, биты · held out = отложенная выборка
#
# **Before you hand in:** restart the kernel, run everything, save. Hand in the notebook, and `digits_flow.pt` beside it if you like: it is loaded into what `make_digits_flow()` builds, and nothing is trained on digits. The mixture is always trained anew.
