"""Pictures need no screen, and where they need something else it is said."""

import os
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from jepa.envs.rendering import Camera, choose_graphics
from jepa.errors import RunError

BALL = """
<mujoco>
  <worldbody>
    <body name="ball">
      <joint name="x" type="slide" axis="1 0 0"/>
      <geom type="sphere" size=".2" rgba="1 1 1 1"/>
    </body>
    <camera name="left" pos="0 0 5" quat="1 0 0 0"/>
  </worldbody>
</mujoco>
"""


@pytest.fixture(scope="module")
def mujoco():
    choose_graphics()
    return pytest.importorskip("mujoco")


def centre_of(picture):
    light = picture[..., 0].astype(float)
    rows, columns = np.indices(light.shape)
    return (light * columns).sum() / light.sum(), (light * rows).sum() / light.sum()


@pytest.mark.skipif(
    sys.platform != "linux", reason="other systems have a default that draws without a screen"
)
def test_the_users_choice_of_graphics_stays(monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "osmesa")
    choose_graphics()
    assert os.environ["MUJOCO_GL"] == "osmesa"
    monkeypatch.delenv("MUJOCO_GL")
    choose_graphics()
    assert os.environ["MUJOCO_GL"] == "egl"


def test_missing_graphics_are_said(monkeypatch):
    def fail(*_):
        raise RuntimeError("no display")

    mujoco = ModuleType("mujoco")
    mujoco.MjvCamera = mujoco.MjvOption = SimpleNamespace
    mujoco.mj_kinematics = mujoco.mj_comPos = mujoco.mj_camlight = lambda *_: None
    mujoco.FatalError, mujoco.Renderer = ValueError, fail
    quality, screen = SimpleNamespace(), SimpleNamespace(offwidth=640, offheight=480)
    model = SimpleNamespace(vis=SimpleNamespace(quality=quality, global_=screen))
    monkeypatch.setenv("MUJOCO_GL", "wgl")
    with pytest.raises(
        RunError, match=r"cannot draw with MUJOCO_GL=wgl \(no display\); set MUJOCO_GL to egl"
    ):
        Camera(mujoco, model, 64).draw(None)


@pytest.mark.parametrize("size", [24, 64, 128, 700])
def test_every_size_shows_the_ball_where_it_is(mujoco, size):
    model = mujoco.MjModel.from_xml_string(BALL)
    data = mujoco.MjData(model)
    camera = Camera(mujoco, model, size)
    camera.from_above(extent=4)
    data.qpos[0] = 1
    picture = camera.draw(data)
    assert picture.shape == (size, size, 3) and picture.dtype == np.uint8
    middle = (size - 1) / 2
    assert centre_of(picture) == pytest.approx((middle + size / 4, middle), abs=0.02 * size)
    camera.is_upside_down = True
    np.testing.assert_array_equal(camera.draw(data)[::-1, ::-1], picture)
    camera.close()
    camera.close()


def test_motion_below_a_pixel_is_seen_in_small_pictures(mujoco):
    model = mujoco.MjModel.from_xml_string(BALL)
    data = mujoco.MjData(model)
    camera = Camera(mujoco, model, 32)
    camera.from_fixed("left")
    pictures = []
    for place in np.linspace(0, 0.1, 5):  # of a pixel's width: about a fifth each
        data.qpos[0] = place
        pictures.append(camera.draw(data))
    assert len({picture.tobytes() for picture in pictures}) >= 4
    camera.close()
