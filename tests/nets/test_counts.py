"""What is counted must be a whole number: yes, no and fractions are refused in a sentence, wherever it is given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import ffrecur
from ffrecur import data, lit
from ffrecur.core.learning import Learning
from ffrecur.data import Aperture, Cutout, Shift
from ffrecur.nets.maps import check_maps

COUNTS: dict[str, Callable[[Any], object]] = {
    "in_features": lambda count: ffrecur.RecurrentNet(count, (4,), 2),
    "num_classes": lambda count: ffrecur.RecurrentNet(4, (4,), count),
    "hidden_features": lambda count: ffrecur.RecurrentNet(4, (4, count), 2),
    "units_per_place": lambda count: check_maps((4, 4), (2, count), 3),
    "in_shape": lambda count: check_maps((4, count), (2,), 1),
    "field": lambda count: check_maps((4, 4), (2,), count),
    "kernel": lambda count: ffrecur.LocalLinear((4, 4), 2, count),
    "stride": lambda count: ffrecur.LocalLinear((4, 4), 2, 3, count),
    "head_layers": lambda count: lit.FeedForwardModule([4, 4], head_layers=[count, 2], in_features=4, num_classes=2),
    "window": lambda count: ffrecur.CharNet("ab", hidden_features=(4,), window=count),
    "goodness blocks": lambda count: ffrecur.MeanSquare(blocks=count),
    "iterations": lambda count: Learning(iterations=count),
    "negatives_per_case": lambda count: lit.FeedForwardModule([4], negatives_per_case=count),
    "evaluation_iterations": lambda count: lit.RecurrentModule([4], evaluation_iterations=count),
    "lr_scheduler.epochs": lambda count: lit.FlatThenLinear(None, epochs=count),  # type: ignore[arg-type]  # refused first
    "data.batch_size": lambda count: data.ImageDataModule("bundled", batch_size=count),
    "data.validation_size": lambda count: data.CorpusDataModule("bundled", validation_size=count),
    "Shift.pixels": lambda count: Shift(pixels=count),
    "Cutout.side": lambda count: Cutout(side=count),
    "Aperture.pixels": lambda count: Aperture(pixels=count),
}


@pytest.mark.parametrize("value", [True, 1.5, -1, "3"])
@pytest.mark.parametrize("name", COUNTS)
def test_a_count_that_is_no_whole_number_is_refused(name: str, value: object) -> None:
    with pytest.raises(ffrecur.UserError) as refused:
        COUNTS[name](value)
    told = str(refused.value)
    assert told.startswith(f"{name} is ")
    assert f"{value!r}" in told.partition(", but must be ")[0]
    assert "\n" not in told
