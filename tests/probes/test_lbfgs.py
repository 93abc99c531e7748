import torch

from jepa.probes.lbfgs import minimise


class Quadratics:
    """Bowls 1/2 (x - centre)' diag(curvature) (x - centre), one per row; it counts its calls."""

    def __init__(self, curvature, centre):
        self.curvature, self.centre, self.calls = curvature, centre, 0

    def __call__(self, point):
        self.calls += 1
        gradient = self.curvature * (point - self.centre)
        return (gradient * (point - self.centre)).sum(1) / 2, gradient


def test_learns_the_curvature_where_a_gradient_step_would_crawl():
    bowl = Quadratics(torch.tensor([[0.002, 0.02, 0.1, 0.5, 1.0]]), torch.tensor([[3.0, -2, 1, 5, -4]]))
    found = minimise(bowl, torch.zeros(1, 5), iterations=50, tolerance=1e-6)
    torch.testing.assert_close(found, bowl.centre, atol=1e-3, rtol=0)
    assert bowl.calls <= 25  # the flat direction alone would take thousands of gradient steps


def test_problems_do_not_mix(generator):
    curvature = 0.05 + torch.rand(3, 6, generator=generator)
    curvature[1] *= 50  # this one halves its steps, and only this one
    centre = torch.randn(3, 6, generator=generator)
    start = torch.zeros(3, 6)
    together = minimise(Quadratics(curvature, centre), start, iterations=3, tolerance=1e-6)
    for row in range(3):
        one = slice(row, row + 1)
        alone = minimise(Quadratics(curvature[one], centre[one]), start[one], iterations=3, tolerance=1e-6)
        torch.testing.assert_close(together[one], alone, atol=1e-5, rtol=1e-5)


def test_steep_bowls_are_entered_by_halving():
    bowl = Quadratics(torch.tensor([[900.0, 1.0]]), torch.tensor([[1.0, 1.0]]))
    found = minimise(bowl, torch.zeros(1, 2), iterations=60, tolerance=1e-4)
    torch.testing.assert_close(found, bowl.centre, atol=1e-3, rtol=0)


def test_rests_at_once_at_the_bottom():
    bowl = Quadratics(torch.ones(2, 3), torch.zeros(2, 3))
    assert torch.equal(minimise(bowl, torch.zeros(2, 3), iterations=50, tolerance=1e-6), torch.zeros(2, 3))
    assert bowl.calls == 1
