import math

import numpy as np
import pytest
import torch

from jepa.errors import DataError
from jepa.models.poses import moved, moves

COUNT = 4000


def rotation():
    return pytest.importorskip("scipy.spatial.transform").Rotation


def make_poses(dtype, *, middle=None, spread=math.pi, seed=0):
    """Poses with any angles; ``middle`` puts the middle angle there, up to 1e-5."""
    draw = torch.Generator().manual_seed(seed)
    poses = torch.rand(COUNT, 7, generator=draw, dtype=torch.float64) * 2 - 1
    poses[:, 3:6] *= spread
    if middle is not None:
        poses[:, 4] = middle + 1e-5 * poses[:, 4] * (torch.arange(COUNT) % 2)  # every second one exactly
    poses[:, 6] = poses[:, 6].abs()
    return poses.to(dtype)


def matrices(angles):
    return rotation().from_euler("xyz", angles.double().numpy()).as_matrix()


@pytest.mark.filterwarnings("ignore:Gimbal lock:UserWarning")
@pytest.mark.parametrize("middle", [None, math.pi / 2, -math.pi / 2])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 3e-6)])
def test_composed_poses_are_scipys(dtype, tolerance, middle):
    poses, actions = make_poses(dtype, middle=middle), make_poses(dtype, seed=1)
    if middle is not None:
        actions[:, 3:6] *= (torch.arange(COUNT) % 4 < 2)[:, None]  # half of them stay at the lock
    found = moved(poses, actions)
    assert found.dtype == dtype
    wanted = matrices(actions[:, 3:6]) @ matrices(poses[:, 3:6])
    np.testing.assert_allclose(matrices(found[:, 3:6]), wanted, atol=tolerance)
    torch.testing.assert_close(found[:, :3], poses[:, :3] + actions[:, :3])
    torch.testing.assert_close(found[:, 6], (poses[:, 6] + actions[:, 6]).clamp(0, 1))


def test_angles_are_scipys_away_from_the_lock():
    """As numbers, not only as rotations: the predictor reads the numbers."""
    poses = make_poses(torch.float64)
    actions = 0.1 * make_poses(torch.float64, seed=1)
    found = moved(poses, actions)[:, 3:6]
    composed = matrices(actions[:, 3:6]) @ matrices(poses[:, 3:6])
    wanted = torch.from_numpy(rotation().from_matrix(composed).as_euler("xyz"))
    clear = (wanted[:, 1].abs() < 1.5) & (wanted.abs().amax(dim=1) < 3.14)  # pi may be written as -pi
    assert int(clear.sum()) > 0.9 * COUNT
    torch.testing.assert_close(found[clear], wanted[clear], atol=1e-9, rtol=0)
    assert (
        float(found[:, 1].abs().max()) <= math.pi / 2 + 1e-12 and float(found.abs().max()) <= math.pi + 1e-12
    )


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 3e-6)])
def test_moves_are_what_leads_from_one_pose_to_the_other(dtype, tolerance):
    start, end = make_poses(dtype), make_poses(dtype, seed=1)
    actions = moves(start, end)
    wanted = matrices(end[:, 3:6]) @ np.swapaxes(matrices(start[:, 3:6]), 1, 2)
    np.testing.assert_allclose(matrices(actions[:, 3:6]), wanted, atol=tolerance)
    back = moved(start, actions)
    np.testing.assert_allclose(matrices(back[:, 3:6]), matrices(end[:, 3:6]), atol=2 * tolerance)
    torch.testing.assert_close(back[:, [0, 1, 2, 6]], end[:, [0, 1, 2, 6]])


def test_gradients_are_right_away_from_the_lock():
    poses = make_poses(torch.float64, spread=1.2)[:6].requires_grad_()
    actions = (0.1 * make_poses(torch.float64, seed=1))[:6].requires_grad_()
    assert torch.autograd.gradcheck(moved, (poses, actions))
    assert torch.autograd.gradcheck(moves, (poses, poses.detach() + actions))


def test_an_arm_at_rest_has_gradients():
    """No angle at all is where a search starts; only the lock has none."""
    actions = torch.zeros(7, requires_grad=True)
    half_closed = torch.tensor([0, 0, 0, 0, 0, 0, 0.5])
    moved(half_closed, actions).sum().backward()
    torch.testing.assert_close(actions.grad, torch.ones(7))


def test_any_batch_shape_and_broadcasting():
    poses, actions = make_poses(torch.float64)[:12], make_poses(torch.float64, seed=1)[:12]
    flat = moved(poses, actions)
    torch.testing.assert_close(moved(poses.view(2, 3, 2, 7), actions.view(2, 3, 2, 7)).view(12, 7), flat)
    torch.testing.assert_close(moved(poses[:1], actions)[3], moved(poses[0], actions[3]))


@pytest.mark.parametrize("bad", [torch.zeros(3, 6), torch.zeros(()), torch.zeros(3, 7, dtype=torch.long)])
def test_anything_but_poses_is_refused(bad):
    for change in (moved, moves):
        with pytest.raises(DataError, match="is 7 float numbers"):
            change(torch.zeros(7), bad)
