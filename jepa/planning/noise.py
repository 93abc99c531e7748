"""Random numbers of a search: one stream per problem, so that solving problems together changes none of them."""

from collections.abc import Sequence

import torch
from torch import Tensor

from jepa.errors import ConfigError

Generators = torch.Generator | Sequence[torch.Generator] | None


class Noise:
    """Standard normal numbers for a batch of problems, drawn on the CPU whatever the device of the search.

    Each problem has a stream of its own, seeded by one number from its generator. So problem b draws the same
    numbers alone and in a batch when it brings its own generator, and the next search does not depend on how many
    rounds this one took. One generator for all problems seeds them one after another; None takes torch's global one.
    Raises ConfigError for a generator that is not on the CPU, or another number of generators than problems.
    """

    def __init__(self, generator: Generators, *, batch: int, device: torch.device) -> None:
        self._streams = [torch.Generator().manual_seed(seed) for seed in _seeds(generator, batch)]
        self._device = device

    def draw(self, samples: int, *, steps: int, size: int, beta: float = 0.0) -> Tensor:
        """Return (B, samples, steps, size) numbers, each standard normal.

        Along the steps, their power at frequency f is proportional to f ** -beta: 0 is white, 2 a random walk
        (iCEM, arXiv:2008.06389, section 3.1).
        """
        white = [torch.randn(samples, steps, size, generator=stream) for stream in self._streams]
        drawn = white if beta == 0 else [coloured(numbers, beta) for numbers in white]
        return torch.stack(drawn).to(self._device)  # (B, S, T, size)


def coloured(white: Tensor, beta: float) -> Tensor:
    """Filter white noise along its last axis but one, (..., T, n), to a power of f ** -beta; variances stay 1.

    The constant part gets the power of the lowest frequency, 1 / T.
    """
    steps = white.shape[-2]
    frequency = torch.fft.fftfreq(steps).abs().clamp(min=1 / steps)  # (T,)
    gain = frequency ** (-beta / 2)
    gain = gain / gain.square().mean().sqrt()
    half = gain[: steps // 2 + 1, None]  # (T // 2 + 1, 1): the rest mirrors them
    return torch.fft.irfft(torch.fft.rfft(white, dim=-2) * half, n=steps, dim=-2)


def _seeds(generator: Generators, batch: int) -> list[int]:
    """Take one seed per problem from its generator."""
    if generator is None or isinstance(generator, torch.Generator):
        _check_device(generator)
        return torch.randint(2**62, (batch,), generator=generator).tolist()
    if len(generator) != batch:
        raise ConfigError(
            f"{len(generator)} generators for {batch} problems -- give one for all, or one for each problem"
        )
    for one in generator:
        _check_device(one)
    return [int(torch.randint(2**62, (), generator=one)) for one in generator]


def _check_device(generator: torch.Generator | None) -> None:
    if generator is not None and generator.device.type != "cpu":
        raise ConfigError(
            f"generator is on {generator.device} -- candidates are drawn on the CPU -- use torch.Generator()"
        )
