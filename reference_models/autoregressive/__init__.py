"""Autoregressive models: the chain rule with a network for each conditional.

p(x) = Π_i p(x_i | x_<i) makes the likelihood exact and sampling sequential. The families differ in how one network
computes all conditionals at once without looking ahead: shared sums (NADE), masks (MADE, PixelCNN), shifts (gated
PixelCNN, PixelCNN++, WaveNet), recurrence (PixelRNN), attention (Image GPT).

Conventions: log_prob in nats, summed over the event. Images have K levels, written as floats k/(K−1), or as integers;
binary ones are zeros and ones. Raster order: rows, then columns, then channels.
"""

from reference_models.catalogue import Family, Paper

PIXEL_RNN = Paper(
    authors="van den Oord, Kalchbrenner, Kavukcuoglu",
    year=2016,
    title="Pixel Recurrent Neural Networks",
    url="https://arxiv.org/abs/1601.06759",
)
PIXELCNN_DECODERS = Paper(
    authors="van den Oord et al.",
    year=2016,
    title="Conditional Image Generation with PixelCNN Decoders",
    url="https://arxiv.org/abs/1606.05328",
)

FAMILIES: tuple[Family, ...] = (
    Family(
        name="nade",
        title="NADE",
        paper=Paper(
            authors="Larochelle, Murray",
            year=2011,
            title="The Neural Autoregressive Distribution Estimator",
            url="https://proceedings.mlr.press/v15/larochelle11a.html",
        ),
        module="reference_models.autoregressive.nade",
        programmes="K",
        homework=None,
        verified_against="enumeration; conditionals by hand; sampler against its law",
    ),
    Family(
        name="made",
        title="MADE",
        paper=Paper(
            authors="Germain, Gregor, Murray, Larochelle",
            year=2015,
            title="MADE: Masked Autoencoder for Distribution Estimation",
            url="https://arxiv.org/abs/1502.03509",
        ),
        module="reference_models.autoregressive.made",
        programmes="PK",
        homework=1,
        verified_against="enumeration; autograd Jacobian; masks by hand; law of the drawn orders and of the samples",
    ),
    Family(
        name="wavenet",
        title="WaveNet",
        paper=Paper(
            authors="van den Oord et al.",
            year=2016,
            title="WaveNet: A Generative Model for Raw Audio",
            url="https://arxiv.org/abs/1609.03499",
        ),
        module="reference_models.autoregressive.wavenet",
        programmes="MP",
        homework=None,
        verified_against="enumeration; receptive field by autograd; gates by hand; queues against the whole network",
    ),
    Family(
        name="row-lstm",
        title="PixelRNN, row LSTM",
        paper=PIXEL_RNN,
        module="reference_models.autoregressive.row_lstm",
        programmes="K",
        homework=None,
        verified_against="enumeration; receptive field by autograd; the recursion pixel by pixel; torch.nn.LSTMCell",
    ),
    Family(
        name="diagonal-bilstm",
        title="PixelRNN, diagonal BiLSTM",
        paper=PIXEL_RNN,
        module="reference_models.autoregressive.diagonal_bilstm",
        programmes="K",
        homework=None,
        verified_against="enumeration; receptive field by autograd; the recursion pixel by pixel",
    ),
    Family(
        name="pixelcnn",
        title="PixelCNN",
        paper=PIXEL_RNN,
        module="reference_models.autoregressive.pixelcnn",
        programmes="MAPK",
        homework=1,
        verified_against="enumeration; masks by hand; receptive field with its blind spot by autograd; sampler's law",
    ),
    Family(
        name="gated-pixelcnn",
        title="Gated PixelCNN",
        paper=PIXELCNN_DECODERS,
        module="reference_models.autoregressive.gated_pixelcnn",
        programmes="",
        homework=None,
        verified_against="enumeration; receptive field without blind spot by autograd; layer by hand; sampler's law",
    ),
    Family(
        name="conditional-pixelcnn",
        title="Conditional PixelCNN",
        paper=PIXELCNN_DECODERS,
        module="reference_models.autoregressive.conditional_pixelcnn",
        programmes="",
        homework=None,
        verified_against="enumeration for each class; gates by hand; Bayes' rule; sampler's law",
    ),
    Family(
        name="pixelcnn-pp",
        title="PixelCNN++",
        paper=Paper(
            authors="Salimans, Karpathy, Chen, Kingma",
            year=2017,
            title="PixelCNN++: Improving the PixelCNN with Discretized Logistic Mixture Likelihood "
            "and Other Modifications",
            url="https://arxiv.org/abs/1701.05517",
        ),
        module="reference_models.autoregressive.pixelcnn_pp",
        programmes="MP",
        homework=None,
        verified_against="enumeration; scipy.stats.logistic; receptive field by autograd; sampler's law",
    ),
    Family(
        name="image-gpt",
        title="Image GPT: causal transformer with key-value cache",
        paper=Paper(
            authors="Chen et al.",
            year=2020,
            title="Generative Pretraining from Pixels",
            url="https://proceedings.mlr.press/v119/chen20s.html",
        ),
        module="reference_models.autoregressive.image_gpt",
        programmes="",
        homework=1,
        verified_against="enumeration; the transformer by hand; cached against plain; the paper's parameter counts",
    ),
)
