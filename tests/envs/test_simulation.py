"""The next state is a function of the state and the controls."""

import numpy as np
import pytest

from jepa.envs.rendering import choose_graphics
from jepa.envs.simulation import Simulation

BOXES = """
<mujoco>
  <option iterations="3"/>
  <worldbody>
    <geom type="plane" size="5 5 .1"/>
    <body name="low" pos="0 0 .1"><freejoint/><geom type="box" size=".1 .1 .1"/></body>
    <body name="high" pos=".03 .02 .3"><freejoint/><geom type="box" size=".1 .1 .1"/></body>
    <body name="cart" pos="1 0 .1">
      <joint name="x" type="slide" axis="1 0 0"/><geom type="sphere" size=".1"/>
    </body>
  </worldbody>
  <actuator><motor joint="x" gear="3"/></actuator>
</mujoco>
"""


@pytest.fixture
def simulate():
    choose_graphics()
    mujoco = pytest.importorskip("mujoco")
    return lambda: Simulation(mujoco, mujoco.MjModel.from_xml_string(BOXES))


def test_it_does_not_matter_how_a_state_came_about(simulate):
    going, fresh = simulate(), simulate()
    for step in range(40):
        before = going.state
        control = np.array([np.sin(step)], np.float32)
        going.step(control)
        fresh.set_state(before)
        np.testing.assert_array_equal(fresh.state, before)
        fresh.step(control)
        np.testing.assert_array_equal(fresh.state, going.state)
        if step % 3 == 0:
            fresh = simulate()


def test_controls_act_and_a_state_is_a_copy(simulate):
    pushed, idle = simulate(), simulate()
    state = pushed.state
    kept = state.copy()
    pushed.step(np.array([1], np.float32))
    idle.step(np.array([0], np.float32))
    assert pushed.state[14] > idle.state[14]
    np.testing.assert_array_equal(state, kept)
