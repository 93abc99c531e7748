"""V-JEPA 2-AC's checkpoints against the released predictor written down plainly, weights and names as released."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import jepa
from jepa.config.method import ModelConfig, SizeConfig
from jepa.config.world_model import FrozenFrames, TokenDynamics, WorldModelArchitecture
from jepa.errors import CheckpointError, DataError
from jepa.models.encoder import Encoder
from jepa.models.formats import find_format
from jepa.models.formats.released import ENCODER
from jepa.models.formats.vjepa2_ac import RESOLUTION, released_dynamics
from jepa.models.poses import moved
from jepa.models.world_model import build_world_model
from jepa.planning import MPC, BoxSpace, CEMMean, GoalDistance
from jepa.preprocess import MEAN, STD
from jepa.types import Grid
from tests.models.formats.vjepa2_ac_reference import (
    Predictor,
    imagine,
    make_encoder,
    make_predictor,
    write_checkpoint,
)

DIM, WIDTH, TOKENS = 192, 192, 256


def encoder_by_hand() -> Encoder:
    size = SizeConfig(width=DIM, depth=1, heads=3)
    encoder = Encoder(ModelConfig(size=size, rotary_layout="released"), resolution=RESOLUTION)
    encoder.load_state_dict(ENCODER.ours(make_encoder(width=DIM, depth=1), "here"))
    return encoder.requires_grad_(False).eval()


@pytest.fixture
def predictor() -> dict[str, torch.Tensor]:
    return make_predictor(dim=DIM, width=WIDTH, depth=2)


@pytest.fixture
def write(tmp_path, predictor):
    """Write a checkpoint as released, after ``change`` of its parts; return its path."""
    encoder = make_encoder(width=DIM, depth=1)
    return lambda change=None, name="vjepa2-ac-vitg.pt": write_checkpoint(
        tmp_path / name, encoder, predictor, change
    )


@pytest.fixture
def model(write):
    return jepa.load_world_model(f"vjepa2-ac:{write()}", device="cpu")


def poses(*shape, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return torch.rand(*shape, 7, generator=draw) * 0.8


@pytest.mark.parametrize(
    ("grid", "frames", "depth", "width"),
    [(Grid(1, 4, 4), 3, 2, 192), (Grid(1, 3, 5), 8, 1, 224), (Grid(1, 5, 2), 2, 3, 192)],
)
def test_the_dynamics_are_the_released_predictor(grid, frames, depth, width):
    """Square or not, up to the 8 frames of training; the head's width divisible by 6 (16 x 12) or not (16 x 14)."""
    state = make_predictor(dim=24, width=width, depth=depth)
    ours = released_dynamics(state, "here", dim=24, grid=grid)
    z = torch.randn(2, frames, grid.tokens, 24)
    actions, states = torch.randn(2, frames, 7), torch.randn(2, frames, 7)
    released = Predictor(state, grid.height, grid.width)(z.flatten(1, 2), actions, states).view_as(z)
    assert released.std() > 0.5
    torch.testing.assert_close(ours(z, actions, states), F.layer_norm(released, (24,)), atol=2e-5, rtol=0)


def test_a_frame_is_encoded_alone_as_a_tubelet_of_itself_and_layer_normed(model):
    frames = torch.randint(256, (1, 2, RESOLUTION, RESOLUTION, 3), dtype=torch.uint8)
    pixels = (frames / 255 - torch.tensor(MEAN)) / torch.tensor(STD)
    clips = pixels[0].permute(0, 3, 1, 2).unsqueeze(2).repeat(1, 1, 2, 1, 1)  # (T, 3, 2, H, W)
    tokens = encoder_by_hand()(clips)
    assert tokens.shape == (2, TOKENS, DIM)
    torch.testing.assert_close(model.encode(frames)[0], F.layer_norm(tokens, (DIM,)), atol=2e-5, rtol=0)


def test_a_rollout_is_the_released_one(model, predictor):
    z, actions, state = torch.randn(2, TOKENS, DIM), 0.3 * poses(2, 2, seed=1) - 0.1, poses(2)
    wanted = imagine(Predictor(predictor, 16, 16), z, actions, state, moved)
    found = model.rollout(z[:, None], actions, proprio=state[:, None])
    torch.testing.assert_close(found[:, -1], wanted, atol=1e-4, rtol=0)
    assert (model.frame_skip, model.history, model.action_size, model.proprio_size) == (1, 8, 7, 7)


def test_it_is_recognised_without_its_name(write):
    path = write()
    assert find_format(str(path))[0].name == "vjepa2-ac"
    encoder = jepa.load_encoder(path, device="cpu")
    clip = torch.randn(1, 3, 4, 32, 48)
    torch.testing.assert_close(encoder(clip), encoder_by_hand()(clip))


def test_the_encoder_of_the_camera_is_left_out_whether_it_is_there_or_not(write, predictor):
    def drop(parts):
        for name in ("weight", "bias"):
            del parts["predictor"][f"module.extrinsics_encoder.{name}"]

    whole = jepa.load_world_model(write(), device="cpu").state_dict()
    without = jepa.load_world_model(write(drop, "without.pt"), device="cpu").state_dict()
    assert all(torch.equal(value, without[name]) for name, value in whole.items())
    ours = [name for name in whole if name.startswith("dynamics.")]
    assert len(ours) == len(predictor) - 2


def test_a_goal_image_and_a_pose_are_all_that_planning_needs(model):
    """With the published settings, though fewer candidates; the gripper's small moves are none."""
    space = BoxSpace(*torch.tensor([[0.05, 0.05, 0.05, 0, 0, 0, 0.75]]).mul(torch.tensor([[-1], [1]])))
    solver = CEMMean(samples=4, iterations=1, elites=2, dead_zone=(0, 0, 0, 0, 0, 0, 0.75))
    policy = MPC(model, solver, GoalDistance("l1"), horizon=1, action_space=space, warm_start=False)
    images = np.random.default_rng(0).integers(0, 256, (2, 120, 120, 3), dtype=np.uint8)
    policy.reset(images[0])
    action = policy.act({"pixels": images[1], "proprio": np.zeros(7, np.float32)})
    assert action.shape == (7,) and np.abs(action[:3]).max() <= 0.05 and np.abs(action[:3]).min() > 0
    np.testing.assert_array_equal(action[3:], 0)


def test_what_is_written_is_read_again_and_by_the_released_reader(model, predictor, tmp_path):
    path = tmp_path / "again.pt"
    find_format("vjepa2-ac:x")[0].save_world_model(model, path)
    again = jepa.load_world_model(path, device="cpu")
    for name, value in model.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], value, atol=0, rtol=0)
    held = torch.load(path, weights_only=True)
    names = {name.removeprefix("module.") for name in held["predictor"]}
    assert names == set(predictor)  # strictly, the reader wants all
    assert all(held["predictor"][f"module.{name}"].shape == predictor[name].shape for name in names)


def test_a_world_model_that_scales_is_written_so_that_nothing_must_be_scaled(write, tmp_path):
    """As one that was trained here: statistics of its own actions and poses."""
    parts = WorldModelArchitecture(
        frames=FrozenFrames(kind="frozen", source=f"vjepa2-ac:{write()}"),
        dynamics=TokenDynamics(
            kind="tokens", depth=1, width=192, heads=16, next_state="pose", rotary_layout="released"
        ),
        resolution=RESOLUTION,
    )
    told = [torch.rand(2, 7), torch.rand(2, 7) + 0.5]
    statistics = [(*both, both[0] - 1, both[0] + 1) for both in zip(*told, strict=True)]
    trained = build_world_model(
        parts,
        action_size=7,
        proprio_size=7,
        action_statistics=statistics[0],
        proprio_statistics=statistics[1],
    ).eval()
    find_format("vjepa2-ac:x")[0].save_world_model(trained, tmp_path / "trained.pt")
    again = jepa.load_world_model(tmp_path / "trained.pt", device="cpu")
    z, actions, state = torch.randn(1, 1, TOKENS, DIM), poses(1, 2, seed=1), poses(1, 1)
    wanted = trained.rollout(z, actions, proprio=state)
    torch.testing.assert_close(again.rollout(z, actions, proprio=state), wanted, atol=1e-4, rtol=0)
    assert not torch.equal(again.dynamics.embedding.action.weight, trained.dynamics.embedding.action.weight)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"frame_skip": 2}, "frame_skip is 2"),
        ({"resolution": 224}, "resolution is 224"),
        ({"frames": FrozenFrames(kind="frozen", source="x", tokens="pooled")}, "frames is .*pooled"),
        (
            {"dynamics": TokenDynamics(kind="tokens", next_state="add", history=3)},
            "rotary_layout is paired; dynamics.next_state is add; dynamics.history is 3",
        ),
    ],
)
def test_other_world_models_are_not_written(model, tmp_path, change, message):
    model.architecture = model.architecture.model_copy(update=change)
    with pytest.raises(CheckpointError, match=message):
        find_format("vjepa2-ac:x")[0].save_world_model(model, tmp_path / "other.pt")
    assert not (tmp_path / "other.pt").exists()


def _swap(part, old, new):
    def change(parts):
        parts[part][f"module.{new}"] = parts[part].pop(f"module.{old}")

    return change


def _set(part, name, value):
    return lambda parts: parts[part].update({f"module.{name}": value})


def _remove(name):
    return lambda parts: parts.pop(name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_remove("predictor"), "holds no predictor, which imagines frames"),
        (_remove("encoder"), "holds predictor, but none of target_encoder"),
        (
            _swap("predictor", "predictor_norm.bias", "predictor_norm.shift"),
            "1 missing: norm.bias; 1 left over",
        ),
        (_swap("predictor", "predictor_norm.bias", "norm.bias"), "1 weights of unknown names: norm.bias"),
        (_set("predictor", "mask_tokens.0", torch.zeros(1, 1, 192)), "unknown names: mask_tokens.0"),
        (_set("predictor", "predictor_proj.bias", torch.zeros(5)), r"head.bias \(5,\) for \(192,\)"),
        (
            _set("predictor", "action_encoder.weight", torch.zeros(192, 8)),
            r"action_encoder.weight .* \(192, 8\)",
        ),
        (
            _set("predictor", "action_encoder.weight", torch.zeros(200, 7)),
            "200 wide, .* no multiple of its 16 heads",
        ),
        (_swap("predictor", "state_encoder.weight", "x"), "state_encoder.weight of the predictor is missing"),
        (_set("encoder", "norm.more", torch.zeros(2)), "1 left over: norm.more"),
    ],
)
def test_a_file_that_is_not_exactly_such_a_checkpoint_is_refused(write, change, message):
    with pytest.raises(CheckpointError, match=message):
        jepa.load_world_model(f"vjepa2-ac:{write(change)}", device="cpu")


def test_a_truncated_file_and_a_foreign_one_are_refused(write, tmp_path):
    path = write()
    path.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(CheckpointError, match="cannot be read as weights"):
        jepa.load_world_model(f"vjepa2-ac:{path}", device="cpu")
    torch.save({"state_dict": {"fc.weight": torch.zeros(2, 2)}}, tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match="holds no predictor"):
        jepa.load_world_model(f"vjepa2-ac:{tmp_path / 'other.pt'}", device="cpu")


@pytest.mark.parametrize(
    ("proprio", "found"),
    [(None, "none"), (torch.zeros(1, 1, 6), r"\(1, 1, 6\)"), (torch.zeros(1, 7), r"\(1, 7\)")],
)
def test_a_pose_that_is_missing_or_of_another_size_is_refused(model, proprio, found):
    with pytest.raises(DataError, match=rf"proprio must be \(1, 1, 7\), got {found}"):
        model.rollout(torch.zeros(1, 1, TOKENS, DIM), torch.zeros(1, 1, 7), proprio=proprio)
    with pytest.raises(DataError, match="takes 1 environment steps of 7 numbers"):
        model.rollout(torch.zeros(1, 1, TOKENS, DIM), torch.zeros(1, 1, 6), proprio=torch.zeros(1, 1, 7))
