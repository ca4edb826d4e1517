"""AetherFusion: a Diffusion Transformer U-Net for small pictures, built to be learnt from.

>>> model = load_pretrained()
>>> horses = generate_images(model, labels="horse")
>>> show_images(horses)
"""

from ._version import __version__ as __version__
from .attention import MultiHeadSelfAttention, TransformerBlock
from .checkpoint import load_model, load_pretrained, save_model
from .data import (
    CIFAR10_CLASSES,
    SHAPES10_CLASSES,
    ImageTensors,
    from_unit,
    load_cifar10,
    load_shapes10,
    make_loader,
    to_unit,
)
from .diffusion import COSINE, FLOW, NoisePath, sample_times
from .diffusion import NoisePath as Path  # noqa: F401  the old name, which hides pathlib.Path
from .generation import Trajectory, denoising_trajectory, generate_images
from .model import DiffusionTransformerUNet
from .optimizer import recommended_optimizer
from .plots import save_images, show_images
from .positional import PositionalEncoding, TimeEmbedding, position_grid, sinusoid
from .sampling import ddim, dpmpp_2m, guided, heun, time_grid
from .training import train, training_steps
from .unet import UNetWithAttention
from .utils.history import History, Step

__all__ = [
    "CIFAR10_CLASSES",
    "COSINE",
    "FLOW",
    "SHAPES10_CLASSES",
    "DiffusionTransformerUNet",
    "History",
    "ImageTensors",
    "MultiHeadSelfAttention",
    "NoisePath",
    "PositionalEncoding",
    "Step",
    "TimeEmbedding",
    "Trajectory",
    "TransformerBlock",
    "UNetWithAttention",
    "ddim",
    "denoising_trajectory",
    "dpmpp_2m",
    "from_unit",
    "generate_images",
    "guided",
    "heun",
    "load_cifar10",
    "load_model",
    "load_pretrained",
    "load_shapes10",
    "make_loader",
    "position_grid",
    "recommended_optimizer",
    "sample_times",
    "save_images",
    "save_model",
    "show_images",
    "sinusoid",
    "time_grid",
    "to_unit",
    "train",
    "training_steps",
]
