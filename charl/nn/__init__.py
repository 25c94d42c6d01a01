"""Functions for neural networks, with PyTorch's names and arguments, written with the public namespace alone.

    from charl import nn; y = nn.relu(nn.conv2d(x, weight, bias, padding=1))

Arrays are (N, C, ...) or, where `data_format` says so, channels last. Floating-point inputs keep their dtype. Source
of names, arguments and semantics: torch.nn.functional of PyTorch 2.
"""

from charl.nn.activations import gelu, relu, sigmoid, silu, softmax
from charl.nn.attention import embedding, scaled_dot_product_attention
from charl.nn.convolution import conv1d, conv2d
from charl.nn.normalization import batch_norm, layer_norm
from charl.nn.pooling import avg_pool2d, max_pool2d

__all__ = [
    "avg_pool2d",
    "batch_norm",
    "conv1d",
    "conv2d",
    "embedding",
    "gelu",
    "layer_norm",
    "max_pool2d",
    "relu",
    "scaled_dot_product_attention",
    "sigmoid",
    "silu",
    "softmax",
]
