"""The heads that a probe fits on frozen features."""

from typing import Annotated, Literal

from pydantic import Field

from jepa.config.section import Positive, Section

Rates = Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1)]
Decays = Annotated[tuple[Annotated[float, Field(ge=0)], ...], Field(min_length=1)]


class LinearHead(Section):
    """A straight cut through standardised features, solved to convergence for a grid of weight decays."""

    kind: Literal["linear"]
    weight_decays: Rates = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0, 3.0, 10.0)
    """Fitted all at once; the best on the validation part is used."""


class GridHead(Section):
    """What all heads share that are trained by AdamW, one for each learning rate and weight decay, all at once."""

    learning_rates: Rates = (5e-3, 3e-3, 1e-3, 3e-4, 1e-4)
    """Peaks, each reached after a tenth of the steps and brought to 0 on a cosine (V-JEPA 2: these five)."""
    weight_decays: Decays = (0.01, 0.1, 0.4, 0.8)
    """Decoupled, on matrices only (V-JEPA 2: these four)."""
    epochs: Positive = 20
    """Passes over the training features (V-JEPA 2: 20)."""
    batch_size: Positive = 128
    """Samples per step, shared by all heads of the grid (V-JEPA 2: 128)."""


class MlpHead(GridHead):
    """One hidden layer on standardised pooled features; width 0 is a linear head trained by AdamW."""

    kind: Literal["mlp"]
    hidden: Annotated[int, Field(ge=0)] = 512
    """Width of the hidden layer."""


class AttentiveHead(GridHead):
    """A learned query that attends to all tokens (V-JEPA, section 4; V-JEPA 2: behind 3 self-attention blocks)."""

    kind: Literal["attentive"]
    blocks: Annotated[int, Field(ge=0)] = 3
    """Self-attention blocks before the cross-attention (V-JEPA 2: 3; V-JEPA and the 1-block variant: 0)."""
    heads: Positive = 16
    """Attention heads; must divide the encoder's width (V-JEPA 2: 16)."""


class KnnHead(Section):
    """k nearest neighbours in cosine similarity: nothing is fitted."""

    kind: Literal["knn"]
    k: Positive = 20
    """Neighbours that vote (DINO: 20)."""


Head = Annotated[LinearHead | MlpHead | AttentiveHead | KnnHead, Field(discriminator="kind")]
