"""Pictures of MuJoCo models, drawn without a screen and without what makes that slow."""

import os
import sys
import weakref
from types import ModuleType
from typing import Any

import numpy as np

from jepa.envs.base import Image
from jepa.errors import DataError, RunError
from jepa.runtime.extras import need

FINE_PX = 128
"""Smaller images are drawn at least this large and averaged, so that motion below a pixel can be seen."""


def choose_graphics() -> None:
    """Let MuJoCo draw without a screen: on Linux by EGL, where MUJOCO_GL does not say otherwise.

    MuJoCo reads it once, while it is imported.
    """
    if sys.platform == "linux":
        os.environ.setdefault("MUJOCO_GL", "egl")


def load_mujoco(*, extra: str) -> ModuleType:
    """Import mujoco so that it draws without a screen. Raises RunError where it cannot be imported."""
    choose_graphics()
    return need("mujoco", extra=extra)


def draw_plainly(model: Any) -> None:
    """Turn shadows and multisampling off, before the graphics context is made.

    On a CPU they take nearly all of the time. This changes pixels: compare images only with images drawn so.
    """
    model.vis.quality.shadowsize = 0
    model.vis.quality.offsamples = 0


class Camera:
    """One view of a MuJoCo model, as square images, drawn plainly and without reflections.

    The first picture makes the graphics context.
    """

    def __init__(self, mujoco: ModuleType, model: Any, size: int) -> None:
        self.size = size
        self._mujoco = mujoco
        self._model = model
        self._renderer: Any = None
        self._samples = max(1, FINE_PX // size)  # along each axis of a pixel
        edge = size * self._samples
        draw_plainly(model)
        model.vis.global_.offwidth = max(edge, model.vis.global_.offwidth)
        model.vis.global_.offheight = max(edge, model.vis.global_.offheight)
        self.view: Any = mujoco.MjvCamera()
        self.look: Any = mujoco.MjvOption()
        self.is_upside_down = False
        """Whether the view is turned by half a circle before it is shown."""

    def from_above(self, extent: float) -> None:
        """Look straight down, without perspective, on ``extent`` units around the origin, y upwards."""
        self._model.vis.global_.orthographic = 1
        self._model.vis.global_.fovy = extent  # in units of length where there is no perspective
        self.view.azimuth, self.view.elevation = 90, -90
        self.view.lookat[:] = 0
        self.view.distance = 2 * extent

    def from_fixed(self, name: str) -> None:
        """Look through a camera of the model. Raises DataError where it has none of that name."""
        kind = self._mujoco.mjtObj.mjOBJ_CAMERA
        names = [self._mujoco.mj_id2name(self._model, kind, i) for i in range(self._model.ncam)]
        if name not in names:
            raise DataError(f"camera {name!r} is unknown; this model has {', '.join(names)}")
        self.view.type = self._mujoco.mjtCamera.mjCAMERA_FIXED
        self.view.fixedcamid = names.index(name)

    def draw(self, data: Any) -> Image:
        """Draw the positions in ``data``, whose other fields may be out of date: -> (size, size, 3)."""
        self._mujoco.mj_kinematics(self._model, data)
        self._mujoco.mj_comPos(self._model, data)  # for cameras that follow a body
        self._mujoco.mj_camlight(self._model, data)
        if self._renderer is None:
            self._renderer = self._start()
            # Also when Python ends: later, the graphics library is gone, and freeing fails with a long complaint.
            self._free = weakref.finalize(self, self._renderer.close)
        self._renderer.update_scene(data, self.view, self.look)
        image: Image = self._renderer.render()
        if self.is_upside_down:
            image = image[::-1, ::-1]
        k = self._samples
        if k == 1:
            return np.ascontiguousarray(image)
        blocks = image.reshape(self.size, k, self.size, k, 3)
        return (blocks.mean(axis=(1, 3)) + 0.5).astype(np.uint8)  # (size, size, 3)

    def close(self) -> None:
        """Free the graphics context; it may be called twice."""
        if self._renderer is not None:
            self._free()
            self._renderer = None

    def _start(self) -> Any:
        """Make the graphics context. Raises RunError where there is no graphics library for it."""
        edge = self.size * self._samples
        try:
            renderer = self._mujoco.Renderer(self._model, edge, edge)
        # What the back ends raise where a library or a device is missing.
        except (AttributeError, ImportError, RuntimeError, self._mujoco.FatalError) as error:
            chosen = os.environ.get("MUJOCO_GL")
            raise RunError(
                f"MuJoCo cannot draw with MUJOCO_GL={chosen} ({error}); set MUJOCO_GL to egl, osmesa or glfw, "
                f"whichever this machine has, before mujoco is imported"
            ) from error
        renderer.scene.flags[self._mujoco.mjtRndFlag.mjRND_REFLECTION] = 0  # draws everything twice
        return renderer
