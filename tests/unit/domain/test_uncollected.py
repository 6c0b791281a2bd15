"""The collector is off within, and afterwards as it was."""

from __future__ import annotations

import gc

import pytest

from pipeline.domain.uncollected import uncollected


@pytest.mark.parametrize("was_on", [True, False])
def test_the_collector_is_as_it_was(was_on: bool) -> None:
    before = gc.isenabled()
    (gc.enable if was_on else gc.disable)()
    try:
        with uncollected():
            assert not gc.isenabled()
        assert gc.isenabled() is was_on
        with pytest.raises(ValueError, match="inside"), uncollected():
            raise ValueError("inside")
        assert gc.isenabled() is was_on
    finally:
        (gc.enable if before else gc.disable)()
