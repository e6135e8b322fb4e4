"""What looks like a secret in a command line is not told; everything else is, as it is."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskmaster_core.masking import masked, masked_words


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("run --password=hunter2", "run --password=••••"),
        ("run --password hunter2 -v", "run --password •••• -v"),
        ("run -token 'two words' x", "run -token •••• x"),
        ("DB_PASSWORD=hunter2 exec run", "DB_PASSWORD=•••• exec run"),
        ('API_KEY="a b" run; x', "API_KEY=•••• run; x"),
        ("PGPASS_SECRET=x:y run", "PGPASS_SECRET=•••• run"),
        ("curl -H 'X-Auth-Token: abc'", "curl -H 'X-Auth-Token: ••••'"),
        ("psql postgres://me:hunter2@db/x", "psql postgres://me:••••@db/x"),
        ("redis://:hunter2@cache", "redis://:••••@cache"),
        ("mysql --pass=x --pwd y", "mysql --pass=•••• --pwd ••••"),
        ('cmd = ["run", "--secret", "x"]', 'cmd = ["run", "--secret", ••••]'),
    ],
)
def test_S04_a_value_behind_a_secret_name_is_masked(text: str, told: str) -> None:
    assert masked(text) == told


@pytest.mark.parametrize(
    "text",
    [
        "run --bypass=1",
        "tokenize x=1",
        "run --token-file=/etc/t",
        "run --passive --password",
        "http://host:80/x",
        "a=b",
        "run --token=${TOKEN}",
        "run --password $PW",
        'API_KEY="$(cat k)" run',
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert masked(text) == text


def test_S04_the_word_after_an_option_is_its_value() -> None:
    words = ["run", "--password", "hun ter2", "--secret", "-v", "sh", "-c", "TOKEN=x go"]
    assert masked_words(words) == ["run", "--password", "••••", "--secret", "-v", "sh", "-c", "TOKEN=•••• go"]


def test_a_variable_behind_an_option_tells_nothing_and_stays() -> None:
    assert masked_words(["run", "--password", "${PW}"]) == ["run", "--password", "${PW}"]


@given(st.text(max_size=2000))
def test_masking_never_takes_long_and_never_fails(text: str) -> None:
    began = time.process_time()
    assert isinstance(masked(text), str)
    assert time.process_time() - began < 0.5


@pytest.mark.parametrize("text", ["a" * 20_000, "token" * 4_000, "-" * 20_000, "'" * 20_000, "://" * 7_000])
def test_S16_no_text_makes_it_slow(text: str) -> None:
    began = time.process_time()
    masked(text)
    assert time.process_time() - began < 1.0
