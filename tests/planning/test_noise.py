import pytest
import torch

from jepa.errors import ConfigError
from jepa.planning.noise import Noise, coloured
from tests.planning.problems import generators

CPU = torch.device("cpu")


def drawn(generator, batch, rounds=1, **settings):
    noise = Noise(generator, batch=batch, device=CPU)
    for _ in range(rounds):
        numbers = noise.draw(5, steps=4, size=3, **settings)
    return numbers


@pytest.mark.parametrize("beta", [0.0, 2.0])
def test_a_problem_draws_the_same_numbers_alone_and_in_a_batch(beta):
    together = drawn(generators(1, 2, 3), 3, rounds=2, beta=beta)
    alone = [drawn(generators(seed), 1, rounds=2, beta=beta) for seed in (1, 2, 3)]
    assert torch.equal(together, torch.cat(alone))


def test_one_generator_gives_each_problem_numbers_of_its_own():
    numbers = drawn(torch.Generator().manual_seed(0), 2)
    assert torch.equal(numbers, drawn(torch.Generator().manual_seed(0), 2))
    assert not torch.equal(numbers[0], numbers[1])


def test_the_next_search_does_not_depend_on_the_rounds_of_this_one():
    short, long = generators(0, 0)
    first = drawn([short], 1, rounds=1)
    drawn([long], 1, rounds=7)
    second = drawn([short], 1)
    assert torch.equal(second, drawn([long], 1)) and not torch.equal(second, first)


def test_without_a_generator_the_global_seed_decides():
    torch.manual_seed(3)
    first = drawn(None, 2)
    torch.manual_seed(3)
    assert torch.equal(first, drawn(None, 2))
    assert not torch.equal(first, drawn(None, 2))


@pytest.mark.parametrize("steps", [1, 2, 5, 16])
@pytest.mark.parametrize("beta", [0.5, 2.0, 4.0])
def test_coloured_noise_keeps_the_variance_of_each_number(beta, steps, generator):
    numbers = coloured(torch.randn(20_000, steps, 2, generator=generator), beta)
    torch.testing.assert_close(numbers.var(dim=0), torch.ones(steps, 2), atol=0.06, rtol=0)


def test_the_power_falls_with_the_frequency_as_asked(generator):
    numbers = coloured(torch.randn(20_000, 16, 1, generator=generator), 2.0)
    power = torch.fft.rfft(numbers[..., 0]).abs().square().mean(dim=0)[1:8]
    expected = torch.arange(1, 8.0) ** -2
    torch.testing.assert_close(power / power[0], expected, rtol=0.05, atol=0)


def test_white_noise_stays_as_it_is(generator):
    white = torch.randn(3, 6, 2, generator=generator)
    torch.testing.assert_close(coloured(white, 0.0), white)


def test_wrong_generators_are_refused():
    with pytest.raises(ConfigError, match="2 generators for 3 problems"):
        Noise(generators(1, 2), batch=3, device=CPU)


def test_a_generator_of_another_device_is_refused():
    elsewhere = type("Elsewhere", (), {"device": torch.device("cuda")})()
    with pytest.raises(ConfigError, match=r"generator is on cuda .* drawn on the CPU"):
        Noise([elsewhere], batch=1, device=CPU)
