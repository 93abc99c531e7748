"""Health signals that cost a forward pass: effective rank, and k-NN on a labelled source."""

import torch

from jepa.data.evaluation import labelled_clips
from jepa.data.truth import truth
from jepa.probes.features import extract_rows, token_reader
from jepa.probes.health import collapse_warning
from jepa.probes.knn import knn_accuracy
from jepa.probes.rows import as_tensor
from jepa.probes.spectrum import effective_rank
from jepa.programs.evaluate import open_task
from jepa.programs.pretrain_step import PretrainState
from jepa.types import Batch


class Health:
    """Measures the target encoder while it trains."""

    def __init__(self, state: PretrainState) -> None:
        self.state = state
        self._warned = False

    def signals(self, batch: Batch) -> dict[str, float]:
        """Return the signals that are due at the state's step; empty at most steps."""
        log, step = self.state.config.log, self.state.step
        signals = {}
        if step % log.health_every_steps == 0:
            signals["effective_rank"] = self.rank(batch)
        if log.knn_every_steps is not None and step % log.knn_every_steps == 0:
            signals["knn_accuracy"] = self.knn()
        return signals

    @torch.no_grad()
    def rank(self, batch: Batch) -> float:
        """Return RankMe of the target encoder's tokens on ``batch``, between 1 (collapse) and the width."""
        tokens = self.state.objective.probed(batch.clip.to(self.state.device))
        return float(effective_rank(tokens.flatten(0, 1).float()))

    def knn(self) -> float:
        """Return k-NN accuracy on the train source of the first probe, every clip answered by those of other videos."""
        config = self.state.config
        task = config.probes[0]
        source = open_task(task).train
        reader = token_reader(self.state.objective.probed, (task.pooling,))
        rows = extract_rows({"": reader}, labelled_clips(source, config.data), device=self.state.device)
        found = rows[""][task.pooling]
        labels = truth(source, "classes")[found.entries]
        videos = [source.entries[entry].path for entry in found.entries.tolist()]
        groups = videos if len(set(videos)) > 1 else None  # of one long video, clips answer each other
        return knn_accuracy(as_tensor(found.values), labels, groups=groups)

    def warning(self, line: dict[str, float]) -> str | None:
        """Return a plain warning when ``line`` shows collapse, once per run and not before the warm-up is over."""
        if self.state.step <= max(self.state.config.optim.warmup_steps, self.state.config.optim.steps // 20):
            return None  # predictions are alike at the start of every run
        text = collapse_warning(line, width=self.state.objective.encoder.dim)
        if text is None or self._warned:
            return None
        self._warned = True
        return text
