"""The public packages that run in race.py, each used through its public interface.

Network, loss, average of the weights and sampler are those of the package's own examples. What
they choose for a day on a GPU is scaled to minutes on a CPU, in the racer's favour as far as we
know: a narrower network, a learning rate that gets somewhere in some hundred steps, a schedule
that ends with the budget.
"""

import contextlib
import time

import torch
import torch.nn.functional as F
from racers import BATCH, PRECISION, Racer, batches_for, in_batches, low_precision
from torch import Tensor, nn

from aetherfusion import ImageTensors, make_loader, to_unit


def diffusers(data: ImageTensors, layers_per_block: int = 2) -> Racer:
    """Hugging Face's library, as its course trains a class-conditional model on small pictures.

    From the course (unit 2, class-conditioned model): the sizes of the network, its learning rate,
    the cosine noise. From the library's `train_unconditional.py`: AdamW, the warm-up and cosine
    decay (here over the CPU time), clipping, the average.
    """
    from diffusers import DDIMScheduler, DDPMScheduler, UNet2DModel
    from diffusers.optimization import get_cosine_schedule_with_warmup
    from diffusers.training_utils import EMAModel

    network = UNet2DModel(
        sample_size=32,
        in_channels=3,
        out_channels=3,
        layers_per_block=layers_per_block,
        block_out_channels=(32, 64, 64),
        down_block_types=("DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
        num_class_embeds=10,
    )  # channels last would be slower here: 15 images a CPU-second for 19
    noising = DDPMScheduler(num_train_timesteps=1000, beta_schedule="squaredcos_cap_v2")
    average = EMAModel(network.parameters(), use_ema_warmup=True, power=3 / 4)

    def learn(seconds: float) -> list[float]:
        optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=1e-6)
        ticks, tick = 1000, 0  # of the schedule, from the first second to the last
        schedule = get_cosine_schedule_with_warmup(optimizer, ticks // 20, ticks)
        losses = []
        network.train()
        for x0, labels, spent in batches_for(seconds, data):
            noise, t = torch.randn_like(x0), torch.randint(0, 1000, (len(x0),))
            with low_precision():
                noise_hat = network(noising.add_noise(x0, noise, t), t, labels).sample
            loss = F.mse_loss(noise_hat.float(), noise)
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            while tick < max(1, spent * ticks):
                schedule.step()
                tick += 1
            average.step(network.parameters())
            losses.append(loss.item())
        average.copy_to(network.parameters())
        return losses

    def sample(labels: Tensor) -> Tensor:
        scheduler = DDIMScheduler.from_config(noising.config)
        scheduler.set_timesteps(20)
        x = torch.randn(len(labels), 3, 32, 32)
        for t in scheduler.timesteps:
            x = scheduler.step(network(x, t, labels).sample.float(), t, x).prev_sample
        return to_unit(x)

    return Racer(
        network=network,
        forward=lambda x, labels: network(x, 500, labels),
        learn=learn,
        sample=lambda labels: in_batches(sample, labels),
        setup="`UNet2DModel` (32, 64, 64), predicts the noise, AdamW 1e-3 with warm-up and cosine "
        "decay, `EMAModel`",
        sampler="DDIM, 20 steps, no guidance",
    )


def denoising_diffusion_pytorch(data: ImageTensors) -> Racer:
    """Phil Wang's package: its class-conditional U-Net, its diffusion, its average.

    As its `Trainer` does it: Adam with these betas, clipping, the average. Half the width of the
    example. Its learning rate of 8e-5 is meant for 700,000 steps, and so is an average that looks
    at every tenth: here it looks at all. Fresh noise in each sampling step (eta 1, its default)
    needs many of them; in DDIM there is none.
    """
    from denoising_diffusion_pytorch.classifier_free_guidance import GaussianDiffusion, Unet
    from ema_pytorch import EMA

    network = Unet(dim=32, num_classes=10)
    diffusion = GaussianDiffusion(
        network, image_size=32, sampling_timesteps=20, ddim_sampling_eta=0.0, objective="pred_v"
    ).to(memory_format=torch.channels_last)
    average = EMA(diffusion, beta=0.995, update_every=1)

    def learn(seconds: float) -> list[float]:
        optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, betas=(0.9, 0.99))
        losses = []
        diffusion.train()
        for x0, labels, _ in batches_for(seconds, data):
            with low_precision():
                loss = diffusion(to_unit(x0), classes=labels)  # it makes [-1, 1] of [0, 1] itself
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            average.update()
            losses.append(loss.item())
        return losses

    def sample(labels: Tensor) -> Tensor:
        return average.ema_model.eval().sample(classes=labels).float().clamp(0, 1)

    return Racer(
        network=network,
        forward=lambda x, labels: network(x, torch.full((len(x),), 500), labels),
        learn=learn,
        sample=lambda labels: in_batches(sample, labels),
        setup="`Unet` of dim 32, predicts v, Adam 1e-3, `EMA`",
        sampler="DDIM, 20 steps, guidance 6",
    )


def smalldiffusion(data: ImageTensors) -> Racer:
    """Chenyang Yuan's package, as in its examples/cifar_unet.py, with class labels.

    Half the width of the example and the learning rate that `training_loop` has by default; the
    label embedding and guidance are those of its class-conditional example.
    """
    from accelerate import Accelerator
    from smalldiffusion import (
        CondEmbedderLabel,
        Scaled,
        ScheduleLogLinear,
        ScheduleSigmoid,
        Unet,
        samples,
        training_loop,
    )
    from torch_ema import ExponentialMovingAverage

    width = 64
    embedding = CondEmbedderLabel(4 * width, 10, 0.1)
    network = Scaled(Unet)(32, 3, 3, ch=width, ch_mult=(1, 2, 2, 2), cond_embed=embedding)
    network.to(memory_format=torch.channels_last)
    average = ExponentialMovingAverage(network.parameters(), decay=0.9999)
    accelerator = Accelerator(mixed_precision=PRECISION, cpu=True)

    def learn(seconds: float) -> list[float]:
        started, losses = time.process_time(), []
        loop = training_loop(
            make_loader(data, BATCH),
            network,
            ScheduleSigmoid(N=1000),
            accelerator=accelerator,
            lr=1e-3,
            conditional=True,
        )
        with contextlib.closing(loop):
            for step in loop:
                step.pbar.disable = True
                average.update()
                losses.append(step.loss.item())
                if time.process_time() - started >= seconds:
                    break
        return losses

    def sample(labels: Tensor) -> Tensor:
        sigmas = ScheduleLogLinear(sigma_min=0.01, sigma_max=35, N=1000).sample_sigmas(10)
        with average.average_parameters():
            *_, x0 = samples(
                network,
                sigmas,
                gam=2.1,
                cfg_scale=2.0,  # 0 is no guidance here
                batchsize=len(labels),
                cond=labels,
                accelerator=accelerator,
            )
        return to_unit(x0)

    return Racer(
        network=network,
        forward=lambda x, labels: network(x, torch.ones(len(x), 1, 1, 1), cond=labels),
        learn=learn,
        sample=lambda labels: in_batches(sample, labels),
        setup=f"`Unet` of {width} channels, predicts the noise, AdamW 1e-3, `torch_ema`",
        sampler="its accelerated sampler, 10 steps, guidance 3",
    )
