"""The HTTP API, as everybody comes to it who may."""

import pytest

# what these expect of an answer is told in full where it does not hold, as in a test itself
pytest.register_assert_rewrite(*(f"{__name__}.{name}" for name in ("services", "sessions", "sign_ins")))
