"""Vision transformers of timm, by name."""

from jepa.models.formats.base import Format, Source
from jepa.models.frozen import Frozen, Networks, Weights
from jepa.models.timm_vit import TimmEncoder, load_timm
from jepa.runtime.seeding import seed_everything


class Timm(Format):
    """``timm:NAME`` with timm's published weights, which are downloaded, or ``timm:NAME@FILE`` with those in a file."""

    name = "timm"
    title = "a vision transformer of timm"

    def recognises(self, source: Source) -> bool:
        """Never: a file does not say which model of timm it is of."""
        return False

    def load(self, source: Source, weights: Weights) -> Frozen:
        """Load the model; it has one set of weights."""
        name = source.text.partition("@")[0]

        def untrained(seed: int) -> Networks:
            seed_everything(seed, "weights")
            return Networks(TimmEncoder(name).requires_grad_(False).eval())

        encoder = load_timm(source.text)
        return Frozen(
            f"timm:{source.text}",
            Networks(encoder),
            untrained,
            read=None,
            shape={"kind": "timm", "name": name},
        )
