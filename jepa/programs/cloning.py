"""Goal-conditioned behaviour cloning on the very episodes that a world model was trained on."""

import torch

from jepa.config.world_model import WorldModelConfig
from jepa.data.trajectories.episodes import open_episodes
from jepa.models.world_model import LatentWorldModel
from jepa.objectives.behaviour_cloning import fit_behaviour_cloning
from jepa.programs.latents import encode_episodes
from jepa.programs.players import CloningPlayer


def clone_behaviour(
    world_model: LatentWorldModel, trained: WorldModelConfig, *, steps: int, seed: int
) -> CloningPlayer:
    """Fit a policy for ``steps`` steps on the training episodes, in the latent space; tokens are pooled.

    Raises DataError where the episodes are not there any more.
    """
    data = trained.data
    episodes = open_episodes(data.sources, test_fraction=data.test_fraction, decoder=data.decoder).train
    is_pooled = world_model.frames.tokens > 1
    latents = encode_episodes(world_model, episodes, pool=is_pooled)
    policy = fit_behaviour_cloning(
        latents,
        [torch.from_numpy(episode.actions) for episode in episodes],
        low=world_model.scaling.action_low,
        high=world_model.scaling.action_high,
        steps=steps,
        seed=seed,
        device=next(world_model.parameters()).device,
    )
    return CloningPlayer(world_model, policy, is_pooled=is_pooled)
