"""AetherFusion: a Diffusion Transformer U-Net for small images, built to be learned from.

>>> show_images(generate_images(load_pretrained(), labels="horse"))

Modules by lesson: positional (01), attention (02), unet and model (03), diffusion (04), data,
optimizer and training (05), sampling and generation (06), evaluation (07).
"""

from ._version import __version__ as __version__
from .attention import MultiHeadSelfAttention as MultiHeadSelfAttention
from .attention import TransformerBlock
from .checkpoint import load_model, load_pretrained, save_model
from .data import CIFAR10_CLASSES as CIFAR10_CLASSES
from .data import SHAPES10_CLASSES as SHAPES10_CLASSES
from .data import ImageTensors, load_cifar10, load_shapes10, make_loader
from .data import from_unit as from_unit
from .data import to_unit as to_unit
from .diffusion import COSINE, FLOW, NoisePath
from .diffusion import NoisePath as Path  # noqa: F401  its old name, which hides pathlib.Path
from .diffusion import SamplingSettings as SamplingSettings
from .diffusion import sample_times as sample_times
from .generation import Trajectory as Trajectory
from .generation import denoising_trajectory, generate_images
from .model import DiffusionTransformerUNet
from .optimizer import recommended_optimizer
from .plots import save_images, show_images
from .positional import PositionalEncoding
from .positional import TimeEmbedding as TimeEmbedding
from .positional import position_grid as position_grid
from .positional import sinusoid as sinusoid
from .sampling import ddim as ddim
from .sampling import dpmpp_2m as dpmpp_2m
from .sampling import guided as guided
from .sampling import heun as heun
from .sampling import time_grid as time_grid
from .training import train, training_steps
from .unet import UNetWithAttention
from .utils.history import History
from .utils.history import Step as Step

__all__ = [  # noqa: RUF022  in the order of the lessons
    "PositionalEncoding",
    "TransformerBlock",
    "UNetWithAttention",
    "DiffusionTransformerUNet",
    "NoisePath",
    "FLOW",
    "COSINE",
    "ImageTensors",
    "load_cifar10",
    "load_shapes10",
    "make_loader",
    "recommended_optimizer",
    "train",
    "training_steps",
    "History",
    "generate_images",
    "denoising_trajectory",
    "load_pretrained",
    "load_model",
    "save_model",
    "show_images",
    "save_images",
]
