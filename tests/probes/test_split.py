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


def test_keeps_the_shares_of_labels_and_the_level_of_numbers():
    draw = torch.Generator().manual_seed(0)
    groups = [f"v{i // 4}" for i in range(200)]
    rare = (
        (torch.rand(50, 3, generator=draw) < torch.tensor([0.1, 0.5, 0.02])).float().repeat_interleave(4, 0)
    )
    level = torch.randn(50, 2, generator=draw).repeat_interleave(4, 0)
    for table in (rare, level):
        fitted, held_out = split_by_group(table, groups, fraction=0.2, seed=0)
        assert not {groups[i] for i in fitted} & {groups[i] for i in held_out}
        assert len(fitted) + len(held_out) == 200
        gap = (table[fitted].mean(0) - table[held_out].mean(0)).abs().sum()
        blind = [
            (table[order[40:]].mean(0) - table[order[:40]].mean(0)).abs().sum()
            for order in (
                torch.randperm(50, generator=draw)[:, None].mul(4).add(torch.arange(4)).flatten()
                for _ in range(50)
            )
        ]
        assert gap < torch.stack(blind).quantile(0.2)
