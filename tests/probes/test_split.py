import pytest
import torch

from jepa.probes.split import split_by_group


@pytest.mark.parametrize("seed", range(4))
def test_cuts_every_sample_to_one_side_and_no_group_in_two(seed):
    draw = torch.Generator().manual_seed(seed)
    target = torch.randint(0, 5, (200,), generator=draw)
    groups = [f"v{int(i)}" for i in torch.randint(0, 40, (200,), generator=draw)]
    fitted, held_out = split_by_group(target, groups, fraction=0.2, seed=seed)
    assert sorted([*fitted.tolist(), *held_out.tolist()]) == list(range(200))
    assert not {groups[i] for i in fitted} & {groups[i] for i in held_out}
    assert 30 <= len(held_out) <= 60


def test_keeps_the_shares_of_the_classes():
    target = torch.tensor([0] * 160 + [1] * 40)
    fitted, held_out = split_by_group(target, None, fraction=0.2, seed=0)
    for side in (fitted, held_out):
        assert float((target[side] == 1).float().mean()) == pytest.approx(0.2, abs=0.03)


def test_depends_on_the_seed_alone():
    target = torch.arange(100) % 3
    first, again, other = (split_by_group(target, None, fraction=0.2, seed=s)[1] for s in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
