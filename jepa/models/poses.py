"""Poses of a robot's hand, and the actions that change them: batched, on the device, with gradients."""

import math

import torch
from torch import Tensor

from jepa.errors import DataError

SIZE = 7
"""Numbers of a pose: x, y, z, three angles in radians, and how far the gripper is closed, 0 to 1.

The angles turn around the fixed axes x, y and z, one after another (SciPy's ``Rotation.from_euler("xyz")``).
"""


def moved(poses: Tensor, actions: Tensor) -> Tensor:
    """Return the poses after actions: (..., 7), (..., 7) -> (..., 7) (V-JEPA 2-AC, arXiv:2506.09985, section 3.1).

    x, y, z and the gripper are added, the gripper stays between 0 and 1; the action's rotation follows the pose's.
    The middle angle comes out in [-pi / 2, pi / 2], the others in [-pi, pi]. Where the middle one is at an end, only
    the sum or the difference of the others means anything, and there is no gradient. Raises DataError for other sizes.
    """
    _check(poses, actions)
    turned = _product(_quaternion(actions[..., 3:6]), _quaternion(poses[..., 3:6]))
    gripper = (poses[..., 6:] + actions[..., 6:]).clamp(0, 1)
    return torch.cat((poses[..., :3] + actions[..., :3], _angles(turned), gripper), dim=-1)


def moves(start: Tensor, end: Tensor) -> Tensor:
    """Return the actions that lead from poses to others: (..., 7), (..., 7) -> (..., 7); the inverse of `moved`.

    Raises DataError for other sizes.
    """
    _check(start, end)
    back = _quaternion(start[..., 3:6]) * start.new_tensor([1, -1, -1, -1])
    turn = _angles(_product(_quaternion(end[..., 3:6]), back))
    return torch.cat((end[..., :3] - start[..., :3], turn, end[..., 6:] - start[..., 6:]), dim=-1)


def _quaternion(angles: Tensor) -> Tensor:
    """Return unit quaternions w, x, y, z of rotations around x, then y, then z: (..., 3) -> (..., 4)."""
    (ca, cb, cc), (sa, sb, sc) = ((angles / 2).cos().unbind(-1), (angles / 2).sin().unbind(-1))
    parts = (
        ca * cb * cc + sa * sb * sc,
        sa * cb * cc - ca * sb * sc,
        ca * sb * cc + sa * cb * sc,
        ca * cb * sc - sa * sb * cc,
    )
    return torch.stack(parts, dim=-1)


def _product(second: Tensor, first: Tensor) -> Tensor:
    """Return the rotation ``first`` and then ``second``: (..., 4), (..., 4) -> (..., 4)."""
    (w, x, y, z), (a, b, c, d) = second.unbind(-1), first.unbind(-1)
    parts = (
        w * a - x * b - y * c - z * d,
        w * b + x * a + y * d - z * c,
        w * c - x * d + y * a + z * b,
        w * d + x * c - y * b + z * a,
    )
    return torch.stack(parts, dim=-1)


def _angles(quaternion: Tensor) -> Tensor:
    """Undo `_quaternion`: (..., 4) -> (..., 3).

    Half sum and half difference of the outer angles are read apart, so that the rotation is exact however near the
    middle angle is to a right one, where each outer angle alone is not (doi:10.1371/journal.pone.0276302).
    """
    w, x, y, z = quaternion.unbind(-1)
    half_sum, half_difference = torch.atan2(x + z, w - y), torch.atan2(x - z, w + y)
    middle = 2 * torch.atan2(torch.hypot(w + y, x - z), torch.hypot(w - y, x + z)) - math.pi / 2
    outer = torch.stack((half_sum + half_difference, half_sum - half_difference), dim=-1)
    outer = outer - 2 * math.pi * (outer / (2 * math.pi)).round()
    return torch.stack((outer[..., 0], middle, outer[..., 1]), dim=-1)


def _check(*poses: Tensor) -> None:
    """Refuse anything but poses."""
    for one in poses:
        if one.shape[-1:] != (SIZE,) or not one.is_floating_point():
            raise DataError(
                f"a pose, or its change, is {SIZE} float numbers (x, y, z, three angles, gripper), got "
                f"{one.dtype} {tuple(one.shape)}"
            )
