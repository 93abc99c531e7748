import pytest
import torch

from jepa.errors import DataError
from jepa.probes.checks import check_features


@pytest.mark.parametrize("bad", [[torch.nan], [torch.inf], [-torch.inf], [torch.inf, -torch.inf]], ids=str)
def test_whatever_is_not_finite_is_found_and_counted(bad):
    features = torch.randn(50, 8, generator=torch.Generator().manual_seed(0))
    for row, number in enumerate(bad, 20):
        features[row, 3] = number
    with pytest.raises(
        DataError, match=f"test features: {len(bad)} of 50 rows hold NaN or infinity, first row 20"
    ):
        check_features(features, "test features")


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_finite_numbers_pass_even_where_their_sum_overflows(dtype):
    features = torch.full((50, 8), torch.finfo(dtype).max, dtype=dtype)
    assert not features.sum().isfinite()
    check_features(features, "features")
    check_features(features / 1000, "features")
