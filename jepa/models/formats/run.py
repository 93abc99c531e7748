"""Run directories and checkpoints of this library."""

from jepa.config.data import ReadConfig
from jepa.config.schema import PretrainConfig
from jepa.config.world_model import WorldModelConfig
from jepa.models.build import architecture_of, frozen_networks, trained_networks
from jepa.models.formats.base import Format, Source
from jepa.models.formats.exact import below, load_exactly
from jepa.models.frozen import Frozen, Networks, Weights
from jepa.models.world_model import LatentWorldModel, assemble_world_model
from jepa.runtime.checkpoint import find_checkpoint, list_checkpoints, load_checkpoint


class Run(Format):
    """What `jepa pretrain` and `jepa world-model` write; of a run directory, the newest checkpoint."""

    name = "run"
    title = "a run or a checkpoint of jepa"

    def recognises(self, source: Source) -> bool:
        """Whether it is a folder of checkpoints, or one of them."""
        if source.path.is_dir():
            return bool(list_checkpoints(source.path))
        return {"format", "config", "objective"} <= source.state.keys()

    def load(self, source: Source, weights: Weights) -> Frozen:
        """Load encoder and predictor of a pretraining run."""
        state = load_checkpoint(find_checkpoint(source.path))
        config = PretrainConfig.model_validate(state["config"], strict=False)
        prefix = "target_encoder." if weights == "target" else "encoder."
        if not any(name.startswith(prefix) for name in state["objective"]):
            prefix = "encoder."  # objectives without an EMA have one encoder, which is both
        encoder, predictor = trained_networks(config)
        load_exactly(encoder, below(prefix, state["objective"]), source.text)
        load_exactly(predictor, below("predictor.", state["objective"]), source.text)
        kinds = [mask.kind for mask in config.masks.video]
        return frozen_networks(
            architecture_of(config),
            Networks(encoder, predictor),
            source.text,
            read=ReadConfig(**{key: getattr(config.data, key) for key in ReadConfig.model_fields}),
            pattern=kinds.index("causal") if "causal" in kinds else 0,
            seed=config.seed,
        )

    def load_world_model(self, source: Source) -> LatentWorldModel:
        """Load the world model of a run of `jepa world-model`, with its learned distance where there is one."""
        state = load_checkpoint(find_checkpoint(source.path), program=WorldModelConfig.program)
        config = WorldModelConfig.model_validate(state["config"], strict=False)
        value = {f"value.{name}": tensor for name, tensor in state.get("value", {}).items()}
        return assemble_world_model(config, below("world_model.", state["objective"]) | value, source.text)

    def holds_world_model(self, source: Source) -> bool:
        """Whether `jepa world-model` wrote it."""
        program: str = source.state.get("program", PretrainConfig.program)
        return program == WorldModelConfig.program
