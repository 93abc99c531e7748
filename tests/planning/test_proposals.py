import numpy as np
import pytest
import torch

from jepa.planning.proposals import Categorical, Gaussian, categorical, gaussian


def test_gaussian_draws_have_the_mean_and_deviation_and_stay_inside(generator):
    proposal = gaussian(torch.tensor([0.1, 0.95])[None, None, None], initial_std=0.2, min_std=0.0)
    drawn = proposal.draw(torch.randn(1, 20_000, 1, 2, generator=generator))
    assert drawn.min() >= -1 and drawn.max() == 1
    torch.testing.assert_close(drawn[..., 0].mean(), torch.tensor(0.1), atol=0.01, rtol=0)
    torch.testing.assert_close(drawn[..., 0].std(), torch.tensor(0.2), atol=0.01, rtol=0)


def test_gaussian_fit_is_numpys_weighted_mean_and_deviation(generator):
    candidates = torch.rand(2, 6, 3, 4, generator=generator)
    weights = torch.rand(2, 6, generator=generator).softmax(dim=1)
    first = Gaussian(torch.full((2, 1, 3, 4), 0.5), torch.full((2, 1, 3, 4), 0.4), 0.0)
    fitted = first.fit(candidates, weights, momentum=0.15)
    for row in range(2):
        mean = np.average(candidates[row].numpy(), axis=0, weights=weights[row].numpy())
        deviation = np.sqrt(
            np.average((candidates[row].numpy() - mean) ** 2, axis=0, weights=weights[row].numpy())
        )
        np.testing.assert_allclose(fitted.mean[row, 0], 0.85 * mean + 0.15 * 0.5, rtol=1e-5)
        np.testing.assert_allclose(fitted.std[row, 0], 0.85 * deviation + 0.15 * 0.4, rtol=1e-5)


def test_the_deviation_stays_above_its_minimum():
    first = gaussian(torch.zeros(1, 1, 2, 2), initial_std=0.5, min_std=0.05)
    fitted = first.fit(torch.ones(1, 3, 2, 2), torch.full((1, 3), 1 / 3))
    torch.testing.assert_close(fitted.std, torch.full((1, 1, 2, 2), 0.05))
    torch.testing.assert_close(fitted.mean, torch.ones(1, 1, 2, 2))


def test_categorical_draws_have_the_probabilities(generator):
    probabilities = torch.tensor([[0.7, 0.2, 0.1], [0.05, 0.05, 0.9]])[None, None, None]  # (1, 1, 1, 2, 3)
    drawn = Categorical(probabilities, 0.0).draw(torch.randn(1, 40_000, 1, 6, generator=generator))
    assert torch.equal(drawn.view(-1, 2, 3).sum(dim=-1), torch.ones(40_000, 2))
    torch.testing.assert_close(drawn.view(-1, 2, 3).mean(dim=0), probabilities[0, 0, 0], atol=0.01, rtol=0)


def test_categorical_fit_is_the_weighted_frequency_and_nothing_becomes_impossible():
    candidates = torch.tensor([[1.0, 0, 0], [0, 1, 0], [1, 0, 0]])[None, :, None]  # (1, 3, 1, 3)
    first = categorical(torch.tensor([0.0, 0, 1]).view(1, 1, 1, 1, 3), initial_std=0.3, min_std=0.06)
    torch.testing.assert_close(first.probabilities.flatten(), torch.tensor([0.1, 0.1, 0.8]))
    fitted = first.fit(candidates, torch.tensor([[0.5, 0.3, 0.2]]), momentum=0.4)
    share = 0.6 * torch.tensor([0.7, 0.3, 0.0]) + 0.4 * torch.tensor([0.1, 0.1, 0.8])
    torch.testing.assert_close(fitted.probabilities.flatten(), 0.94 * share + 0.02)
    assert fitted.centre().flatten().tolist() == [1, 0, 0]


@pytest.mark.parametrize("min_std", [0.0, 0.1])
def test_extreme_noise_gives_no_broken_draw(min_std):
    proposal = categorical(torch.tensor([1.0, 0]).view(1, 1, 1, 1, 2), initial_std=0.0, min_std=min_std)
    noise = torch.tensor([[40.0, -40.0], [-40.0, 40.0], [0.0, 0.0]])[None, :, None]
    drawn = proposal.draw(noise)
    assert torch.equal(drawn.sum(dim=-1), torch.ones(1, 3, 1)) and (proposal.probabilities > 0).all()
