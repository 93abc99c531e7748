"""Configs lead to environments, and names to gymnasium."""

import subprocess
import sys

import gymnasium
import pytest

from jepa.config.envs import PushTEnv, TwoRoomEnv
from jepa.envs.pusht import PushT
from jepa.envs.registry import make_env, register
from jepa.envs.two_room import TwoRoom


def test_a_config_leads_to_its_environment():
    env = make_env(TwoRoomEnv(kind="two-room", size=48))
    assert isinstance(env, TwoRoom) and env.observation_space["pixels"].shape == (48, 48, 3)
    assert env.max_episode_steps == 100
    assert make_env(TwoRoomEnv(kind="two-room"), steps=7).max_episode_steps == 7
    pytest.importorskip("pymunk")
    assert isinstance(make_env(PushTEnv(kind="pusht")), PushT)


def test_names_take_the_configs_arguments():
    register()
    env = gymnasium.make("jepa/TwoRoom-v0", size=24, layout="shifted", cross=False)
    room = env.unwrapped
    assert room.config.layout == "shifted" and not room.cross
    assert env.reset(seed=0)[0]["pixels"].shape == (24, 24, 3)
    pytest.importorskip("pymunk")
    assert gymnasium.make("jepa/PushT-v0", draw_goal=True).unwrapped.config.draw_goal


def test_an_import_registers_nothing_and_needs_no_torch():
    code = (
        "import sys, gymnasium, jepa.envs.registry, jepa.envs.policies\n"
        "assert not [name for name in gymnasium.registry if name.startswith('jepa')]\n"
        "assert 'pymunk' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
