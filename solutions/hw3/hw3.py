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
# # Homework 3. Latent variable models
#
# ![the way between two held-out digits through the codes of a VAE; beside it the importance weighted bound, which climbs to the exact evidence](data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAeAAAACOBAMAAAAbc8Y4AAAAMFBMVEVnZ2cnJyfb3NympqYgd7NkoMqvzuM1hLuNuddmjqkPN1MlSGBWd43+/v4CAgKAgICKN8ZWAAAAEHRSTlP/////////////////////zSGylAAAFARJREFUeNrtXV1s3FZ6PXfG8i5MUbyU3bSILWks2rtFHGcoj5Iidm2Pk4yRRXZjKrH9sptGSYFiiy1aY1Gg2abY7lMTNCgatGi7b1HWCLCQtzU3+7asHSlp+7CxHCreFChiyjOWvS3iSCTFoZBYGd0+8PJnZHn+NJo4johYOiYvr+/hd3++79yPDLHw5TpS2CC8QXiD8AbhDcIbhDcIbxDeIPw5EPbzjZy6pcpMHkA5/Gu56uJg602trihfhcq1ijZKuAa3Wy49VvW3CQDdYZnu9bTXKszyd3WX7r6V30RtI9cgvDyteptwPA087+WfJptGB/E1wEtrx9PL01/L7FpUj6dxPO3nNgFz6ee9/NOpYRXYNYS8N7yvvDy9+0gvgLKf2wQsHsmnhlVvmC4eUR+TMy2xG1JTw6OPIl8eUr0csJh5pFz2pjNeGsCiiufLmfzxh5D3cnkMqQd7H5O15ginsuYl+0TJyeAquX6JuR+8j3uBS84HJWcw+15G+tbukvNbJSdzyR7F1spVcv3SI/IifFkGRmSKVHbangcAXLJH8aQ08Yi8OCLTJ6WUZBdb4Stu63pELgIQt9GRXhOMlo5BzBbfPwKgz0SJdV0v9WgY6TXFbfSdecnWm+7S+9OTl/sp9GNDkrfDZCcdYH9KvtxPIfie7F7uly/30/3pCQD6sSFJMvaCLJ0HJKMIYEt5N69lApIOydgrGcW+yemxnNYKYc9wJeM6AM+4LhkqhM3qAAAcOKsBe4Gf/yFxL08BkqF6xnVgLNdklxYAQNplm2DevDA6rKZmMsB/Ldu77A8BO1s8u8t+b5dtAhQ6mDcvuIVLYF2PAG4hAwG4/ACvisLV4BYuuYXM7OGK+E5rFi5IbmH7zwsmALdgAvPsUnRxK8CuzGe32XpwDYA4MdqkhV0VEAbkUaTf04vueUewdWCvvGdAHnXVg0s9woD8vQF5FABYOv2eXjxvb4Fg28BZ+xrg7pNny6Et33Tz5+0tZ23nTXfzzh61JQt/vHTezvScVwGcPa8C6ukPATeYD06rSAsHjazMr4H1Pic7q9RCmpF4Hny30ZJ+Pij66LnPYer2n5hoz7I0stTw8ijdCMDnwbcs0RpXyZ0u4qkmAKSWkXpS/xL50k8DntmWmjbd8VyV3neV3iXv2eWi+eWwcHov0v1IFfX2VFdrDKcy68RhucF1mOQAEyrMgx5Mda3/qvhW3S5NIsQS0I0mQal0e+hQAJJDQhhUEdRTaXTlvQDcj63nBmYP6of7l9do43IDY1hmDiADdhUk1AZkgLFbIKERhAzGANlGPq4iD0JhN9PMDHSIN8/5a1vgPv3RS42MYWLNyOi3LIsCISwCc5ZM+y3Lmgb6LJmSBJzjsETz85Y1A/RYJcqrINY0LctzlkVrN+4EcHL0qAZAzHjq6WIqf8+Dft5/CA9BgYJtOK49pj02Wh71VE9NqYsPLj4YXdyK49rx8OL/PPrBNx8+euBvfv+Vwz/8j1eVhiYtxc5dVUPIQujZdghhz9pbw84+mw1hdlaKznre1aiPOnbdoehfyfszxfnkMG+8L7/+g9GHR7936uWJF17/l7+cv+/5weWdn5WWLjMHTkPLksf2jh+9EcKZwY+5M3BwZlDiJSrFQshh4aOfPBl2nI/+MYS5+94YCbwHsIFfHq3jrZ3EzQuqMHnA/xCAVxRNmMsTeBfv4lf4FSxY+Bg/C4qOwYS5bIYXC3/00xO//AV+gRngN/1juLZlrPcpPIWZmZ6Z3gyo1cgYhqeDcej0AU7wnJgD/VnO/f4x/RgvK1TFWlJ12MWjJlbHRDO4P5WBmPl1fmLxEC40ZNaXd6amUnODMzND56nTY8IA8DjwkvPbpwD8RTCGTzVkYTYAP4T7zkRPQbkZkVh2Iph1ioIedt1EP/ShP8HhNPRv1m78Bfi79mun9ZMfYcuFciN0vzE0dwVDxW09/24ALznbXwkvfD8iCXzlpYY9rShWd+pHKcnb9LIEuAC66SrLXK2jp+g8fdba29ig/cZQvwPyY3BTrk6yOddSDgYuoQBoMJVc7o/IkQQduie0qtjXFSzJAN5OKLNiAxSECwAw1Sjd+f4//1NSh2RzhCucEtECOrQEN7FyxWa1tiW0g0s3EgM34mtW0Mbjifv7+4UXgZ1fbV/wQKH3c51mam/QJR1XlCk0PieZO7U3wsJ9XdAuhtb+cF31aLz8VeP+HTvnvgsAL6xLtCRSQLwBwAXMEZCJwFgiiU2YMKs51FQ3bt5zuoKQbrujJS1cdPgfSCsm8gTOx/3b8bVVJr62HQxd/d99cR3CQ8cnZSecpf1VVlYAI1EgJyTGa2Kg+2g3d/+vUXmxtVvrx8N2NPFo7DZPO2a26toltOQl1jr+YWHn19dLAKDwgkVYAjDL3SsUWD7RDVZl+Va7WcbH46X/feFURxUP/zYmFhp2Y9Y0Yw083vojrE2YzH07DF5F4htGPogTTAiGo4bekwEOK4CuxPG2knDJ4yc1u3bCP+xZw3OrY2ECA1BXN+ytfCa4BZ0qL7K7oMX9vg0m/tvyK+ulae0EcoGXxwiQA87RQOLx8qiYgZgj7YogvHwE02r3JJd4pF1RFchhCkClQU2rvJrz8sn3f9Nahw5q21R7tVsJGQCJIYrbVpS4cLv7quFybdHh4NijoifehpX/k3v+ef1kWrrG3ueuguoeuSLYdXa74OzN1I/W1KTarqWzRsLSKqiOpoS9nuPPLG7xb6y+ImV+jPUjHAxc4BxlIayYfAwDFZOPYXRPhgN3JeRj+AKJxvA5WlOmzeFmGqCLW/wPV1M8lgZ+d402qK1azhdvjo+P20coMF9i4+PjNgngzfFxGyWgfx5bxsevkRLQP0/Z+GvX5BLQM1+i469d658HeuZLm+zX8v3zAJmfL9o2+udrDZTx8Tcsuid9b3o7tlyYuGUA/1XPqfUkDKhAIXSUHAC6YwJBahA/W06oOQ4CjYeiSns2UObTgQo9X38M0/xWupWu7lK+ska+dVVLvdDHA95sHwoCj32FMV/gA5zFE7B3IJpZD6kQuJLFHAicvicJwkK9eUEYv+2lT0r/t+ZVvI6Fy3x+pfCAQuxN+JoWTr1xHMhiWE56GIW4C/hrCvr/bA0uZaO+tC+neXd2QGjYM/3nKIgMCQCRuzTuV/XMdYW3XZz5IJoIxFKkBaTm1uBpfXol1QY/rTbhYDXU+MJCY8+wAsAM0NREmF04TcyI2jSJ4Y5Y9iJriJxYXVG7DcGD+G3bjuQ620ZAyZxOO/gO903SeT10ULzI6/YOZSMXO9p/ARaUNfTJdIMy71oIi0XA0LmhKAydC1ndTND5rilh8eZJApbPhPbw0meiQBrja2hqhXx93QmDbJY1kGA9nKbaKo4iU4Ej3JROZL/slShgYjaAvoC7spZw6djvnFp/wuLMlM9nKrFnMmo5hR7KkZ6g+xwuHID/nQCmDgBaAHN7Itmr5761NHXUxPoTBkC1bnGVUCJcYLoBUDP0RBHPW36szxZ2RFrPUbnlgGRS7wRhS54Mt1PMbkDm1Ca0GOLJ6aDsji4sl8IZDs+UQu5+z/scav7MTKt2+rQdU1armpYZi7MkNr0LX4v0BN+1or5gRnCEtpwIx36vI4Q9+3C0GpRRCIc29Moc506BkIQZba1102fiie0P5AhOtb4PcczpnIXNVaLjqIP5PolOaZPRNB4ZuJtEDwSENtChZdXfpMrqLXHMqbYQrru35GXxceTqiGHTaYZGaTUj0Z4gETNhgYvRA5nMRHDBkhto0jUquBhY+WR8F52x8OFYa84nd4MTSxeNOkIkCU7HBYncFxuv7giW5dE/cUDUX6tYHE6GkpvbtNNaW8RTbOQ2b55RHEBhjpevXFVshq3UTsuVXpkBs4qdBlMQQOktKnMIKAADFhQbtgLAAVOY0yvXEY5sjPkqMmMuXZHy8Nn2DhCGDVwAiB1k03VfcKkd+E4BlMBsdE9QGwEM7uDQDpSsEKIK1orPdgi7P+7asfKpvEo7YeH4l8QQ/kzAZPi/EuL2sKZMK9gmbNgrx7D3gw6N4Tvk8G10gDAhhKDsEkJACCEEbviDULiE0AAOD8UwXw2D+4aHEVZRHh4mrbhM6a+gA12aUKB8+LwMFmSQenlCA4iF4WWZsQDayzKWIQNI2Y6MZRAK9Ng25AAyG8OEBfCwAyK10M5jD3fCwrAs5J28aAGwLBN5CZYJWJYF5sCaBkTLMhkgmgEEdJhAn2VZgA4REC3LMqF391HAsqxpxyAtOVvtCZXqj2Fv0A51Rm9g0JlVuQO0kGE23w4dzBihtrFvwIh8jEsG4ZGTd9iIPLCsUJhqabp19c4QZrahG2oQHkhLhsEXC2+/YYQ6wBYDb92qeBzOQwuZXQOIGQWXcivN/HQanSEc7uk7AJQ48n3A8QEREoDB2On1HB0afyRlxwdPFWZZ/yJTHQeAp/gXW1Li2hQqNbcsLelh0O8peiTVeFUJSn602hqgnHv6DCjv82xc35luJeppU6jUGOGj0XwhFGK76zyGYhB07tdn1SjJY9CG5gQZXl7GH2H5oMGq/5ydnW2h8W0KlRojLCYCgYm4q5PQ7ggD4oUzgB6cTu3xcfYa79Ggiu0BgCdhyls63ILb4aKDhCcTOA58/MRkq93qjsYJPYcBFsrv1+DkW2nl5vYlpdaLh32grxjBnngaHrmYaIT6TsiROS4AOO/C4NzL53EGvrgAoOc+YZ+gH6/zT568qZ+8ubgluQ6x7R0j3NajrMOoX2qqD9bc1pvJU39HO0ZYiHOVVmSd5RNvEpke7wIgchFc1vNv8Zm75wFgqreWeXFT+QjeB5Xr6xEqtRQtNT5/VI1yGg32mtaamqIVoJJ3nITi0cY5q4EMgORwRhDUJ/aEsTmG8omIzvIJhGn8U7sBv4cCwMJ/Azhax3v/p61dWg737EmkPKS7OkXYAwraKucnEjhuTGUC6A5WqGkTIIFUT+RY9xS1BhLGp/b859SevkxyzqKdIizCN6LZMt5LE/uASsgB2qIcRpOaH+rzcsHne0uonPC1II4QsblQmKjTesEau2GN/etY4pRudqxLmyvWYzMKlAlfkqdNfIuftWQ/9EzECg1NKZrTWlTYCu3++YRK9VVLNliApwCAwmb9gqSAsZICxy9IJYUBngLiAwoDZhUsDGhTCoBZBSAjoqcAngIG0IuKAyiAM0igNOtati9UQv3kUhbsMTACMMCl/P1hBpfyNFLJSUC4lL8/zOBS/v6w5CBMTAMDaTq59JOfjrbFC2g0uTSSI11JYtS5VbWUJCcqLLHVIKrhcpOh0h+jQ2N4xfQi4TYiev0+uqaFVNU6RdiNtMpAcqRwQ9UyuOgSQihAuFQZQxponhQcUkJodLZZ1bKNbkfdV+IB2MPn5UiqDKHtHTnHVcuFXAUybBDKFhSRUCyD0IWcQ2RgGYSmFBBCYTspyeOwuSYuVTpGmFgAehnEBcACvEGWtwI4mHePWN4DEE1scwixvAfQZyownkIAd8NYPGRhJ0Rrt4Gj1MIgMD1ooNBnNvtdvDaGSg340l5vzjnEx+hg1mFBzpXiOYwrVr2qcDbL61JxOhvJeWwg1D5w9orKpQDoV9Vmm9jGUKmR4CF30zitcKnyjBG+zhGolgCQWtIF7hXdPAPhbCTnCUGaWjoDnmqN3JkV3nljh3eqo4SZHwoaiabatxMLkvFR5B5pcWBZ+FzlnabDw0KYVZlUHhM0oyAqCz86TWOo+dVxx+qHMuorqhI93naGSg0QzjpR7hWDUWeF0EJ5i0ATOPsKAD/I0+ruQiPvjeSKQi4YCW0PleoT9hzBgNgXQAdhyNAdBxYkFvEIdN7/LBk6sUwAmC5pBt42AeDtkmYkMtdWN68yOufgNTWWStsZKjVgYQlRwo6EaOehHAg47goRqNqAhIeP8dlurnvWsFku56R9LI8pxVDxaGeo1ICmpZxB4b3KIAAoSyjwnU5nP0bMCqTANX6Gp98xAVEyuBDTEsA3DEXzEL/99sHDOPwH+jLKm1N9PMejraFSfQszB7FGoYdCvHe46msVbgIm9Ayr2ilseCjmJtSUkAsnt/btKjU8S/fETRX7Iu5uDBNPJHpQOqDy17P0OMLQodV9u1QYh27EidXHaMcJT9KoxcHHPAAhzsRbasCAGvdXyi00sK2hUn3CRNYiKqGm5VSpll3VIaIX3xvb8mziG0vZJl2t9rod9S18OchnAIDpaCkSE/JWdYq7FHskLOGOKZGvZtR9b6n6+CTdYcJu7A1Waiw+AdSiK6QQF4rhVPOe5d9/9mpnCdNokRVpV2EqwhEdMfYLxOhdJVSK0ZOYSqxBpabb56z5Ddem1mEFzqDLVUsg0CBtKEAgYAKeAp/rmp4CFERHAShRgAJBcJaRAmQvSNdEAVwEbfSgDu0gYWYDUyBhEuVknsXwHAUk2ACRI5iWu5kNyaE2JLnb4smYkowLJKhNktE905TgkfxeVFuOZr5rSR1QB3Al6jK4Vell1X+L0jvoqv2Rzhcba1y5rR8wCmq7oz/GS3LtrC34kOcd/vVh1czHAbQnxr88EfBEeCJU0xM9MVGMf7A4+KWavBi/+U7Ppq3yUtKJX+ngTxpQkUZ6tZtU/iMd/ocvgIWB/EQ7i30B8qUzbS32BbBwu4+N/xvPndfCxsKrxfzdQvjIYkPFmHM3EFbgqen689Hx0cV9wl1BWIXq/Vt933thYnlnYevdQHgMoknqbx6exbHT23vvjjHsI/yicc1DRyNZnHc+4SE1+2gDxZ4dxKGxu2JZ2qe+fm8Dxdy0uGPD09rwtDYIbxDeILxBeIPwBuENwhuENwhvEG7r8f96rrXs+I9srwAAAABJRU5ErkJggg==)
#
# Homeworks 1 and 2 modelled what is seen. Now give every picture a hidden cause $z$, which nobody observed: a style, a slant, a class. The likelihood becomes an integral,
#
# $$
# p_\theta(x) = \int p(z)\, p_\theta(x \mid z)\, dz ,
# $$
#
# and this homework is about living with that integral. For a mixture it is a sum, and EM climbs it. For probabilistic PCA it has a closed form, with which you can test everything that comes later. For a neural decoder only a lower **bound** is left; you will tighten it with importance weights, with a
# better prior, and trade the Gaussian code for a discrete one. At the end a VAE on binary digits gives a bound in nats that lies on one axis with the mixtures and the PixelCNN.
#
# | part | what | what becomes of the integral | points |
# |---|---|---|---|
# | 1 | theory: two bounds, probabilistic PCA, collapse, the KL term | taken apart | 4 |
# | 2.1 | EM for a Gaussian mixture | a sum | 1.5 |
# | 2.2–2.3 | Gaussians, ELBO, the loss of a β-VAE | a bound, one draw an image | 2.5 |
# | 2.4 | importance weighted bound | a tighter bound, $k$ draws | 1 |
# | 2.5 | VampPrior | the same bound, another prior | 1 |
# | 2.6–2.8 | vector quantisation, moving averages, Gumbel-softmax | discrete codes | 3 |
# | 3 | a VAE on binary digits: bound, samples, reconstructions | – | 2 |
#
# **Time.** Expect 6–7 hours: theory 2, part 2 three to four, part 3 one. The only training takes about ten seconds of one CPU core.
#
# **How to work.** Fill the places marked `YOUR CODE HERE` (delete the line `raise NotImplementedError()`), run the cell, then run the `check("...")` cell below it: it tries, within a second or two, a part of what is scored, and says what does not hold.
# Under each task a list **What is checked** names everything that is scored, and nothing else is, beside shapes and the dtypes below: a task that passes here can still miss a line of it. One check may ask several functions, in the order of the text; until all are written it names the first that is missing. You may add cells, helper functions and optional arguments; names, required arguments and shapes must stay. `torch.distributions` is allowed everywhere, and you may call your
# own earlier answers; a mistake in them then counts wherever you call them. Tasks marked ★ carry no points. If you are stuck, unfold the *Hint* of a task.

# %% [markdown] tags=["limits"]
# What grading allows is printed here from `assignment.yaml`.

# %% [markdown]
# **Conventions.** The literature disagrees; this homework fixes one reading.
#
# - A standard deviation is passed as its **natural logarithm**, `log_std` $= \ln\sigma$, not as $\ln\sigma^2$. (Mixing the two up is the most frequent mistake of the field.) Only `sigma` in task 1.2 is the deviation itself, and `sigma2` in 1.3 the variance.
# - Logarithms of densities are in **nats** and **summed over the dimensions**: one number an image, shape `(B,)`. A loss is the mean over the batch of such sums. Nothing is ever averaged over pixels or latent dimensions.
# - `encoder(x)` gives `(mean, log_std)`, each `(B, L)`, of $q(z \mid x) = \mathcal N(\text{mean}, \sigma^2)$, dimension by dimension; both may differ from image to image. `log_likelihood(x, z)` gives $\ln p(x \mid z)$, shape `(B,)`, **row by row**: row $i$ of `x` with row $i$ of `z`.
#   Both are arguments of your functions and may be any callables. Why arguments? So that they can be tested on a model whose integral is known. They get `x` in the shape in which you got it, `(B, *image)`. The prior is $p(z) = \mathcal N(0, I)$.
# - Gradients flow through everything unless a task says otherwise: no `no_grad`, no `detach`. They are scored in the tasks whose list names them: 2.2 to 2.6 and 2.8. Elsewhere you may also compute with numpy or plain numbers.
# - $\beta$ multiplies the KL term. In vector quantisation, squared errors are means over all entries.
# - Random numbers come from PyTorch's global generator, in any order; they are fresh for every row, dimension and call. They are judged by their law, so a right answer fails less than once in a million.
# - Answers have the dtype of the tensors that you get, float64 or float32, and arguments stay as they were. A single number may also be a float of Python, and a tuple a list. Values are looked at for float64 arguments only and may be off by $10^{-5}$, or by $10^{-5}$ of their size where they are large: constants rounded to float32 pass.
#
# **Reading**: EM and mixtures, probabilistic PCA [Bishop, 2006](https://www.microsoft.com/en-us/research/publication/pattern-recognition-machine-learning/) (sections 9.3, 9.4 and 12.2) · VAE [Kingma, Welling, 2014](https://arxiv.org/abs/1312.6114) (section 2, appendix B) · importance weights [Burda et al., 2016](https://arxiv.org/abs/1509.00519) (theorem 1) ·
# collapse [Lucas et al., 2019](https://arxiv.org/abs/1911.02469) · the KL term [Hoffman, Johnson, 2016](http://approximateinference.org/accepted/HoffmanJohnson2016.pdf) · VampPrior [Tomczak, Welling, 2018](https://arxiv.org/abs/1705.07120) (section 3) · VQ-VAE [van den Oord et al., 2017](https://arxiv.org/abs/1711.00937) (section 3) ·
# Gumbel-softmax [Jang et al., 2017](https://arxiv.org/abs/1611.01144) (section 2).

# %% tags=["package"]
from autograder import check, course_data

# %%
import math
from contextlib import contextmanager

import matplotlib.pyplot as plt
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.distributions import MultivariateNormal, Normal, kl_divergence

digits_train = course_data("digits")["digits_train"]  # (6000, 1, 8, 8), zeros and ones
digits_valid = course_data("digits")["digits_valid"]  # (1000, 1, 8, 8), by other writers
valid_classes = course_data("digits")["digits_valid_classes"]  # (1000,), 0 to 9; for pictures only


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


def show_digits(axes, pictures, title="", columns=8):
    """Draw pictures (N, 1, 8, 8) with values from 0 to 1 as a grid."""
    framed = F.pad(pictures[:, 0].float(), (1, 1, 1, 1), value=0.5)
    axes.imshow(torch.cat([torch.cat(list(row), 1) for row in framed.split(columns)]), cmap="gray", vmin=0, vmax=1)
    axes.set_title(title, fontsize=10)
    axes.axis("off")


figure, (left, right) = plt.subplots(1, 2, figsize=(9, 2.4))
show_digits(left, digits_train[:32], "digits_train", columns=16)
show_digits(right, digits_valid[:32], "digits_valid: by other writers", columns=16)
plt.show()

# %% [markdown]
# # Part 1. Theory (4 points)
#
# Cells that ask for words or a proof are read by a person; write LaTeX, or attach a photograph of paper. Where the answer is a formula, you also type it as a function.
#
# ## 1.1 Two bounds that rise (1 point, by hand)
#
# 1. (0.4) Show for any law $q(z)$ that
#    $$ \ln p(x) = \mathbb E_q \ln \frac{p(x, z)}{q(z)} + \mathrm{KL}\big(q \,\|\, p(z \mid x)\big). $$
#    Conclude that one step of EM (E: $q_n = p(z \mid x_n)$ under the old parameters; M: maximise the sum of the expectations over the parameters) never lowers $\sum_n \ln p(x_n)$, and say when it stays the same.
# 2. (0.2) A mixture of $K$ Gaussians whose components **share one covariance** $\Sigma$. Find the M-step for the weights, means and $\Sigma$, given the responsibilities $r_{nk}$. You type it in task 2.1.
# 3. (0.4) Let $z_1, z_2, \dots \sim q(z \mid x)$ be independent, $w_k = p(x, z_k)/q(z_k \mid x)$ and $\mathcal L_K = \mathbb E \ln \frac1K \sum_{k \le K} w_k$. Show $\mathcal L_K \le \mathcal L_{K+1} \le \ln p(x)$.
#
# Reading: Bishop 2006, section 9.4; Burda et al. 2016, theorem 1.
#
# <details><summary>Hint</summary>For 3: the mean of K + 1 numbers is also the mean of the K + 1 means that you get by leaving out one of them.</details>

# %% [markdown] by_hand="theory-bounds" points=1
# <!-- ### BEGIN SOLUTION -->
# **1.** $\mathbb E_q \ln \frac{p(x,z)}{q(z)} = \mathbb E_q \ln \frac{p(x)\, p(z \mid x)}{q(z)} = \ln p(x) - \mathrm{KL}(q \| p(z \mid x))$. After the E-step the KL term is 0: the bound touches the old log-likelihood. The M-step raises the bound, and the new log-likelihood lies above the bound by a
# KL term $\ge 0$. So $\ln p_{new} - \ln p_{old} = [Q(new) - Q(old)] + \mathrm{KL}(r_{old} \| r_{new})$, both $\ge 0$. Equality exactly when the M-step does not raise $Q$ and the new responsibilities are the old ones (a fixed point if the maximiser is unique).
#
# **2.** $Q = \sum_{nk} r_{nk} [\ln \pi_k - \frac12 \ln\det\Sigma - \frac12 (x_n - \mu_k)^\top \Sigma^{-1} (x_n - \mu_k)]$ + const. Weights $N_k/N$ and means $\frac1{N_k}\sum_n r_{nk} x_n$ do not change; $\Sigma = \frac1N \sum_n \sum_k r_{nk} (x_n - \mu_k)(x_n - \mu_k)^\top$ with the new means.
#
# **3.** $\frac1{K+1}\sum_{k} w_k = \frac1{K+1} \sum_j \bar w_{-j}$, where $\bar w_{-j}$ is the mean of the $K$ weights without $w_j$. Jensen for the concave logarithm: $\ln \frac1{K+1}\sum_j \bar w_{-j} \ge \frac1{K+1} \sum_j \ln \bar w_{-j}$, and each term on the right has the expectation $\mathcal L_K$. Jensen once more:
# $\mathcal L_{K+1} \le \ln \mathbb E \frac1{K+1} \sum w_k = \ln p(x)$, since $\mathbb E w = \int p(x, z)\, dz$.
# <!-- ### END SOLUTION -->

# %% [markdown] tags=["rubric"]
# - 0.15 part 1: the identity
# - 0.15 part 1: the E-step makes the bound tight, the M-step raises it
# - 0.1 part 1: when it stays equal
# - 0.2 part 2: the shared covariance with new means and division by N (0.1 if old means, or division by N_k)
# - 0.2 part 3: the mean over the left-out index
# - 0.1 part 3: Jensen in the right direction
# - 0.1 part 3: the upper bound, by E w = p(x)

# %% [markdown]
# ## 1.2 Probabilistic PCA: the model whose integral is known (1 point, typed)
#
# $z \sim \mathcal N(0, I_L)$ and $x \mid z \sim \mathcal N(Wz + \mu, \sigma^2 I_D)$. Everything is Gaussian, so the posterior $p(z \mid x)$ and the evidence $p(x)$ are as well. Find their means and covariances, and type them. `sigma` is the standard deviation $\sigma$, a number or a tensor without dimensions.
#
# *Worked numbers:* $W = (1, 1)^\top$, $\mu = 0$, $\sigma = 1$, $x = (1, 1)$: the posterior has mean $2/3$ and variance $1/3$; $\ln p(x) = -2.7205$.
#
# Reading: Bishop 2006, section 12.2.
#
# <details><summary>Hint</summary>ln p(z | x) is a quadratic function of z: read off its second and first derivative. x is a sum of two independent Gaussian vectors.</details>
#
# **What is checked**
# - `ppca_posterior` and `ppca_log_prob` for $L < D$, $L = D$, $L = 1$ and $L > D$, $\mu \ne 0$, $\sigma$ from 0.05 to 2, as a number and as a tensor; shapes as stated, dtype of `x`.

# %% answer="theory-ppca-solution"
def ppca_posterior(x, W, mu, sigma):
    """The law of z given each row of x. x: (B, D); W: (D, L); mu: (D,); sigma: a deviation.

    Returns its mean (B, L) and its covariance (L, L), which is the same for all rows.
    """
    ### BEGIN SOLUTION
    M = W.T @ W + sigma**2 * torch.eye(W.shape[1], dtype=W.dtype)
    mean = torch.linalg.solve(M, W.T @ (x - mu).T).T
    return mean, sigma**2 * torch.linalg.inv(M)
    ### END SOLUTION


def ppca_log_prob(x, W, mu, sigma):
    """ln p(x) in nats, (B,)."""
    ### BEGIN SOLUTION
    noise = sigma**2 * torch.eye(W.shape[0], dtype=W.dtype)
    marginal = MultivariateNormal(mu, W @ W.T + noise)
    return marginal.log_prob(x)
    ### END SOLUTION


# %% graded="theory-ppca" points=1
check("theory-ppca")

# %% [markdown]
# ## 1.3 When does a latent dimension die? (0.5 by hand, 0.5 typed)
#
# The covariance of the data has eigenvalues $\lambda_1 \ge \dots \ge \lambda_D$ with eigenvectors $u_j$. Let $\sigma^2$ be given and $L = D$. The maximum likelihood value of $W$ is known (Tipping and Bishop, 1999): column $j$ is $\sqrt{\lambda_j - \sigma^2}\, u_j$ where $\lambda_j > \sigma^2$, and **zero** elsewhere.
#
# Take the exact posterior as encoder. Find the mean over the data of $\mathrm{KL}\big(q(z \mid x) \,\|\, p(z)\big)$, dimension by dimension (the data have mean $\mu$). Which dimensions carry exactly 0 nats? Note that no optimiser failed there: a collapsed posterior can be the *right* answer.
#
# Reading: Lucas et al. 2019, section 4.
#
# <details><summary>Hint</summary>Rotate to the eigenvectors: each dimension is a pPCA of its own, with D = L = 1. You need the variance of the posterior and the variance, over the data, of its mean.</details>

# %% [markdown] by_hand="theory-collapse" points=0.5
# <!-- ### BEGIN SOLUTION -->
# In dimension $j$ with $w^2 = \lambda_j - \sigma^2 \ge 0$: $M = w^2 + \sigma^2 = \lambda_j$, so the posterior has variance $\sigma^2/\lambda_j$ and mean $w\, u_j^\top (x - \mu)/\lambda_j$, whose variance over the data is $w^2 \lambda_j/\lambda_j^2 = (\lambda_j - \sigma^2)/\lambda_j$. The mean KL is
# $\frac12 \left[\frac{\sigma^2}{\lambda_j} + \frac{\lambda_j - \sigma^2}{\lambda_j} - 1 - \ln\frac{\sigma^2}{\lambda_j}\right] = \frac12 \ln \frac{\lambda_j}{\sigma^2}$. Together $\sum_j \max(0, \frac12 \ln(\lambda_j/\sigma^2))$: dimensions with $\lambda_j \le \sigma^2$ carry nothing. (This is the water-filling of
# rate–distortion theory, at the water level $\sigma^2$.)
# <!-- ### END SOLUTION -->

# %% [markdown] tags=["rubric"]
# - 0.2 variance of the posterior, σ²/λ
# - 0.15 variance of its mean over the data, (λ − σ²)/λ
# - 0.1 the sum is ½ ln(λ/σ²)
# - 0.05 zero exactly where λ ≤ σ²: the maximum with 0

# %% [markdown]
# Type it. *Worked numbers:* eigenvalues 4, 2, ½ and $\sigma^2 = 1$ give 0.6931, 0.3466 and 0 nats.
#
# <details><summary>Hint</summary><code>torch.linalg.eigh</code> gives eigenvalues in ascending order and eigenvectors in the columns.</details>
#
# **What is checked**, for covariances of 1 to 6 rows with eigenvalues on both sides of $\sigma^2$ and on it
# - `W`, `(D, D)`: a maximum likelihood value. Columns may stand in any order, with any sign, and be rotated among each other: $WW^\top$ is what counts. They need not be in the order of `rates`.
# - `rates`, `(D,)`: nats of each dimension, **largest first**; zero up to rounding, not negative and not NaN, for dead dimensions.

# %% answer="theory-rate-solution"
def ppca_fit(covariance, sigma2):
    """Maximum likelihood of pPCA with L = D and a given noise variance sigma2, a float; covariance: (D, D).

    Returns W (D, D) and the nats that each latent dimension carries, (D,), largest first.
    """
    ### BEGIN SOLUTION
    values, vectors = torch.linalg.eigh(covariance)
    W = vectors * (values - sigma2).clamp_min(0).sqrt()
    rates = 0.5 * (values / sigma2).clamp_min(1).log()
    return W, rates.flip(0)
    ### END SOLUTION


# %% graded="theory-rate" points=0.5
check("theory-rate")

# %%
with when_written():
    covariance = torch.cov(digits_train.flatten(1).double().T)
    values = torch.linalg.eigvalsh(covariance).flip(0)
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 2.5))
    left.bar(range(64), values, color="0.6")
    right.set(title="nats that a linear latent carries", xlabel="dimension")
    for sigma2, colour in ((0.2, "tab:blue"), (0.05, "tab:orange")):
        rates = ppca_fit(covariance, sigma2)[1]
        left.axhline(sigma2, color=colour)
        right.bar(range(64), rates, color=colour, alpha=0.6, label=f"σ² = {sigma2}: {rates.sum():.1f} nats, {(rates > 0).sum()} alive")
    left.set(title="eigenvalues of the digits, two water levels σ²", xlabel="dimension")
    right.legend(fontsize=8)
    plt.show()

# %% [markdown]
# ## 1.4 What the KL term is made of (0.5 by hand, 0.5 typed)
#
# Let $z$ be discrete. There are $N$ data with rows $q(z \mid x_n)$, and a prior $p$. Call $\bar q(z) = \frac1N \sum_n q(z \mid x_n)$ the **aggregated posterior**, and let $I$ be the mutual information of $n$, drawn uniformly, and $z \sim q(z \mid x_n)$.
#
# 1. (0.25) Prove
#    $$ \frac1N \sum_n \mathrm{KL}\big(q(\cdot \mid x_n) \,\|\, p\big) = \mathrm{KL}(\bar q \,\|\, p) + I. $$
# 2. (0.2) Which prior is the best one for a given encoder? Show that with it the KL term is at most $\ln N$.
# 3. (0.05) What does a VampPrior (task 2.5) approximate?
#
# Reading: Hoffman, Johnson 2016.
#
# <details><summary>Hint</summary>Insert the aggregated posterior into the fraction: q/p = (q/q̄) · (q̄/p).</details>

# %% [markdown] by_hand="theory-surgery" points=0.5
# <!-- ### BEGIN SOLUTION -->
# **1.** $\frac1N \sum_n \sum_z q(z \mid x_n) \ln \frac{q(z \mid x_n)}{p(z)} = \frac1N \sum_n \sum_z q(z \mid x_n) \ln \frac{q(z \mid x_n)}{\bar q(z)} + \sum_z \bar q(z) \ln \frac{\bar q(z)}{p(z)}$. The first term is $\sum_{n,z} p(n, z) \ln \frac{p(z \mid n)}{p(z)}$ for the joint law $\frac1N q(z \mid x_n)$, whose
# marginal is $\bar q$: the mutual information. The second is $\mathrm{KL}(\bar q \| p)$.
#
# **2.** Only $\mathrm{KL}(\bar q \| p)$ depends on $p$, and it is 0 for $p = \bar q$. What is left is $I = H(n) - H(n \mid z) = \ln N - H(n \mid z) \le \ln N$.
#
# **3.** The aggregated posterior, with $K \ll N$ learned inputs in the place of all data.
# <!-- ### END SOLUTION -->

# %% [markdown] tags=["rubric"]
# - 0.25 part 1: inserts the aggregated posterior and recognises both terms
# - 0.1 part 2: the best prior is the aggregated posterior
# - 0.1 part 2: I = ln N − H(n | z) ≤ ln N
# - 0.05 part 3: a VampPrior is the aggregated posterior of K ≪ N inputs

# %% [markdown]
# Type both terms. *Worked numbers:* rows $(1, 0)$ and $(\tfrac12, \tfrac12)$, prior $(\tfrac12, \tfrac12)$: 0.1308 and 0.2158 nats.
#
# <details><summary>Hint</summary><code>torch.xlogy(a, b)</code> is a ln b, and 0 where a = 0.</details>
#
# **What is checked**
# - Both terms for random `q` with $N \ne K$ and a prior that is not uniform; for one-hot rows, with $0 \ln 0 = 0$; for equal rows; for a prior that equals the aggregated posterior. Two numbers, or tensors without dimensions.

# %% answer="theory-surgery-code-solution"
def elbo_surgery(q, p):
    """q: (N, K), rows sum to one, zeros allowed; p: (K,), all positive, sums to one.

    Returns KL(aggregated posterior || p) and the mutual information of n and z, in nats.
    """
    ### BEGIN SOLUTION
    aggregated = q.mean(0)
    marginal_kl = (torch.xlogy(aggregated, aggregated) - torch.xlogy(aggregated, p)).sum()
    total = (torch.xlogy(q, q) - torch.xlogy(q, p)).sum(1).mean()
    return marginal_kl, total - marginal_kl
    ### END SOLUTION


# %% graded="theory-surgery-code" points=0.5
check("theory-surgery-code")

# %% [markdown]
# # Part 2. Practice (9 points)
#
# ## 2.1 EM for a Gaussian mixture (1.5 points)
#
# Full covariances. E-step: responsibilities $r_{nk} = p(k \mid x_n)$. M-step, with $N_k = \sum_n r_{nk}$:
#
# $$ \pi_k = \frac{N_k}{N}, \qquad \mu_k = \frac1{N_k} \sum_n r_{nk} x_n, \qquad \Sigma_k = \frac1{N_k} \sum_n r_{nk} (x_n - \mu_k)(x_n - \mu_k)^\top \quad \text{with the new means } \mu_k . $$
#
# With `shared=True` all components have one covariance, your answer to 1.1, repeated $K$ times; the worked number below tells whether it is right. `fit_gmm` makes `n_steps` steps (E, then M; `shared` is not used) from the given parameters; its list holds the *mean* log-likelihood of the data before each step and after the last: `n_steps + 1` numbers.
#
# *Worked numbers:* data 0, 1, 4; weights ¼, ¾; means 0, 4; variances 1: the mean of $\ln p$ is $-2.0875$. After one step: weights 0.6490, 0.3510; means 0.4871, 3.8478; variances 0.2505, 0.4373; mean of $\ln p$ $-1.2985$. With `shared=True` the same step gives the variance 0.3161 to both.
#
# Reading: Bishop 2006, section 9.2.2.
#
# <details><summary>Hint</summary>A density far away underflows to 0, and 0/0 is not a responsibility. Stay with logarithms: <code>softmax</code> and <code>logsumexp</code> subtract the maximum before they exponentiate.</details>
#
# **What is checked**, with different $N$, $K$, $D$, unequal weights, correlated covariances
# - `gmm_log_prob` and `e_step`: the formulas; finite at points hundreds of deviations away.
# - `m_step`: the formulas for any positive responsibilities whose rows sum to one, with `shared=False` and `shared=True`. A ridge up to $10^{-6}$ on covariances is allowed.
# - `fit_gmm` for 0, 1 and 3 steps: the parameters, the length of the list, its first and its last number; the list never falls.

# %% answer="em-solution"
def gmm_log_prob(x, weights, means, covs):
    """ln p of each row in nats, (N,). x: (N, D); weights: (K,); means: (K, D); covs: (K, D, D)."""
    ### BEGIN SOLUTION
    components = MultivariateNormal(means, covs).log_prob(x[:, None])  # (N, K)
    log_joint = weights.log() + components
    return log_joint.logsumexp(1)
    ### END SOLUTION


def e_step(x, weights, means, covs):
    """Responsibilities, (N, K): rows sum to one."""
    ### BEGIN SOLUTION
    components = MultivariateNormal(means, covs).log_prob(x[:, None])
    logits = components + weights.log()
    return logits.softmax(1)
    ### END SOLUTION


def m_step(x, resp, shared=False):
    """The parameters that responsibilities (N, K) ask for: weights (K,), means (K, D), covs (K, D, D)."""
    ### BEGIN SOLUTION
    N_k = resp.sum(0)
    weights, means = N_k / len(x), (resp.T @ x) / N_k[:, None]
    centred = x[:, None] - means  # (N, K, D)
    scatter = torch.einsum("nk,nki,nkj->kij", resp, centred, centred)
    if shared:
        return weights, means, (scatter.sum(0) / len(x)).repeat(len(N_k), 1, 1)
    return weights, means, scatter / N_k[:, None, None]
    ### END SOLUTION


def fit_gmm(x, weights, means, covs, n_steps):
    """n_steps of EM. Returns weights, means, covs, and the list of n_steps + 1 mean log-likelihoods."""
    ### BEGIN SOLUTION
    history = [gmm_log_prob(x, weights, means, covs).mean().item()]
    for _ in range(n_steps):
        weights, means, covs = m_step(x, e_step(x, weights, means, covs))
        history.append(gmm_log_prob(x, weights, means, covs).mean().item())
    return weights, means, covs, history
    ### END SOLUTION


# %% graded="em" points=1.5
check("em")

# %%
with when_written():
    torch.manual_seed(1)
    true = (torch.tensor([0.5, 0.3, 0.2]), torch.tensor([[-2.0, 0], [2, 1], [1, -2]]), torch.tensor([[[1.5, 1], [1, 1]], [[0.4, 0], [0, 1.2]], [[0.8, -0.6], [-0.6, 0.7]]]))
    k = torch.multinomial(true[0], 600, replacement=True)
    points = true[1][k] + (torch.linalg.cholesky(true[2])[k] @ torch.randn(600, 2, 1)).squeeze(2)
    start = (torch.ones(3) / 3, torch.tensor([[-0.5, 1], [0.5, 1], [0, 0]]), torch.eye(2).repeat(3, 1, 1))
    circle = torch.stack([torch.linspace(0, 2 * math.pi, 60).cos(), torch.linspace(0, 2 * math.pi, 60).sin()])
    figure, axes = plt.subplots(1, 5, figsize=(15, 2.6))
    for axis, steps in zip(axes, (0, 1, 2, 10)):
        weights, means, covs, history = fit_gmm(points, *start, steps)
        axis.scatter(*points.T, s=2, color="0.6")
        for weight, mean, cov in zip(weights, means, covs):
            axis.plot(*(mean[:, None] + 2 * torch.linalg.cholesky(cov) @ circle), linewidth=1 + 4 * weight)
        axis.set(title=f"steps: {steps}", xlim=(-6, 6), ylim=(-5, 5))
    axes[4].plot(history, marker=".")
    axes[4].axhline(gmm_log_prob(points, *true).mean(), color="black", linestyle=":", label="the law of the data")
    axes[4].set(title="mean ln p: it never falls", xlabel="step")
    axes[4].legend(fontsize=8)
    plt.show()

# %% [markdown]
# ## 2.2 Gaussians (1 point)
#
# The three things that every VAE needs, entry by entry, for normal laws given by `mean` and `log_std`:
#
# - `normal_kl`: $\mathrm{KL}\big(\mathcal N(\mu_1, \sigma_1^2) \,\|\, \mathcal N(\mu_2, \sigma_2^2)\big)$, where the second law is the prior $\mathcal N(0, 1)$ unless given;
# - `normal_nll`: $-\ln \mathcal N(x; \mu, \sigma^2)$, constant included;
# - `reparametrise`: a draw $z = \mu + \sigma\varepsilon$ with $\varepsilon \sim \mathcal N(0, 1)$, through which gradients flow to both arguments.
#
# Arguments broadcast, and the answer has the shape that they broadcast to. `mean_2` and `log_std_2` may be plain floats, as their defaults are: `torch.as_tensor` makes tensors of them, and the answer keeps the dtype of the others.
#
# *Worked numbers:* $\mathrm{KL}(\mathcal N(1, 2^2) \| \mathcal N(0, 1)) = 1.3069$; `normal_nll` of 0 under $\mathcal N(1, 2^2)$ is 1.7371.
#
# Reading: Kingma, Welling 2014, section 2.4 and appendix B.
#
# <details><summary>Hint</summary>The KL of a law with itself is 0: a quick test for every sign and constant. <code>torch.randn_like</code> draws noise for every entry of a tensor.</details>
#
# **What is checked**
# - `normal_kl`: against `torch.distributions`, `log_std` from −3 to 3, with and without the second law, `(B, 1)` against `(L,)`.
# - `normal_nll`: values, and that $e^{-\mathrm{nll}}$ integrates to 1.
# - `reparametrise`, arguments of equal shape: the law of $\varepsilon = (z - \mu)/\sigma$, fresh in every row, column and call; and the gradients of each draw, $\partial z/\partial \mu = 1$ and $\partial z/\partial \ln\sigma = z - \mu$.

# %% answer="gaussians-solution"
def normal_kl(mean_1, log_std_1, mean_2=0.0, log_std_2=0.0):
    """KL(N_1 || N_2) in nats, entry by entry."""
    ### BEGIN SOLUTION
    mean_2, log_std_2 = torch.as_tensor(mean_2), torch.as_tensor(log_std_2)
    ratio = (2 * (log_std_1 - log_std_2)).exp()  # of the variances
    distance = (mean_1 - mean_2) ** 2 * (-2 * log_std_2).exp()
    return 0.5 * (ratio + distance - 1) - (log_std_1 - log_std_2)
    ### END SOLUTION


def normal_nll(x, mean, log_std):
    """-ln N(x; mean, e^{2 log_std}) in nats, entry by entry."""
    ### BEGIN SOLUTION
    log_std = torch.as_tensor(log_std)
    standard = (x - mean) * (-log_std).exp()
    return 0.5 * standard**2 + log_std + 0.5 * math.log(2 * math.pi)
    ### END SOLUTION


def reparametrise(mean, log_std):
    """A draw z of N(mean, e^{2 log_std}), entry by entry."""
    ### BEGIN SOLUTION
    std = log_std.exp()
    noise = torch.randn_like(std)
    return mean + std * noise
    ### END SOLUTION


# %% graded="gaussians" points=1
check("gaussians")

# %% [markdown]
# ## 2.3 ELBO and the loss of a β-VAE (1.5 points)
#
# For every image one draw $z \sim q(z \mid x)$. A draw of the bound on $\ln p(x)$ is
#
# $$ \ln p(x \mid z) - \mathrm{KL}\big(q(z \mid x) \,\|\, p(z)\big), \qquad \text{or} \qquad \ln p(x \mid z) + \ln p(z) - \ln q(z \mid x), $$
#
# or $\ln p(x \mid z) + \ln p(z) + H(q)$ with the entropy $H$ of $q(z \mid x)$ in closed form. All three have the same mean, the ELBO; `elbo` may return any of them. One draw an image is enough: the noise of a draw averages out over a batch and over the steps of a training.
#
# `vae_loss` returns a dictionary with three numbers (tensors without dimensions): `reconstruction`, the mean over the batch of $\ln p(x \mid z)$ at one draw an image; `kl`, the mean of the KL to the prior **in closed form**; and `loss` = −`reconstruction` + β·`kl`. The gradient of `loss` is what trains; the other two are for the log and may be detached.
#
# `bernoulli_log_likelihood` is $\ln p(x \mid z)$ of a decoder that gives logits $\ell$: pixel by pixel $x \ln \mathrm{sigmoid}(\ell) + (1 - x) \ln(1 - \mathrm{sigmoid}(\ell))$, summed.
#
# *Worked numbers:* logits $(0, \ln 3)$ and pixels $(1, 1)$ give $-0.9808$. In the model of task 1.2 with $q = \mathcal N(0, 1)$ the mean of the ELBO is $-3.8379$, which lies 1.1174 below $\ln p(x)$.
#
# Reading: Kingma, Welling 2014, sections 2.2–2.4.
#
# <details><summary>Hint</summary>A sigmoid of 800 rounds to 1, and ln(1 − 1) is −∞; a function that clamps it is finite but wrong. <code>F.logsigmoid</code> and <code>F.binary_cross_entropy_with_logits</code> take logits.</details>
#
# **What is checked**, for vectors and images, $D \ne L \ne B$ and batches of one
# - `elbo`: `log_likelihood` is asked about every image once (in one call or several, rows in any order; `encoder` as often as you like), at $z = \mu + \sigma\varepsilon$ with standard normal $\varepsilon$ of its own for every row and dimension; the answer is one of the three forms at exactly that $z$.
# - `vae_loss`: the three numbers for β = 0, 1, 2.5 and the default 1, for ε as in `elbo`; the gradient of `loss`, with ε held fixed, in the parameters of encoder and decoder.
# - `bernoulli_log_likelihood`: values, images of any shape, exact at logits of ±800 (a wrong pixel costs 800 nats).

# %% answer="elbo-solution"
def elbo(x, encoder, log_likelihood):
    """One draw of the bound for each image of x (B, *image), in nats, (B,)."""
    ### BEGIN SOLUTION
    mean, log_std = encoder(x)
    z = reparametrise(mean, log_std)
    return log_likelihood(x, z) - normal_kl(mean, log_std).sum(1)
    ### END SOLUTION


def vae_loss(x, encoder, log_likelihood, beta=1.0):
    """{"loss", "reconstruction", "kl"} of a batch, each a tensor without dimensions, in nats an image."""
    ### BEGIN SOLUTION
    mean, log_std = encoder(x)
    z = reparametrise(mean, log_std)
    kl = normal_kl(mean, log_std).sum(1).mean()
    reconstruction = log_likelihood(x, z).mean()
    return {"loss": beta * kl - reconstruction, "reconstruction": reconstruction, "kl": kl}
    ### END SOLUTION


def bernoulli_log_likelihood(logits, x):
    """ln p(x | z) of binary images from the decoder's logits, both (B, *image), summed over pixels, (B,)."""
    ### BEGIN SOLUTION
    logits, x = logits.flatten(1), x.flatten(1)
    pixels = x * F.logsigmoid(logits) + (1 - x) * F.logsigmoid(-logits)
    return pixels.sum(1)
    ### END SOLUTION


# %% graded="elbo" points=1.5
check("elbo")

# %% [markdown]
# ## 2.4 The importance weighted bound (1 point)
#
# Draw $k$ codes $z_1, \dots, z_k \sim q(z \mid x)$ for every image and average the **weights**, not their logarithms:
#
# $$ \ln \frac1k \sum_{j=1}^k w_j, \qquad w_j = \frac{p(x \mid z_j)\, p(z_j)}{q(z_j \mid x)}, $$
#
# with all three densities at the same $z_j$ (a closed-form KL has no place here). For $k = 1$ this is the ELBO; task 1.1 says that it rises with $k$ towards $\ln p(x)$.
#
# Think in rows, not in loops: `log_likelihood` may get all $k \cdot B$ rows at once, `x` repeated so that row $i$ of `x` still belongs to row $i$ of `z`. The order of the rows is yours, and so is the number of calls. *Worked numbers:* the model of 1.2 with $q = \mathcal N(0, 1)$ gives $-3.838, -2.774, -2.726$ in the mean for
# $k = 1, 8, 64$; with the exact posterior every draw gives $-2.7205$, for every $k$.
#
# Reading: Burda et al. 2016, section 3.
#
# <details><summary>Hint</summary>With the exact posterior as encoder all weights are equal: print the variance of ln w, it must be 0. If images are mixed up, repeat x both ways and look at the rows.</details>
#
# **What is checked**, for batches of different images, vectors or pictures
# - With an encoder that is the exact posterior: $\ln p(x)$, for every $k$ and every draw.
# - With another encoder: `log_likelihood` gets exactly $k$ rows of every image, with $z = \mu + \sigma\varepsilon$ and standard normal $\varepsilon$ fresh in each of them; the answer is the log-mean of the weights at exactly these $z$.
# - The gradient of the bound, with every ε held fixed, in the parameters of encoder and decoder: it flows through $z$ and through all three densities. (A term left out on purpose, as some papers do to lower the noise, makes it another one.) $k = 64$ and an `x` far from the model stay finite.

# %% answer="iwae-solution"
def iwae_bound(x, encoder, log_likelihood, k):
    """One draw of the bound with k weights for each image of x (B, *image), in nats, (B,)."""
    ### BEGIN SOLUTION
    mean, log_std = encoder(x)
    q = Normal(mean, log_std.exp())
    z = q.rsample((k,))  # (k, B, L)
    log_prior = Normal(0.0, 1.0).log_prob(z).sum(2)
    log_q = q.log_prob(z).sum(2)
    copies = x.expand(k, *x.shape).flatten(0, 1)  # (k * B, *image)
    log_x = log_likelihood(copies, z.flatten(0, 1)).reshape(k, -1)
    return (log_x + log_prior - log_q).logsumexp(0) - math.log(k)
    ### END SOLUTION


# %% graded="iwae" points=1
check("iwae")

# %%
with when_written():
    W, x = torch.tensor([[1.0], [1.0]]), torch.ones(4000, 2)
    prior = lambda x: (torch.zeros(len(x), 1), torch.zeros(len(x), 1))
    log_lik = lambda x, z: Normal(z @ W.T, 1.0).log_prob(x).sum(1)
    torch.manual_seed(0)
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 2.6))
    ks = [1, 2, 4, 8, 16, 32, 64]
    left.plot(ks, [iwae_bound(x, prior, log_lik, k).mean() for k in ks], marker="o", label="mean of the bound")
    left.axhline(-2.7205, color="black", linestyle=":", label="ln p(x), exactly")
    left.set(xscale="log", xlabel="k", title="the model of 1.2, q = the prior")
    left.legend(fontsize=8)
    for k in (1, 8, 64):
        right.hist(iwae_bound(x, prior, log_lik, k).numpy(), bins=60, range=(-9, -1.5), alpha=0.6, label=f"k = {k}")
    right.set(title="4000 draws: single ones may lie above ln p(x)")
    right.legend(fontsize=8)
    plt.show()

# %% [markdown]
# ## 2.5 VampPrior (1 point)
#
# Task 1.4 says that the best prior is the aggregated posterior. A sum over all data is too long, so take $K$ learned **pseudo-inputs** $u_k$ of the shape of an image:
#
# $$ p(z) = \frac1K \sum_{k=1}^K q(z \mid u_k). $$
#
# `vamp_log_prob` is $\ln p(z)$; gradients flow to `z`, to the pseudo-inputs and to the encoder. `vamp_sample` draws: for every row a component, uniformly, then $z$ from its Gaussian. *Worked number:* two components $\mathcal N(\pm 1, 1)$ at $z = 0$: $-1.4189$.
#
# Reading: Tomczak, Welling 2018, section 3.
#
# <details><summary>Hint</summary>Give z a new axis for the components, (B, 1, L), sum over L, and only then take the log-mean over K.</details>
#
# **What is checked**
# - `vamp_log_prob` for $K = 1, 3, 7$, $B \ne K \ne L$, pseudo-inputs `(K, *image)` with deviations of their own; far away it stays finite; the gradient in `z`, in the pseudo-inputs and in the encoder.
# - `vamp_sample`: shape `(n, L)`, every row draws its component anew, uniformly and independently of the others (not dealt out in turn), with its mean and deviation; also for $n = 1$ and $n < K$.

# %% answer="vamp-solution"
def vamp_log_prob(z, encoder, pseudo_inputs):
    """ln p(z) in nats of each row of z (B, L), (B,); pseudo_inputs: (K, *image)."""
    ### BEGIN SOLUTION
    mean, log_std = encoder(pseudo_inputs)  # (K, L)
    components = Normal(mean, log_std.exp()).log_prob(z[:, None]).sum(2)  # (B, K)
    return components.logsumexp(1) - math.log(len(mean))
    ### END SOLUTION


def vamp_sample(n, encoder, pseudo_inputs):
    """n draws from the prior, (n, L)."""
    ### BEGIN SOLUTION
    mean, log_std = encoder(pseudo_inputs)
    k = torch.randint(len(mean), (n,))
    return mean[k] + log_std[k].exp() * torch.randn_like(mean[k])
    ### END SOLUTION


# %% graded="vamp" points=1
check("vamp")

# %% [markdown]
# ## 2.6 Vector quantisation (1.25 points)
#
# A VQ-VAE replaces every vector of a feature map by the nearest of $K$ learned ones, the **codebook**. Features are `z`, `(B, D, H, W)`: the vector at a place is `z[b, :, h, w]`. The codebook is `(K, D)`.
#
# - `nearest_codes`: the index of the nearest codebook vector (Euclidean distance) at every place, `(B, H, W)`, `long`.
# - `quantise`: the codebook vectors in place of the features, `(B, D, H, W)`. The choice has no derivative, so the **straight-through** gradient is used: the gradient of the output is passed on to `z` unchanged, and none goes to the codebook.
# - `vq_losses`: the codebook is learned by the pair $\big(\tfrac1n\|\mathrm{sg}[z] - e\|^2,\ \tfrac1n\|z - \mathrm{sg}[e]\|^2\big)$, the codebook loss and the commitment loss, where $e$ are the chosen codebook vectors and $n = BDHW$. **sg**, stop-gradient, is `detach`: the value stays, the gradient does not pass. So the
#   two are equal in value; the first moves only the codebook, the second only the encoder.
#
# *Worked numbers:* the vector $z = (0.9, 0.2)$ and the codebook $(1, 0), (0, 1)$: code 0, both losses 0.025.
#
# Reading: van den Oord et al. 2017, section 3.
#
# <details><summary>Hint</summary>Move the channels to the end (<code>permute</code>) before you flatten anything. For the straight-through gradient, add to z something that has the right value and no gradient.</details>
#
# **What is checked**, with $B, D, H, W, K$ all different and codebook vectors of very different lengths
# - `nearest_codes`: no codebook vector is nearer than the chosen one (ties may fall either way).
# - `quantise`: values; the gradient passes to `z` unchanged, none to the codebook (none and zero are the same).
# - `vq_losses`: both values and all four gradients; unused codes get none.

# %% answer="vq-solution"
def nearest_codes(z, codebook):
    """The nearest row of the codebook (K, D) at each place of z (B, D, H, W): long, (B, H, W)."""
    ### BEGIN SOLUTION
    vectors = z.permute(0, 2, 3, 1)  # (B, H, W, D)
    distance = (vectors.unsqueeze(3) - codebook).square().sum(4)  # (B, H, W, K)
    return distance.argmin(3)
    ### END SOLUTION


def quantise(z, codebook):
    """z with every vector replaced by the nearest codebook vector, (B, D, H, W), gradient straight through."""
    ### BEGIN SOLUTION
    codes = nearest_codes(z, codebook)
    e = codebook[codes].permute(0, 3, 1, 2)
    return z + (e - z).detach()
    ### END SOLUTION


def vq_losses(z, codebook):
    """(codebook loss, commitment loss), tensors without dimensions."""
    ### BEGIN SOLUTION
    e = codebook[nearest_codes(z, codebook)].permute(0, 3, 1, 2)
    codebook_loss = (z.detach() - e).square().mean()
    commitment_loss = (z - e.detach()).square().mean()
    return codebook_loss, commitment_loss
    ### END SOLUTION


# %% graded="vq" points=1.25
check("vq")

# %% [markdown]
# ## 2.7 A codebook by moving averages (0.75 points)
#
# Instead of a loss, the codebook may follow the means of the vectors that chose each code, as in online $k$-means. With $n_k$ vectors of the batch at code $k$ and decay $\gamma$,
#
# $$ N_k \leftarrow \gamma N_k + (1 - \gamma)\, n_k, \qquad S_k \leftarrow \gamma S_k + (1 - \gamma) \sum_{\text{at code } k} z, \qquad e_k = S_k / N_k . $$
#
# `ema_update` returns the new counts, sums and codebook, and leaves its arguments as they are. No smoothing is added; all counts that you get are positive. `perplexity` tells how many codes are really in use: $\exp$ of the entropy (in nats) of the frequencies of `codes`, from 1 to $K$.
#
# *Worked number:* codes 0, 0, 0, 1: perplexity 1.7548.
#
# Reading: van den Oord et al. 2017, appendix A.1 of the arXiv version.
#
# <details><summary>Hint</summary><code>F.one_hot(codes.flatten(), K)</code> has a row for each vector; its transpose times the vectors adds up those of each code. A code without members keeps its place: S and N shrink by the same factor.</details>
#
# **What is checked**
# - `ema_update` for $\gamma = 0.9$ with codes that nobody chose, and for $\gamma = 0$ with all codes chosen; arguments unchanged.
# - `perplexity`: uniform, constant and skewed codes, with unused ones. A number or a tensor without dimensions, of any float dtype.

# %% answer="vq-ema-solution"
def ema_update(counts, sums, z, codes, decay):
    """New (counts (K,), sums (K, D), codebook (K, D)) after a batch. z: (B, D, H, W); codes: long, (B, H, W)."""
    ### BEGIN SOLUTION
    vectors = z.permute(0, 2, 3, 1).flatten(0, 2)  # (B * H * W, D)
    member = F.one_hot(codes.flatten(), len(counts)).to(z.dtype)
    counts = decay * counts + (1 - decay) * member.sum(0)
    sums = decay * sums + (1 - decay) * (member.T @ vectors)
    return counts, sums, sums / counts[:, None]
    ### END SOLUTION


def perplexity(codes, n_codes):
    """exp of the entropy of the frequencies of codes, long of any shape, among n_codes."""
    ### BEGIN SOLUTION
    share = torch.bincount(codes.flatten(), minlength=n_codes) / codes.numel()
    entropy = -torch.xlogy(share, share).sum()
    return entropy.exp()
    ### END SOLUTION


# %% graded="vq-ema" points=0.75
check("vq-ema")

# %% [markdown]
# Sixteen codes learn the $2 \times 2$ patches of the digits (four channels, no network): the codebook by moving averages, how often each code is used, and digits rebuilt from their codes.

# %%
with when_written():
    torch.manual_seed(0)
    patches = F.pixel_unshuffle(digits_train, 2)  # (6000, 4, 4, 4)
    counts, sums = torch.ones(16), torch.rand(16, 4)
    codebook, used = sums / counts[:, None], []
    for _ in range(150):
        batch = patches[torch.randint(len(patches), (64,))]
        codes = nearest_codes(batch, codebook)
        counts, sums, codebook = ema_update(counts, sums, batch, codes, 0.9)
        used.append(float(perplexity(codes, 16)))
    codes = nearest_codes(patches, codebook)
    figure, axes = plt.subplots(1, 4, figsize=(14, 2.3), width_ratios=[1, 1, 1.4, 1.4])
    axes[0].plot(used)
    axes[0].set(title="perplexity", xlabel="batch", ylim=(1, 16))
    axes[1].bar(range(16), torch.bincount(codes.flatten(), minlength=16) / codes.numel())
    axes[1].set(title=f"use of the codes: perplexity {float(perplexity(codes, 16)):.1f}")
    show_digits(axes[2], digits_train[:32], "digits")
    show_digits(axes[3], F.pixel_shuffle(quantise(patches[:32], codebook), 2), "from 16 codes of 2 × 2 pixels")
    plt.show()

# %% [markdown]
# ## 2.8 Gumbel-softmax (1 point)
#
# A draw from a categorical law with logits $\ell$ is $\arg\max_i(\ell_i + g_i)$ with Gumbel noise $g = -\ln(-\ln u)$, $u \sim U(0, 1)$. Replace the argmax by a softmax at temperature $\tau$ and gradients flow:
#
# $$ y = \mathrm{softmax}\big((\ell + g)/\tau\big). $$
#
# The uniform numbers may be given as `u`, of the shape of `logits`; where it is `None` you draw them. With `hard=True` the value is the one-hot vector of the largest entry of $y$ (the sample, noise included), and the **gradient is that of the soft** $y$.
#
# *Worked numbers:* logits $(0, \ln 3)$ and $u = (e^{-1}, e^{-1/2})$: $(\tfrac17, \tfrac67)$ at $\tau = 1$ and $(\tfrac1{37}, \tfrac{36}{37})$ at $\tau = \tfrac12$.
#
# Reading: Jang et al. 2017, section 2.
#
# <details><summary>Hint</summary><code>torch.rand</code> gives an exact 0 once in some millions of draws, and never 1. From 0 follow g = −∞ and y = 0, which is right; 1 would give NaN, so do not write 1 − torch.rand. <code>hard</code> is the trick of 2.6 once more.</details>
#
# **What is checked**
# - With `u` given, between 0.02 and 0.98: values and gradient in the logits, soft and hard (one-hot up to rounding), for $\tau = 0.5$ and 2, $K \ne B$; finite for logits of ±200.
# - With `u` drawn, 20,000 rows: the law of the argmax is softmax$(\ell)$ whatever $\tau$; and for every pair $i, j$, $\tau(\ln y_i - \ln y_j) - (\ell_i - \ell_j)$ follows the logistic law. The noise is fresh for every entry and row, in small batches too.

# %% answer="gumbel-solution"
def gumbel_softmax(logits, tau, hard=False, u=None):
    """A relaxed draw for each row of logits (B, K), (B, K); u: uniform numbers of that shape, drawn where None."""
    ### BEGIN SOLUTION
    u = torch.rand_like(logits) if u is None else u
    noise = -torch.log(-torch.log(u))
    y = ((logits + noise) / tau).softmax(1)
    if hard:
        one_hot = F.one_hot(y.argmax(1), y.shape[1]).to(y.dtype)
        return one_hot + (y - y.detach())
    return y
    ### END SOLUTION


# %% graded="gumbel" points=1
check("gumbel")

# %%
with when_written():
    torch.manual_seed(0)
    corners = torch.tensor([[0.0, 0], [1, 0], [0.5, 0.866]])
    logits = torch.tensor([0.5, 0.3, 0.2]).log().repeat(1500, 1)
    figure, axes = plt.subplots(1, 3, figsize=(10, 2.8))
    for axis, tau in zip(axes, (5.0, 1.0, 0.1)):
        axis.plot(*corners[[0, 1, 2, 0]].T, color="0.7")
        y = gumbel_softmax(logits, tau)
        axis.scatter(*(y @ corners).T, s=2, c=y.argmax(1), cmap="viridis")
        axis.set(title=f"τ = {tau:g}", aspect="equal")
        axis.axis("off")
    plt.show()

# %% [markdown]
# # Part 3. A VAE on binary digits (2 points)
#
# `digits_train` holds 6,000 pictures of $8 \times 8$ pixels, zeros and ones, `digits_valid` 1,000 by **other writers**. They were *drawn anew* from scikit-learn's digits (two of one writer morphed, then turned and shifted a little). The grader draws the pictures it asks about in the same way; they lie in no file.
#
# Write three functions and choose sizes and training as you like. Helper classes belong into the same cell:
#
# - `make_encoder()`: a new module, `(B, 1, 8, 8)` → `(mean, log_std)`, each `(B, L)`, with $L \le 32$ of your choice;
# - `make_decoder()`: a new module, `(B, L)` with the same $L$ → logits `(B, 1, 8, 8)`;
# - `fit_vae(images)` → `(encoder, decoder, history)`: builds both, trains them, and returns them in evaluation mode with a list of the losses, one number for each step. It may use any loss. The functions of Part 2 are there for you, and `torch.distributions` as well. **Train on `images` only**: not on `digits_valid`, and not on scikit-learn's digits, which hold the held-out writers.
#
# A fourth gap, `bound_terms`, is a helper that you may fill or delete. Training runs when you run its cell, and in grading unless you hand in the weights, with up to 120 seconds of one CPU core.
#
# **How the trained VAE is judged**, in evaluation mode. An answer is a function of its own row: the same within $10^{-3}$ in any order and company, and finite. The decoder is **continuous**: between two codes drawn from the prior, and between the codes (means) of two pictures, the largest step of the probabilities becomes at least 4 times smaller when the way is cut into 1024 steps in the place of 64
# (a network: 16 times; a table of pictures: not at all). **A VAE that breaks one of these earns nothing in this part.** Everything below is computed by the judge from `mean`, `log_std`, logits and noise of its own, taking `log_std` for $\ln\sigma$, whatever you meant by it; your losses are never read.
#
# 1. *Before any picture is encoded*, the decoder answers 20,000 codes from $\mathcal N(0, I)$. The log-mean of $p(x \mid z)$ over them is $\ln \hat p(x)$, an estimate of the evidence that the encoder has no part in. Afterwards the decoder must still give the same logits.
# 2. Then pictures are encoded, held-out and training ones mixed, and the bound is the mean of $\ln p(x \mid z)$ over 20 draws of $z$, less the KL term in closed form.
# 3. The **score** is the worse of $-$bound and $-\ln \hat p$, in nats a held-out picture. In an honest VAE it is always $-$bound: the 20,000 draws come out 0.3 nats or more *better* (why? think of task 1.1). An encoder that slips the picture to the decoder past the code gains nothing.
#
# ## 3.1 The bound (1.2 points), and 3.2 Samples and reconstructions (0.8 points)
#
# | what to expect, score in nats | | what trivial models reach, −ln p of fresh pictures | |
# |---|---|---|---|
# | perceptrons 64–200–200, $L = 16$, 3000 steps of 128 pictures, 7 s | 18.1–18.4 | independent pixels | 26.5 |
# | the same with 1500, 700, 500, 300 steps | 18.7, 19.4, 20.1, 21.1 | mixture of 10, 20 pixel models (EM) | 22.4, 21.3 |
# | the same with $L = 8$; with 5000 steps | 18.2; 18.0 | mixture of 60, 150 pixel models | 20.0, 19.6 |
# | the same with $L = 2$; with $\beta = 0.3$; with $\beta = 3$ | 22.6; 22.0 (KL 16); 24.4 (KL 0.7) | the training pictures with flipped pixels | 21.3 |
#
# The best possible number is unknown; a PixelCNN (homework 1) reaches 17.7–18.1. If the bound sticks at 26, print the KL of each dimension: if all are 0, the posterior has collapsed, as in task 1.3, and the usual reason is a mean over pixels in the place of a sum.
#
# <details><summary>Hint</summary>Perceptrons with two hidden layers of 200 SiLU units, Adam with OneCycleLR up to 4e-3. In a step: a random batch, a draw for every picture, minus the mean of the bound.</details>
#
# <details><summary>Hint: the last layer</summary>The encoder's last layer has 2L outputs: <code>chunk(2, dim=1)</code> makes a mean and a log_std of them. The decoder gives logits: a sigmoid inside it would be applied twice.</details>
#
# **What is checked** of 3.1, all under the conditions above
# - (0.3, in the notebook too; there on `digits_valid`) The score: in full up to 20.0, nothing from 20.8, a straight line between.
# - (0.9) The score on 2,000 fresh pictures: in full up to 18.8, nothing from 19.4.
# - A mean KL below 1 nat earns nothing in 3.1: the posterior has collapsed.
#
# **What is checked** of 3.2, all under the conditions above, and only where the score is below **20.6** (an autoencoder reconstructs well and has no bound)
# - (0.2, in the notebook too; there against 500 of your training pictures) 500 pictures made from $z \sim \mathcal N(0, I)$ and Bernoulli pixels of the judge's, against 500 fresh pictures by the training writers: $D$ is the mean of the two mean distances, in pixels, from a picture to the nearest one of the other set. In full up to 6.6, nothing from 7.0, a straight line between
#   (a VAE after 3000 steps has 6.1; 500 other fresh pictures in the place of the samples have 5.6).
# - (0.2) The same with 2,000 pictures on each side, which lie nearer to each other: in full up to 5.5, nothing from 6.0 (VAE 5.0, fresh pictures 4.1). If more than 30 % of the samples lie within one pixel of a training picture, they are copies and earn nothing (VAE 3 %, fresh pictures 12 %).
# - (0.4) Reconstructions: the mean of $\ln p(x \mid z)$ over 1,000 fresh held-out pictures, at $z = \mu + \tfrac14 \sigma\varepsilon$, which is the mean with a little noise: in full at $-9.7$ or more, nothing at $-13$ or less, a straight line between (VAE after 3000 steps $-7$, the nearest training picture $-13$).

# %% answer="train-vae-solution"
class VAE(nn.Module):
    """Encoder and decoder in one module, so that their weights are kept together."""

    def __init__(self, encoder, decoder):
        super().__init__()
        self.encoder, self.decoder = encoder, decoder


def make_vae():
    """A new, untrained VAE."""
    return VAE(make_encoder(), make_decoder())


def make_encoder():
    """A new module: pictures (B, 1, 8, 8) to (mean, log_std), each (B, L)."""
    ### BEGIN SOLUTION
    return Encoder(latent=16, hidden=200)


class Encoder(nn.Module):
    """A perceptron from pictures to the mean and log_std of their codes."""

    def __init__(self, latent, hidden):
        super().__init__()
        self.body = nn.Sequential(
            nn.Flatten(), nn.Linear(64, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, 2 * latent)
        )

    def forward(self, x):
        return self.body(x).chunk(2, dim=1)
    ### END SOLUTION


def make_decoder():
    """A new module: codes (B, L) to logits (B, 1, 8, 8)."""
    ### BEGIN SOLUTION
    latent, hidden = 16, 200
    return nn.Sequential(
        nn.Linear(latent, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, 64),
        nn.Unflatten(1, (1, 8, 8)),
    )
    ### END SOLUTION


def fit_vae(images):
    """Build and train a VAE. Returns (encoder, decoder, history), the modules in evaluation mode."""
    ### BEGIN SOLUTION
    encoder, decoder = make_encoder(), make_decoder()
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=4e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=4e-3, total_steps=3000)
    history = []
    for _ in range(3000):
        batch = images[torch.randint(len(images), (128,))]
        reconstruction, kl = bound_terms(batch, encoder, decoder)
        loss = (kl - reconstruction).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        history.append(loss.item())
    return encoder.eval(), decoder.eval(), history
    ### END SOLUTION


def bound_terms(x, encoder, decoder):
    """ln p(x | z) at one draw and the KL to the prior, both (B,): a helper of `fit_vae`, which no check asks."""
    ### BEGIN SOLUTION
    mean, log_std = encoder(x)
    q = Normal(mean, log_std.exp())
    logits = decoder(q.rsample())
    pixels = -F.binary_cross_entropy_with_logits(logits, x, reduction="none")
    return pixels.flatten(1).sum(1), kl_divergence(q, Normal(0.0, 1.0)).sum(1)
    ### END SOLUTION


# %% tags=["train", "train:digits"]
with when_written():
    digits_encoder, digits_decoder, digits_history = fit_vae(digits_train)
    digits_vae = VAE(digits_encoder, digits_decoder)
    torch.save(digits_vae.state_dict(), "digits_vae.pt")

# %% graded="train-vae-bound" points=1.2
check("train-vae-bound")

# %% [markdown]
# <details><summary>Hint for 3.2</summary>Look at the pictures below. Blurred reconstructions and few live dimensions mean too little training, or too large a KL term; sharp reconstructions with samples like noise mean too small a one: the aggregated posterior does not fill the prior.</details>
#
# **What is checked** stands above, under 3.2.

# %% graded="train-vae-samples" points=0.8
check("train-vae-samples")

# %% [markdown]
# The pictures to be proud of: the bound during training; nats by dimension (the first thing to look at after a bad training: how many dimensions are alive?); reconstructions, samples, and the nearest training picture of each sample; the way between two held-out digits, in codes and in pixels; and two latent dimensions, coloured by digit.

# %%
with when_written("digits_vae", "digits_history"):
    torch.manual_seed(0)
    with torch.no_grad():
        mean, log_std = digits_vae.encoder(digits_valid)
        rates = kl_divergence(Normal(mean, log_std.exp()), Normal(0.0, 1.0)).mean(0).sort(descending=True)
        rebuilt = digits_vae.decoder(mean[:32]).sigmoid()
        samples = torch.bernoulli(digits_vae.decoder(torch.randn(32, mean.shape[1])).sigmoid())
        way = torch.linspace(0, 1, 8)[:, None]
        between = digits_vae.decoder(torch.cat([mean[a] + way * (mean[b] - mean[a]) for a, b in ((3, 11), (25, 40))])).sigmoid()
        pixels = digits_valid.flatten(1)
        mixed = torch.cat([pixels[a] + way * (pixels[b] - pixels[a]) for a, b in ((3, 11), (25, 40))]).reshape(-1, 1, 8, 8)
    nearest = digits_train[torch.cdist(samples.flatten(1), digits_train.flatten(1)).argmin(1)]
    figure, axes = plt.subplots(1, 3, figsize=(14, 2.6))
    axes[0].plot(digits_history, linewidth=0.4)
    for name, level in {"independent pixels": 26.5, "mixture of 20": 21.3, "mixture of 150": 19.6}.items():
        axes[0].axhline(level, color="black", linewidth=0.8, linestyle=":")
        axes[0].text(len(digits_history), level, name, fontsize=7, ha="right", va="bottom")
    axes[0].set(xlabel="step", title="−bound on batches of training pictures", ylim=(15, 30))
    axes[1].bar(range(len(rates.values)), rates.values)
    axes[1].set(title=f"KL by dimension, together {rates.values.sum():.1f} nats", xlabel="dimension, sorted")
    i, j = rates.indices[:2]
    shown = axes[2].scatter(mean[:, i], mean[:, j], c=valid_classes, s=4, cmap="tab10")
    figure.colorbar(shown, ax=axes[2], label="digit")
    axes[2].set(title="the two busiest dimensions")
    plt.show()
    figure, axes = plt.subplots(1, 4, figsize=(14, 2.3))
    show_digits(axes[0], digits_valid[:32], "digits_valid")
    show_digits(axes[1], rebuilt, "reconstructions")
    show_digits(axes[2], samples, "samples")
    show_digits(axes[3], nearest, "nearest training picture")
    plt.show()
    figure, axes = plt.subplots(1, 2, figsize=(10, 1.5))
    show_digits(axes[0], between, "between two digits, in codes")
    show_digits(axes[1], mixed, "between two digits, in pixels")
    plt.show()

# %% [markdown]
# # All models on one axis
#
# Nothing is scored here. Nats a held-out picture, less is better: your ELBO and your importance weighted bound (task 2.4, $k = 64$) beside the trivial models and the PixelCNN of homework 1, which has an exact likelihood. The distance between the first two is how much the bound lost by one draw; part of what is left is the Gaussian posterior, part the decoder.

# %%
with when_written("digits_vae"):
    torch.manual_seed(0)
    known = {"independent pixels": 26.5, "mixture of 20 pixel models": 21.3, "the training pictures, flipped": 21.3, "mixture of 150": 19.6, "PixelCNN (homework 1)": 17.9}
    pictures = digits_valid[:500]
    digits_log_lik = lambda x, z: bernoulli_log_likelihood(digits_vae.decoder(z), x)
    with torch.no_grad():
        known["your ELBO"] = -elbo(pictures.repeat(20, 1, 1, 1), digits_vae.encoder, digits_log_lik).mean().item()
        known["your bound, k = 64"] = -iwae_bound(pictures, digits_vae.encoder, digits_log_lik, 64).mean().item()
    known = dict(sorted(known.items(), key=lambda item: -item[1]))
    figure, axes = plt.subplots(figsize=(8, 2.6))
    axes.barh(list(known), list(known.values()), color=["tab:orange" if "your" in name else "0.6" for name in known])
    axes.set(xlabel="nats a held-out picture", xlim=(15, 28))
    for row, value in enumerate(known.values()):
        axes.text(value, row, f" {value:.1f}", va="center", fontsize=8)
    axes.invert_yaxis()
    plt.show()

# %% [markdown]
# **★ More, without points.** (1) Train with $\beta$ from 0.05 to 8 and draw reconstruction against KL: a rate–distortion curve; where does it meet task 1.3? (2) Put your VampPrior into the trained VAE: how many nats does the better prior save? (3) EM for a mixture of pixel models: your E-step with a Bernoulli in the place of the Gaussian. (4) A PixelCNN
# over the codes of the $2 \times 2$ patches of task 2.7: how many nats does a picture of codes cost?
#
# **Glossary** for readers of Russian. evidence = обоснованность · latent = скрытая переменная · posterior = апостериорное распределение · prior = априорное распределение · bound = нижняя оценка · responsibility = апостериорный вес · nats = наты · decoder = декодер · codebook = кодовая книга · collapse = вырождение · noise = шум · law = распределение
#
# **Before you hand in:** restart the kernel, run everything, save. Hand in the notebook, and `digits_vae.pt` beside it if you like: it is loaded into what `make_vae()` builds, and nothing is trained then.
