import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces

from jepa.config.world_model import WorldModelConfig
from jepa.errors import ConfigError, DataError, RunError
from jepa.models.world_model import build_world_model
from jepa.planning import CEM, ICEM, MPC, GoalDistance, Gradient, RandomShooting, Refine
from tests.planning.problems import PointEnv, PointModel, draw

QUICK = CEM(samples=64, iterations=4, elites=8)
BOX = PointEnv().action_space


def policy_for(model, solver=QUICK, **settings):
    space = spaces.Discrete(4) if model.discrete else BOX
    settings = {"horizon": 4, "action_space": space} | settings
    return MPC(model, solver, GoalDistance(steps="all"), **settings)


def drive(env, policy, goal, steps=24):
    observation, _ = env.reset(seed=3)
    policy.reset(goal)
    for _ in range(steps):
        observation, *_ = env.step(policy.act(observation))
    return observation["proprio"]


@pytest.mark.parametrize("discrete", [False, True])
@pytest.mark.parametrize("frame_skip", [1, 2])
def test_a_goal_image_is_reached_in_a_plain_loop(frame_skip, discrete):
    model = PointModel(frame_skip, discrete=discrete)
    solver = CEM(samples=64, iterations=4, elites=8, min_std=0.2) if discrete else QUICK
    reached = drive(PointEnv(discrete), policy_for(model, solver), draw((0.82, 0.17)))
    assert np.abs(reached - (0.82, 0.17)).max() < (0.07 if discrete else 0.04)


@pytest.mark.parametrize("discrete", [False, True])
def test_each_environment_of_a_vector_reaches_its_own_goal(discrete):
    goals = np.array([(0.2, 0.8), (0.9, 0.5), (0.5, 0.1)])
    envs = gymnasium.vector.SyncVectorEnv([lambda: PointEnv(discrete)] * 3)
    solver = CEM(samples=64, iterations=4, elites=8, min_std=0.2) if discrete else QUICK
    policy = policy_for(PointModel(discrete=discrete), solver)
    reached = drive(envs, policy, np.stack([draw(goal) for goal in goals]))
    assert np.abs(reached - goals).max() < (0.07 if discrete else 0.02)


def test_actions_have_the_environments_shape_and_kind():
    pixels = draw((0.5, 0.5))
    for model, kind, single in (
        (PointModel(frame_skip=2), np.float32, (2,)),
        (PointModel(frame_skip=2, discrete=True), np.int64, ()),
    ):
        policy = policy_for(model)
        policy.reset(pixels)
        action = policy.act(pixels)
        assert action.dtype == kind and action.shape == single
        policy.reset(pixels[None])
        action = policy.act({"pixels": pixels[None]})
        assert action.dtype == kind and action.shape == (1, *single)


def test_goal_and_frames_are_encoded_once_and_never_per_candidate():
    model = PointModel(frame_skip=2, history=3)
    policy = policy_for(model, replan_every=2)
    drive(PointEnv(), policy, draw((0.5, 0.5)), steps=12)  # 6 model steps, 3 decisions
    # The goal; then at each decision the frames that are new: at model steps 0, (1, 2), (3, 4).
    assert model.encoded == [(1, 1), (1, 1), (1, 2), (1, 2)]
    assert len(policy.seconds) == 3 and all(0 < seconds < 5 for seconds in policy.seconds)
    assert model.candidates == 3 * (4 * 64 + 1)


class Recorder(MPC):
    """Notes what was executed."""

    def act(self, observation, **settings):
        action = super().act(observation, **settings)
        self.acted.append(action)
        return action


@pytest.mark.parametrize("replan_every", [1, 2])
@pytest.mark.parametrize("history", [1, 3])
def test_the_context_is_the_last_model_steps_and_what_was_done_between(history, replan_every):
    model = PointModel(frame_skip=2, history=history, proprio_size=2)
    policy = Recorder(model, QUICK, GoalDistance(), horizon=4, action_space=BOX, replan_every=replan_every)
    policy.acted = []
    policy.reset(draw((0.9, 0.9)))
    env = PointEnv()
    observation, _ = env.reset(seed=0)
    seen = []
    for _ in range(9):  # decisions at steps 0, 2 or 4, ..., 8
        seen.append(observation["proprio"])
        observation, *_ = env.step(policy.act(observation))
    z, past_actions, proprio = model.contexts[-1]
    frames = min(history, 5)
    expected = torch.from_numpy(np.stack(seen[8::-2][:frames][::-1]))
    torch.testing.assert_close(z[0, :, 0], expected, atol=1 / 255, rtol=0)
    torch.testing.assert_close(proprio[0], expected)
    if history == 1:
        assert past_actions is None
    else:
        done = np.concatenate(policy.acted[4:8]).reshape(
            2, 4
        )  # two model steps of two actions of two numbers
        np.testing.assert_array_equal(past_actions[0].numpy(), done)
    assert model.contexts[0][0].shape[1] == 1 and model.contexts[0][1] is None


def test_a_search_may_start_from_fewer_frames_than_the_world_model_attends_to():
    model = PointModel(frame_skip=2, history=3, proprio_size=2)
    policy = policy_for(model)
    policy.context_frames = 1  # as V-JEPA 2-AC is planned with
    drive(PointEnv(), policy, draw((0.5, 0.5)), steps=12)
    assert {z.shape[1] for z, _, _ in model.contexts} == {1}
    assert all(past is None and proprio.shape[1] == 1 for _, past, proprio in model.contexts)
    policy.context_frames = 5  # never more than it attends to
    drive(PointEnv(), policy, draw((0.5, 0.5)), steps=12)
    assert model.contexts[-1][0].shape[1] == 3


def test_a_plan_is_followed_until_the_next_decision():
    model = PointModel()
    policy = policy_for(model, replan_every=3)
    pixels = draw((0.2, 0.3))
    policy.reset(draw((0.9, 0.9)))
    actions = [policy.act(pixels) for _ in range(3)]
    np.testing.assert_array_equal(np.stack(actions), policy.plan.actions[0, :3].numpy())
    assert len(policy.seconds) == 1
    policy.act(pixels)
    assert len(policy.seconds) == 2


def test_the_next_search_starts_from_the_rest_of_the_last_plan():
    calls = []

    class Spy(RandomShooting):
        def solve(self, cost, **settings):
            calls.append(settings["warm_start"])
            return super().solve(cost, **settings)

    for warm_start in (True, False):
        policy = policy_for(PointModel(), Spy(samples=8), warm_start=warm_start, replan_every=2)
        for _ in range(2):  # a reset forgets the plan
            policy.reset(draw((0.9, 0.9)))
            for step in range(3):
                policy.act(draw((0.2, 0.3)))
                if step == 0:
                    first = policy.plan.actions
    warm, cold = calls[:4], calls[4:]
    assert warm[0] is None and warm[2] is None and cold == [None] * 4
    assert warm[1].shape == first.shape


def test_the_shifted_plan_is_what_comes_back():
    policy = policy_for(PointModel(), replan_every=2)
    policy.reset(draw((0.9, 0.9)))
    given = []
    solve = policy.solver.solve

    class Spy:
        def solve(self, cost, **settings):
            given.append(settings["warm_start"])
            return solve(cost, **settings)

    policy.solver = Spy()
    policy.act(draw((0.2, 0.3)))
    plan = policy.plan.actions
    for _ in range(2):
        policy.act(draw((0.2, 0.3)))
    torch.testing.assert_close(given[1], torch.cat([plan[:, 2:], plan[:, -1:], plan[:, -1:]], dim=1))


def test_plans_depend_on_the_environments_seed_alone():
    pixels = np.stack([draw(p) for p in ((0.1, 0.2), (0.6, 0.4), (0.3, 0.9))])
    goals = pixels[::-1].copy()
    policy = policy_for(PointModel(), ICEM(samples=64, iterations=3, elites=8))

    def acted(rows, seeds, steps=3):
        policy.reset(goals[rows], seeds=seeds)
        return np.stack([policy.act(pixels[rows]) for _ in range(steps)])

    together = acted([0, 1, 2], [7, 8, 9])
    for row, seed in enumerate((7, 8, 9)):
        np.testing.assert_allclose(together[:, row], acted([row], [seed])[:, 0], rtol=1e-5)
    again = policy_for(PointModel(), seed=1)
    again.reset(goals)
    first = again.act(pixels)
    again.reset(goals)
    assert not np.array_equal(first, again.act(pixels))  # another episode, other candidates
    same = policy_for(PointModel(), seed=1)
    same.reset(goals)
    np.testing.assert_array_equal(first, same.act(pixels))


def test_finished_environments_are_not_planned_for_and_change_no_other():
    pixels = np.stack([draw(p) for p in ((0.1, 0.2), (0.6, 0.4), (0.3, 0.9))])
    goals = pixels[::-1].copy()

    def acted(finished):
        model = PointModel(history=2)
        policy = policy_for(model)
        policy.reset(goals, seeds=[7, 8, 9])
        actions = [
            policy.act(pixels),
            policy.act(pixels, finished=finished),
            policy.act(pixels, finished=finished),
        ]
        return np.stack(actions), model

    everyone, _ = acted(None)
    some, model = acted(np.array([False, True, False]))
    np.testing.assert_allclose(some[:, [0, 2]], everyone[:, [0, 2]], rtol=1e-5)
    assert (some[1:, 1] == 0).all() and model.contexts[-1][0].shape[0] == 2
    none, _ = acted(np.array([True, True, True]))
    assert (none[1:] == 0).all()
    with pytest.raises(DataError, match=r"finished is \(2,\) -- it must hold one bool for each of 3"):
        acted(np.array([True, False]))


def test_a_reused_observation_array_does_no_harm():
    """Some vector environments write each observation into the same memory."""
    model = PointModel(history=2)
    policy = policy_for(model, replan_every=2)
    pixels = draw((0.25, 0.75))
    policy.reset(draw((0.9, 0.9)))
    for position in ((0.25, 0.75), (0.5, 0.5), (1.0, 0.0)):
        pixels[...] = draw(position)
        policy.act(pixels)
    frames = model.contexts[-1][0][0, :, 0]
    torch.testing.assert_close(frames, torch.tensor([[0.5, 0.5], [1.0, 0.0]]), atol=1 / 255, rtol=0)


def test_gradients_reach_the_actions_inside_inference_mode():
    policy = policy_for(PointModel(), Gradient(restarts=2, iterations=20))
    with torch.inference_mode():
        reached = drive(PointEnv(), policy, draw((0.3, 0.6)), steps=12)
    assert np.abs(reached - (0.3, 0.6)).max() < 0.02


def test_a_goal_of_another_resolution_is_fine_and_of_another_aspect_is_not():
    policy = policy_for(PointModel())
    policy.reset(draw((0.5, 0.5), size=(16, 16)))
    policy.act(draw((0.1, 0.1)))
    policy.reset(draw((0.5, 0.5), size=(16, 8)))
    with pytest.raises(
        DataError, match="the goal has 16 x 8 pixels, the observation 8 x 8 -- .* same aspect"
    ):
        policy.act(draw((0.1, 0.1)))


@pytest.mark.parametrize(
    "goal", [np.zeros((8, 8), np.uint8), np.zeros((8, 8, 3), np.float32), np.zeros((3, 8, 8), np.uint8)]
)
def test_goals_that_are_no_images_are_refused(goal):
    with pytest.raises(DataError, match=r"it must be a uint8 image \(H, W, 3\)"):
        policy_for(PointModel()).reset(goal)


def test_observations_that_do_not_fit_are_refused():
    policy = policy_for(PointModel(proprio_size=3))
    pixels = draw((0.1, 0.1))
    with pytest.raises(RunError, match="act was called before reset"):
        policy.act(pixels)
    policy.reset(pixels)
    with pytest.raises(DataError, match=r"\['pixels'\] and lacks \['proprio'\]"):
        policy.act(pixels)
    with pytest.raises(DataError, match=r"proprio is \(1, 2\) -- the world model needs \(B, P\) = \(1, 3\)"):
        policy.act({"pixels": pixels, "proprio": np.zeros(2)})
    with pytest.raises(DataError, match=r"pixels are torch.uint8 \(1, 1, 8, 8, 3\) -- they must be"):
        policy.act({"pixels": pixels[None], "proprio": np.zeros(3)})
    with pytest.raises(DataError, match=r"lacks \['pixels'\]"):
        policy.act({"image": pixels, "proprio": np.zeros(3)})
    policy.reset(np.stack([pixels, pixels]))
    with pytest.raises(DataError, match=r"\(3, 8, 8, 3\) -- .* for the 2 environments that got a goal"):
        policy.act({"pixels": np.stack([pixels] * 3), "proprio": np.zeros((3, 3))})


def test_policies_that_cannot_work_are_refused():
    with pytest.raises(ConfigError, match="horizon 0 -- a plan needs 1 model step"):
        policy_for(PointModel(), horizon=0)
    with pytest.raises(ConfigError, match="replan_every 5 -- it must lie between 1 and the horizon, 4"):
        policy_for(PointModel(), replan_every=5)
    with pytest.raises(
        ConfigError, match="actions have 6 numbers over 2 steps, the world model's 4 -- they must agree"
    ):
        policy_for(PointModel(frame_skip=2), action_space=spaces.Box(-1, 1, (3,)))
    with pytest.raises(ConfigError, match="2 seeds for 1 environments"):
        policy_for(PointModel()).reset(draw((0.5, 0.5)), seeds=[1, 2])


@pytest.mark.parametrize("dynamics", ["adaln", "mlp", "tokens", "concat"])
def test_plans_are_those_of_a_real_world_model(dynamics):
    """The cost of the last plan, computed again from the frames, actions and proprioception that were seen."""
    shape = {} if dynamics == "mlp" else {"heads": 2, "history": 3, "depth": 1, "width": 24}
    config = WorldModelConfig.model_validate(
        {
            "run_dir": "unused",
            "data": {
                "sources": [{"kind": "store", "path": "unused"}],
                "resolution": 16,
                "frame_skip": 2,
                "proprio": True,
            },
            "frames": {"kind": "conv", "width": 4, "dim": 6},
            "dynamics": {"kind": dynamics, **shape},
            "objective": {"kind": "lewm"},
            "optim": {"steps": 1, "learning_rate": 1e-3},
        },
        strict=False,
    )
    torch.manual_seed(0)
    model = build_world_model(config, action_size=2, proprio_size=2).eval()
    solver = Refine(cem=CEM(samples=12, iterations=2, elites=3), gradient=Gradient(restarts=2, iterations=3))
    policy = Recorder(model, solver, GoalDistance(), horizon=2, action_space=BOX)
    policy.acted, goal = [], draw((0.9, 0.9))
    observation, _ = (env := PointEnv()).reset(seed=0)
    seen = []
    with torch.inference_mode():  # as an evaluation loop may be
        policy.reset(goal)
        for _ in range(9):
            seen.append(observation)
            observation, *_ = env.step(policy.act(observation))
    last = slice(8 if model.history == 1 else 4, None, 2)  # the last model steps
    frames = np.stack([one["pixels"] for one in seen[last]] + [goal])
    *z, target = model.encode(torch.from_numpy(frames)[None])[0]
    past = np.stack(policy.acted[4:8]).reshape(1, 2, 4) if model.history > 1 else None
    with torch.no_grad():
        imagined = model.rollout(
            torch.stack(z)[None],
            policy.plan.actions,
            past_actions=None if past is None else torch.from_numpy(past),
            proprio=torch.from_numpy(np.stack([one["proprio"] for one in seen[last]]))[None],
        )
    torch.testing.assert_close((imagined[:, -1] - target).square().mean(dim=(1, 2)), policy.plan.cost)
    assert all(weight.grad is None for weight in model.parameters())
