"""Autoregressive models: the chain rule with a network for each conditional.

p(x) = Π_i p(x_i | x_<i) makes the likelihood exact and sampling sequential. The families differ in how one network
computes all conditionals at once without looking ahead: shared sums (NADE), masks (MADE, PixelCNN), shifts (gated
PixelCNN, PixelCNN++, WaveNet), recurrence (PixelRNN), attention (Image GPT).

Conventions: log_prob in nats, summed over the event. Images have K levels, written as floats k/(K−1), or as integers;
binary ones are zeros and ones. Raster order: rows, then columns, then channels.
"""

from reference_models.autoregressive.conditional_pixelcnn import ConditionalPixelCNN
from reference_models.autoregressive.diagonal_bilstm import DiagonalBiLSTM, DiagonalBiLSTMLayer, DiagonalLSTM
from reference_models.autoregressive.gated_pixelcnn import GatedLayer, GatedPixelCNN, HorizontalConv2d, VerticalConv2d
from reference_models.autoregressive.image_gpt import ImageGPT
from reference_models.autoregressive.made import MADE
from reference_models.autoregressive.nade import NADE
from reference_models.autoregressive.pixelcnn import PixelCNN
from reference_models.autoregressive.pixelcnn_pp import Above, AboveLeft, GatedResidual, PixelCNNPlusPlus
from reference_models.autoregressive.row_lstm import RowLSTM, RowLSTMLayer
from reference_models.autoregressive.wavenet import Layer, WaveNet

__all__ = [
    "MADE",
    "NADE",
    "Above",
    "AboveLeft",
    "ConditionalPixelCNN",
    "DiagonalBiLSTM",
    "DiagonalBiLSTMLayer",
    "DiagonalLSTM",
    "GatedLayer",
    "GatedPixelCNN",
    "GatedResidual",
    "HorizontalConv2d",
    "ImageGPT",
    "Layer",
    "PixelCNN",
    "PixelCNNPlusPlus",
    "RowLSTM",
    "RowLSTMLayer",
    "VerticalConv2d",
    "WaveNet",
]
