"""The world model at its borders: units, shapes, checkpoints, and clear refusals."""

import numpy as np
import pytest
import torch

from jepa.config.world_model import ValueConfig, WorldModelConfig
from jepa.errors import CheckpointError, ConfigError, DataError
from jepa.models.poses import moved
from jepa.models.scaling import Scaling
from jepa.models.temporal_distance import TemporalDistance
from jepa.models.world_model import LatentWorldModel, build_world_model, load_world_model
from jepa.preprocess import centre_pixels
from jepa.runtime.checkpoint import save_checkpoint
from tests.models.test_frames import write_run

SKIP, ACTION, A = 2, 3, 6
STATISTICS = ([1.0, -2, 0], [0.5, 2, 4], [-1.0, -1, -1], [1.0, 1, 1])
PROPRIO = ([3.0, 0, 1], [2.0, 1, 5], [0.0, 0, 0], [9.0, 9, 9])
SHAPE = {"depth": 2, "width": 48, "heads": 4, "history": 3}
DYNAMICS = {
    "tokens": {"kind": "tokens", **SHAPE},
    "concat": {"kind": "concat", **SHAPE},
    "adaln": {"kind": "adaln", **SHAPE},
    "mlp": {"kind": "mlp", "width": 32},
}
CONV = {"kind": "conv", "width": 8, "dim": 10}


def make_config(dynamics: str = "adaln", frames: dict | None = None, **changes) -> WorldModelConfig:
    values = {
        "run_dir": "unused",
        "data": {
            "sources": [{"kind": "store", "path": "unused"}],
            "resolution": 32,
            "frame_skip": SKIP,
            "proprio": True,
        },
        "frames": frames or CONV,
        "dynamics": {**DYNAMICS[dynamics], **changes},
        "objective": {"kind": "ac" if frames else "lewm", "rollout_steps": 2},
        "optim": {"steps": 10, "learning_rate": 1e-3},
    }
    return WorldModelConfig.model_validate(values, strict=False)


def make_model(
    dynamics: str = "adaln", proprio: int = 0, frames: dict | None = None, **changes
) -> LatentWorldModel:
    torch.manual_seed(0)
    model = build_world_model(
        make_config(dynamics, frames, **changes),
        action_size=ACTION,
        proprio_size=proprio,
        action_statistics=STATISTICS,
        proprio_statistics=PROPRIO if proprio else None,
    )
    with torch.no_grad():  # open the gates of AdaLN
        for name, weight in model.named_parameters():
            if "modulation" in name:
                weight.normal_(std=0.3)
    return model.eval()


@pytest.fixture(params=DYNAMICS)
def model(request) -> LatentWorldModel:
    return make_model(request.param)


def test_frames_of_any_size_are_cut_and_resized_as_the_training_data():
    model = make_model()
    frames = torch.randint(256, (2, 3, 40, 72, 3), dtype=torch.uint8)
    pixels = torch.stack([centre_pixels(one, 32) for one in frames])
    torch.testing.assert_close(model.encode(frames), model.frames(pixels))
    with pytest.raises(DataError, match=r"uint8 \(B, T, H, W, 3\), got torch.uint8 \(3, 40, 72, 3\)"):
        model.encode(frames[0])


def test_a_rollout_is_teacher_forcing_on_its_own_predictions(model):
    z, past, actions = torch.randn(2, 3, 1, 10), torch.randn(2, 2, A), torch.randn(2, 4, A)
    imagined = model.rollout(z, actions, past_actions=past)
    known = torch.cat((past, actions), dim=1)
    for step in range(4):
        predicted = model.predict(z, known[:, : z.shape[1]])[:, -1:]
        torch.testing.assert_close(imagined[:, step : step + 1], predicted, atol=1e-5, rtol=1e-5)
        z = torch.cat((z, predicted), dim=1)


def test_candidates_are_rolled_out_as_if_alone(model):
    z, past, actions = torch.randn(2, 3, 1, 10), torch.randn(2, 2, A), torch.randn(2, 5, 4, A)
    together = model.rollout(z, actions, past_actions=past)
    assert together.shape == (2, 5, 4, 1, 10)
    for candidate in range(5):
        alone = model.rollout(z, actions[:, candidate], past_actions=past)
        torch.testing.assert_close(together[:, candidate], alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("tokens", [1, 2, 6])
@pytest.mark.parametrize("grad", [False, True])
def test_candidates_are_imagined_a_few_at_a_time(model, monkeypatch, tokens, grad):
    """Of 5 candidates for 2 samples, all, 3 or 1 at once; without gradients, keys and values are kept in place."""
    z, past, actions = torch.randn(2, 3, 1, 10), torch.randn(2, 2, A), torch.randn(2, 5, 4, A)
    whole = model.rollout(z, actions, past_actions=past)
    rows = []
    plain = model.dynamics.step
    model.dynamics.step = lambda z, *rest: rows.append(z.shape[1]) or plain(z, *rest)
    monkeypatch.setattr("jepa.models.world_model.tokens_at_once", lambda device: tokens)
    with torch.set_grad_enabled(grad):
        parts = model.rollout(z, actions, past_actions=past)
    torch.testing.assert_close(parts, whole, atol=1e-5, rtol=1e-5)
    assert rows == {1: [1] * 20, 2: [1] * 20, 6: [3] * 4 + [2] * 4}[tokens]


def test_gradients_reach_actions_through_a_frozen_model(model):
    model.requires_grad_(False)
    actions = torch.randn(2, 5, 4, A, requires_grad=True)
    model.rollout(torch.randn(2, 1, 1, 10), actions)[:, :, -1].square().sum().backward()
    assert actions.grad.abs().amax(dim=-1).min() > 0


def test_actions_come_in_the_units_of_the_environment(model):
    """The dynamics see every environment step's action less the mean, over the deviation."""
    mean, std = (np.tile(np.float32(STATISTICS[i]), SKIP) for i in (0, 1))
    z, actions = torch.randn(2, 3, 1, 10), torch.randn(2, 3, A)
    scaled = torch.from_numpy((actions.numpy() - mean) / std)
    torch.testing.assert_close(model.predict(z, actions), model.dynamics(z, scaled))
    torch.testing.assert_close(model.scaling.restore(scaled), actions)


def test_an_imagined_pose_is_moved_by_every_environment_step():
    """Two of them per model step, one after the other: rotations do not commute."""
    config = make_config("tokens", next_state="pose")
    model = build_world_model(config, action_size=7, proprio_size=7).eval()
    assert model.next_state == "pose"
    pose, actions = torch.rand(2, 7), torch.rand(2, 3, 14)
    seen = []
    plain = model.dynamics.step
    model.dynamics.step = lambda z, a, memory, state: seen.append(state) or plain(z, a, memory, state)
    model.rollout(torch.randn(2, 1, 1, 10), actions, proprio=pose[:, None])
    expected = pose
    for step in range(3):
        torch.testing.assert_close(seen[step][:, 0], expected)
        expected = moved(moved(expected, actions[:, step, :7]), actions[:, step, 7:])


@pytest.mark.parametrize("sizes", [(3, 7), (7, 3), (6, 6)])
def test_poses_need_seven_numbers(sizes):
    action, proprio = sizes
    with pytest.raises(ConfigError, match=f"an action has {action} and proprioception {proprio}"):
        build_world_model(make_config("tokens", next_state="pose"), action_size=action, proprio_size=proprio)


@pytest.mark.parametrize("next_state", ["add", "given"])
def test_what_an_imagined_frame_feels(next_state):
    """add: the sum of the environment steps' actions, in environment units; given: what it felt before."""
    model = make_model("tokens", 3, next_state=next_state)
    z, past, actions = torch.randn(2, 2, 1, 10), torch.randn(2, 1, A), torch.randn(2, 4, A)
    felt = torch.randn(2, 2, 3)
    moves = actions.view(2, 4, SKIP, 3).sum(2).cumsum(1) * (next_state == "add")
    state = torch.cat((felt, felt[:, -1:] + moves), dim=1)
    known = torch.cat((past, actions), dim=1)
    imagined = model.rollout(z, actions, past_actions=past, proprio=felt)
    for step in range(4):
        count = z.shape[1]
        normal = (state[:, :count] - torch.tensor(PROPRIO[0])) / torch.tensor(PROPRIO[1])
        expected = model.dynamics(z, model.scaling.actions(known[:, :count]), normal)[:, -1:]
        torch.testing.assert_close(imagined[:, step : step + 1], expected, atol=1e-5, rtol=1e-5)
        z = torch.cat((z, expected), dim=1)


def test_an_action_that_is_no_change_of_proprioception_is_refused():
    with pytest.raises(
        ConfigError, match="an action has 3 numbers and proprioception 5; set dynamics.next_state: given"
    ):
        build_world_model(make_config("tokens"), action_size=3, proprio_size=5)
    assert build_world_model(make_config("concat"), action_size=3, proprio_size=5).next_state == "given"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"z": (2, 3, 2, 10)}, r"z must be \(B, T, 1, 10\) .* got \(2, 3, 2, 10\)"),
        ({"z": (2, 0, 1, 10)}, r"T of at least 1, got \(2, 0, 1, 10\)"),
        (
            {"actions": (2, 4, 3)},
            r"got \(2, 4, 3\); a model step takes 2 environment steps of 3 numbers each",
        ),
        ({"actions": (3, 4, 6)}, r"actions must be \(2, H, 6\) or \(2, S, H, 6\), got \(3, 4, 6\)"),
        ({"actions": (2, 0, 6)}, r"a horizon and candidates of at least 1, got \(2, 0, 6\)"),
        (
            {"past_actions": (2, 3, 6)},
            r"past_actions must be \(2, 2, 6\), between the 3 frames .* \(2, 3, 6\)",
        ),
        ({"past_actions": None}, r"past_actions must be \(2, 2, 6\), .* got \(2, 0, 6\)"),
        ({"proprio": (2, 3, 4)}, r"trained without proprioception, got \(2, 3, 4\)"),
    ],
)
def test_a_rollout_of_the_wrong_shape_is_refused(change, message):
    shapes = {"z": (2, 3, 1, 10), "actions": (2, 4, 6), "past_actions": (2, 2, 6), "proprio": None} | change
    given = {name: None if shape is None else torch.zeros(shape) for name, shape in shapes.items()}
    with pytest.raises(DataError, match=message):
        make_model().rollout(given.pop("z"), given.pop("actions"), **given)


def test_missing_proprioception_and_actions_without_a_frame_are_refused():
    z, actions = torch.zeros(2, 3, 1, 10), torch.zeros(2, 3, A)
    with pytest.raises(DataError, match=r"proprio must be \(2, 3, 3\), got none"):
        make_model("tokens", 3).predict(z, actions)
    with pytest.raises(DataError, match=r"actions must be \(2, 3, 6\), one per frame of z, got \(2, 2, 6\)"):
        make_model().predict(z, actions[:, :2])


@pytest.mark.parametrize("std", [[1.0, 0, 1], [1.0, float("nan"), 1]])
def test_statistics_are_checked(std):
    with pytest.raises(ValueError, match="every deviation must be above 0"):
        Scaling(([0.0] * 3, std, [0.0] * 3, [0.0] * 3), action_size=3, proprio_size=0, frame_skip=1)
    with pytest.raises(ValueError, match=r"mean, std, low, high of 2 numbers each, got \[\(3,\)"):
        Scaling(STATISTICS, action_size=2, proprio_size=0, frame_skip=1)


def save(path, config: WorldModelConfig, model: LatentWorldModel) -> str:
    """A checkpoint as `jepa world-model` writes it."""
    weights = {f"world_model.{name}": value for name, value in model.state_dict().items()}
    state = {"step": 7, "program": "world-model", "config": config.model_dump(mode="json")}
    value = {} if model.value is None else {"value": model.value.state_dict()}
    save_checkpoint(path, {**state, "objective": weights, **value})
    return str(path)


@pytest.mark.parametrize("frozen", [False, True])
def test_a_saved_world_model_is_loaded_whole(tmp_path, frozen):
    frames = {"kind": "frozen", "source": write_run(tmp_path / "encoder")} if frozen else None
    kind = "tokens" if frozen else "adaln"
    ours = make_model(kind, 3, frames)
    path = save(tmp_path / "run", make_config(kind, frames), ours)
    loaded = load_world_model(path, device="cpu")
    pixels = torch.randint(256, (1, 2, 32, 32, 3), dtype=torch.uint8)
    actions, proprio = torch.randn(1, 4, 3, A), torch.randn(1, 2, 3)
    for model in (ours, loaded):
        assert not model.training
    z = ours.encode(pixels)
    torch.testing.assert_close(loaded.encode(pixels), z)
    past = torch.zeros(1, 1, A)
    torch.testing.assert_close(
        loaded.rollout(z, actions, past_actions=past, proprio=proprio),
        ours.rollout(z, actions, past_actions=past, proprio=proprio),
    )
    assert (loaded.frame_skip, loaded.action_size, loaded.proprio_size, loaded.resolution) == (SKIP, A, 3, 32)
    assert not any(weight.requires_grad for weight in loaded.parameters())


def test_a_learned_distance_is_loaded_too(tmp_path):
    config = make_config().model_copy(update={"value": ValueConfig(width=16, dim=8)})
    ours = make_model()
    ours.value = TemporalDistance(10, width=16, dim=8)
    loaded = load_world_model(save(tmp_path / "run", config, ours), device="cpu")
    z, goal = torch.randn(2, 4, 1, 10)
    torch.testing.assert_close(loaded.value(z, goal), ours.value(z, goal))
    assert load_world_model(save(tmp_path / "none", make_config(), make_model()), device="cpu").value is None


def test_what_is_no_world_model_is_refused(tmp_path):
    with pytest.raises(
        CheckpointError, match="is of `jepa pretrain`; one of `jepa world-model` is needed here"
    ):
        load_world_model(write_run(tmp_path / "encoder"), device="cpu")
    path = save(tmp_path / "run", make_config("mlp"), make_model("adaln"))
    with pytest.raises(CheckpointError, match="does not hold the weights of LatentWorldModel"):
        load_world_model(path, device="cpu")


def test_a_world_model_on_another_frozen_encoder_is_refused(tmp_path):
    frames = {"kind": "frozen", "source": write_run(tmp_path / "encoder")}
    path = save(tmp_path / "run", make_config("tokens", frames), make_model("tokens", 0, frames))
    write_run(tmp_path / "encoder", seed=1)
    with pytest.raises(
        CheckpointError, match="^frames.source: .* is not the encoder that this world model was"
    ):
        load_world_model(path, device="cpu")
