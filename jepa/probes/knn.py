"""k-nearest-neighbour accuracy: a probe without anything to fit, cheap enough to follow while training."""

import faiss
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from jepa.errors import DataError
from jepa.probes.checks import check_features, check_labels

TEMPERATURE = 0.07  # Wu et al., arXiv:1805.01978, section 3.4; kept by DINO


def knn_accuracy(
    train: Tensor,
    labels: Tensor,
    test: Tensor | None = None,
    test_labels: Tensor | None = None,
    *,
    k: int = 10,
) -> float:
    """Classify by the k nearest training features in cosine similarity: (n, D), (n,) long -> accuracy.

    Each neighbour votes with weight exp(similarity / .07), as in DINO (arXiv:2104.14294, appendix F.1;
    there k is 20). Without ``test``, every training sample is classified by the others (leave one out).
    Raises DataError for features that are not finite, for missing or unknown labels, and for too few
    samples.
    """
    check_features(train, "training features")
    classes, target = check_labels(labels, len(train))
    reach = min(k, len(train) - (test is None))
    if k < 1:
        raise ValueError(f"k must be 1 or more, got {k}")
    if test is None:
        similarity, index = _search(train, train, reach + 1)
        similarity, index = _drop_self(similarity, index)
        wanted = target
    else:
        if test_labels is None:
            raise DataError("test features were given without test_labels")
        check_features(test, "test features")
        if test.shape[1] != train.shape[1]:
            raise DataError(f"test features have width {test.shape[1]}, training features {train.shape[1]}")
        wanted = check_labels(test_labels, len(test), known=classes)[1]
        similarity, index = _search(train, test, reach)
    # Relative to the best neighbour, so that exp stays in range; the winner does not change.
    weights = ((similarity - similarity[:, :1]) / TEMPERATURE).exp()
    votes = torch.zeros(len(index), len(classes)).scatter_add_(1, target[index], weights)
    return float((votes.argmax(dim=1) == wanted).double().mean())


def _search(base: Tensor, queries: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return cosine similarities and indices of the k nearest rows of ``base``: (m, k) float, (m, k) long."""
    index = faiss.IndexFlatIP(base.shape[1])
    index.add(_unit(base))
    similarity, found = index.search(_unit(queries), k)
    return torch.from_numpy(similarity), torch.from_numpy(found)


def _unit(features: Tensor) -> np.ndarray:
    """Scale rows to length one, as the contiguous float32 array that faiss reads."""
    return np.ascontiguousarray(F.normalize(features.detach().cpu().float(), dim=1).numpy())


def _drop_self(similarity: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    """Remove each query from its own neighbours: (n, k + 1) -> (n, k).

    Where copies of a sample push it out of its own list, the farthest neighbour goes instead.
    """
    own = index == torch.arange(len(index))[:, None]
    own[:, -1] |= ~own.any(dim=1)
    return similarity[~own].view(len(index), -1), index[~own].view(len(index), -1)
