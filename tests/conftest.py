"""What every test gets: the same random walks each time, unless somebody asks for more of them."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

# `make test` must say the same twice; TASKMASTER_HYPOTHESIS=deep looks for what nobody has seen yet.
settings.register_profile(
    "same", derandomize=True, database=None, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile(
    "deep", max_examples=1000, database=None, deadline=None, print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)  # fmt: skip
settings.load_profile(os.environ.get("TASKMASTER_HYPOTHESIS", "same"))
