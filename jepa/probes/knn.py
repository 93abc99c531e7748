"""k nearest neighbours: a probe without anything to fit, cheap enough to follow while training."""

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor

from jepa.errors import DataError
from jepa.probes.checks import check_features, check_width
from jepa.probes.index import Index, build_index
from jepa.probes.metrics import Task, headline, number_groups
from jepa.probes.rows import Rows, as_tensor
from jepa.probes.targets import Targets, learn_targets

TEMPERATURE = 0.07  # Wu et al., arXiv:1805.01978, section 3.4; kept by DINO
NEIGHBOURS_AT_ONCE = 2**22  # held while training samples answer each other; about 50 bytes for each


class KnnProbe:
    """Answers from the k training samples that are nearest in cosine similarity.

    Each neighbour votes with weight exp(similarity / temperature), as in DINO (arXiv:2104.14294, appendix F.1; there
    k is 20). classes and labels: the share of the votes. values: the weighted mean of the neighbours' numbers. Of
    several ``k`` the one is taken that answers the training samples best when no sample of the same group votes.
    """

    def __init__(
        self, *, k: int | Sequence[int] = 20, temperature: float = TEMPERATURE, task: Task = "classes"
    ) -> None:
        """Keep the settings."""
        self.candidates = (k,) if isinstance(k, int) else tuple(sorted(set(k)))
        if not self.candidates or min(self.candidates) < 1:
            raise ValueError(f"k must be 1 or more, got {k}")
        if temperature <= 0:
            raise ValueError(f"temperature must be above 0, got {temperature}")
        self.temperature, self.task = temperature, task
        self.trials: list[dict[str, float]] = []

    @property
    def classes(self) -> tuple[int, ...]:
        """The labels as given to fit, in the order of the votes; none for values."""
        return self.targets.classes

    @property
    def chosen(self) -> dict[str, float]:
        """The number of neighbours."""
        return {"k": float(self.k)}

    def fit(
        self,
        features: Rows,
        labels: Tensor,
        groups: Sequence[str] | None = None,
        *,
        validation: tuple[Rows, Tensor] | None = None,
    ) -> Self:
        """Remember the training samples, and choose k among several: (n, D), labels as ``learn_targets`` reads them.

        With ``validation``, features and labels, k is chosen on those. Raises DataError when features are not finite or
        all zeros, when labels are missing or teach nothing, and, to choose k, when all samples are of one group.
        """
        features = as_tensor(features)
        self._learn(features, labels)
        self.k, self.trials = self.candidates[0], []
        if len(self.candidates) > 1:
            grades = self._grades(features, groups) if validation is None else self._grades_on(*validation)
            self.trials = [
                {"k": float(k), "score": grade} for k, grade in zip(self.candidates, grades, strict=True)
            ]
            self.k = self.candidates[max(range(len(grades)), key=grades.__getitem__)]
        return self

    def _grades(self, features: Tensor, groups: Sequence[str] | None) -> list[float]:
        """Grade every number of neighbours on the training samples, answered by those of other groups."""
        answers = self._answers_of_others(features, groups, self.candidates)
        return [headline(self.task, answer, self._truth) for answer in answers]

    def _grades_on(self, features: Rows, labels: Tensor) -> list[float]:
        """Grade every number of neighbours on samples that were kept apart."""
        grades = []
        for k in self.candidates:
            self.k = k
            grades.append(self.score(features, labels))
        return grades

    def score_training(self, features: Tensor, labels: Tensor, groups: Sequence[str] | None = None) -> float:
        """Answer every training sample by the others, and return accuracy, mAP or R2; takes the first ``k``.

        Samples of one group (the clips of one video) do not vote for each other; without groups, no sample votes
        for itself. Raises DataError as ``fit`` does.
        """
        self._learn(features, labels)
        return headline(
            self.task, self._answers_of_others(features, groups, self.candidates[:1])[0], self._truth
        )

    def predict_proba(self, features: Rows) -> Tensor:
        """Return the shares of the votes, (n, D) -> (n, C), or for values the weighted means, (n, K).

        Raises DataError for features that are not finite, all zeros, or of another width than those of fit.
        """
        features = as_tensor(features)
        check_features(features, "test features")
        check_width(features, self.index.width, "test features")
        similarity, rows = self.index.search(features, min(self.k, len(self.index)))
        return self._vote(similarity, rows)

    def predict(self, features: Rows) -> Tensor:
        """Return labels as given to fit (n,), 0 and 1 (n, C) by the majority of the votes, or numbers (n, K)."""
        votes = self.predict_proba(features)
        if self.task == "classes":
            return torch.tensor(self.classes)[votes.argmax(dim=1)]
        return (votes > 0.5).long() if self.task == "labels" else votes

    def score(self, features: Rows, labels: Tensor) -> float:
        """Return accuracy, mAP or R2: (n, D), labels as in fit.

        Raises DataError as ``predict_proba`` does, and for labels that do not fit those of training.
        """
        truth = self._decode(self.targets.encode(labels, len(features)))
        return headline(self.task, self.predict_proba(features), truth)

    def _learn(self, features: Tensor, labels: Tensor) -> None:
        """Check and keep the training samples."""
        check_features(features, "training features")
        self.targets: Targets
        self.targets, encoded = learn_targets(self.task, labels, len(features))
        self._truth = self._decode(encoded)
        self.index: Index = build_index(features, kind="flat")

    def _decode(self, encoded: Tensor) -> Tensor:
        """Bring numbers back to their own units; labels stay as they are."""
        return encoded * self.targets.deviation + self.targets.mean if self.task == "values" else encoded

    def _answers_of_others(
        self, features: Tensor, groups: Sequence[str] | None, candidates: Sequence[int]
    ) -> list[Tensor]:
        """Answer training samples by those of other groups, once for every number of neighbours: each (n, C)."""
        member, count = number_groups(groups, len(features))
        largest = int(torch.bincount(member).max())
        if count < 2:
            raise DataError(
                f"all {len(features)} samples are of one group, so none is left to vote; give clips of several videos"
            )
        reach = min(max(candidates), len(features) - largest)
        asked = min(reach + largest, len(features))
        answers: list[list[Tensor]] = [[] for _ in candidates]
        samples = max(1, NEIGHBOURS_AT_ONCE // asked)
        for part, own in zip(torch.split(features, samples), torch.split(member, samples), strict=True):
            similarity, rows = self.index.search(part, asked)
            # Those of the own group go last, the others keep their order; enough of the others were found.
            order = (member[rows] == own[:, None]).int().argsort(dim=1, stable=True)[:, :reach]
            similarity, rows = similarity.gather(1, order), rows.gather(1, order)
            for found, k in zip(answers, candidates, strict=True):
                found.append(self._vote(similarity[:, :k], rows[:, :k]))
        return [torch.cat(found) for found in answers]

    def _vote(self, similarity: Tensor, rows: Tensor) -> Tensor:
        """Weigh what the neighbours say: (m, k), (m, k) long -> (m, C)."""
        weights = (similarity / self.temperature).softmax(dim=1)  # shares of exp(similarity / temperature)
        votes = torch.zeros(len(rows), self.targets.outputs)
        if self.task == "classes":
            return votes.scatter_add_(1, self._truth[rows], weights)
        for place in range(rows.shape[1]):  # one neighbour at a time: (m, k, C) would not fit for many labels
            votes += weights[:, place, None] * self._truth[rows[:, place]]
        return votes


def knn_accuracy(
    train: Tensor,
    labels: Tensor,
    test: Tensor | None = None,
    test_labels: Tensor | None = None,
    *,
    k: int = 10,
    groups: Sequence[str] | None = None,
) -> float:
    """Classify by the k nearest training features, as `KnnProbe` does: (n, D), (n,) long -> accuracy.

    Without ``test``, every training sample is classified by those of other ``groups`` (videos), or by all others.
    Raises DataError for features that are not finite, for missing or unknown labels, and for too few samples.
    """
    probe = KnnProbe(k=k)
    if test is None:
        return probe.score_training(train, labels, groups)
    if test_labels is None:
        raise DataError("test features were given without test_labels")
    return probe.fit(train, labels).score(test, test_labels)
