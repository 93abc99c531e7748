"""The physics of PushT as a pure function of the state: a disc driven by a PD controller pushes a T."""

from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jepa.runtime.extras import need

# Sizes and controller are those of Diffusion Policy's PushT (arXiv:2303.04137), in pixels of a 512 x 512 window.
WINDOW = 512
AGENT_RADIUS = 15
UNIT = 30
"""Thickness of the T's bars."""
BARS = ((-2 * UNIT, 0, 2 * UNIT, UNIT), (-UNIT / 2, UNIT, UNIT / 2, 4 * UNIT))
"""The T's two bars as left, top, right, bottom in the block's own frame, whose origin is at the bar's top middle."""
CENTRE_OF_GRAVITY = (0.0, 1.5 * UNIT)
INNER = (7, 504)
"""The walls' inner faces, which hold the block but not the agent."""
WALL_RADIUS = 100
"""Half the walls' thickness. The published walls are 4 pixels thick, and a block that is pushed hard gets through."""
MASS = 1.0
STIFFNESS, DAMPING = 100.0, 20.0
"""Of the controller that draws the agent to its target."""
PHYSICS_STEPS = 10
"""Of .01 s in each control step of .1 s."""
SECONDS = 0.01
REACH = 100.0
"""Pixels from the agent to its target for an action of 1 (stable-worldmodel)."""


def engine() -> ModuleType:
    """Return pymunk. Raises RunError where it is missing."""
    return need("pymunk", extra="pusht")


def advance(
    pymunk: ModuleType, state: NDArray[np.float64], action: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Advance by one control step: (7,), (2,) in [-1, 1] -> (7,).

    A state is (agent x, agent y, block x, block y, block angle, agent velocity x, agent velocity y). The block loses
    its speed in every physics step (the space's damping is 0), so these seven numbers are the whole state, but for
    two things that an engine carries from one step to the next, and which would make the result depend on history:
    cached contacts and the movement that the last impulse causes. A new space for each step has no contacts, and the
    last movement is carried out at the end of the step instead of the beginning of the next.
    """
    space, agent, block = _build(pymunk, state)
    target = np.clip(state[:2] + REACH * action, 0, WINDOW)
    for _ in range(PHYSICS_STEPS):
        x, y = agent.position
        vx, vy = agent.velocity
        agent.velocity = (
            vx + (STIFFNESS * (target[0] - x) - DAMPING * vx) * SECONDS,
            vy + (STIFFNESS * (target[1] - y) - DAMPING * vy) * SECONDS,
        )
        space.step(SECONDS)
    pymunk.Body.update_position(block, SECONDS)
    angle = block.angle % (2 * np.pi)
    return np.array([*agent.position, *block.position, angle, *agent.velocity], dtype=np.float64)


def _build(pymunk: ModuleType, state: NDArray[np.float64]) -> tuple[Any, Any, Any]:
    """Return a new space with walls, agent and block in ``state``."""
    space = pymunk.Space()
    space.gravity, space.damping = (0, 0), 0
    low, high = INNER[0] - WALL_RADIUS, INNER[1] + WALL_RADIUS
    ends = ((low, high), (low, low), (high, low), (high, high), (low, high))
    walls = [
        pymunk.Segment(space.static_body, a, b, WALL_RADIUS) for a, b in zip(ends[:-1], ends[1:], strict=True)
    ]
    agent = pymunk.Body(body_type=pymunk.Body.KINEMATIC)
    agent.position, agent.velocity = tuple(state[:2]), tuple(state[5:])
    boxes = [((left, top), (right, top), (right, low), (left, low)) for left, top, right, low in BARS]
    # The published body has twice the upper bar's moment, not the sum of both bars'.
    block = pymunk.Body(MASS, 2 * pymunk.moment_for_poly(MASS, boxes[0]))
    shapes = [pymunk.Poly(block, box) for box in boxes]
    block.center_of_gravity = CENTRE_OF_GRAVITY
    # The angle first: setting it turns the block about its centre of gravity and would move its origin.
    block.angle = float(state[4])
    block.position = tuple(state[2:4])
    # The order matters where a block is squeezed between agent and wall: so it goes into the agent, not the wall.
    space.add(block, *shapes, *walls, agent, pymunk.Circle(agent, AGENT_RADIUS))
    return space, agent, block


def clearance(state: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how far points are from the T, negative inside: (7,), (..., 2) -> (...), in pixels."""
    cos, sin = np.cos(state[4]), np.sin(state[4])
    dx, dy = points[..., 0] - state[2], points[..., 1] - state[3]
    x, y = cos * dx + sin * dy, cos * dy - sin * dx  # in the block's own frame
    found = []
    for left, _, right, bottom in BARS:  # both from the top, so that no seam is between them
        across = np.abs(x - (left + right) / 2) - (right - left) / 2
        down = np.abs(y - bottom / 2) - bottom / 2
        outside = np.hypot(np.maximum(across, 0), np.maximum(down, 0))
        found.append(outside + np.minimum(np.maximum(across, down), 0))
    return np.minimum(*found)


def outline(state: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the corners of the T's bars in the window, (7,) -> (8, 2)."""
    corners = np.array(
        [(x, y) for left, top, right, bottom in BARS for x in (left, right) for y in (top, bottom)]
    )
    cos, sin = np.cos(state[4]), np.sin(state[4])
    return state[2:4] + corners @ np.array([[cos, sin], [-sin, cos]])


def centre(state: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the block's centre of gravity in the window, (7,) -> (2,)."""
    x, y = CENTRE_OF_GRAVITY
    cos, sin = np.cos(state[4]), np.sin(state[4])
    return state[2:4] + np.array([cos * x - sin * y, sin * x + cos * y])
