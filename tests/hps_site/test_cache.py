"""The cache, with Redis and without."""

import logging

import pytest
from django.conf import settings

from hps_site import environment
from hps_site.cache import DispensableRedisCache


@pytest.fixture
def cache() -> DispensableRedisCache:
    location = environment.next_redis_database(environment.next_redis_database(settings.REDIS_URL))
    return DispensableRedisCache(location, {"KEY_PREFIX": "test"})


@pytest.fixture
def away() -> DispensableRedisCache:
    return DispensableRedisCache("redis://127.0.0.1:1/0", {"OPTIONS": {"socket_connect_timeout": 1}})


def test_the_cache_keeps_what_it_is_given(cache: DispensableRedisCache) -> None:
    cache.delete("word")

    assert cache.add("word", 1) is True
    assert cache.add("word", 2) is False
    cache.set_many({"other": 3})
    assert cache.get_many(["word", "other", "none"]) == {"word": 1, "other": 3}
    assert (cache.get("word"), cache.has_key("word"), cache.get("none", 4)) == (1, True, 4)
    assert (cache.touch("word"), cache.delete("word"), cache.get("word")) == (True, True, None)


def test_without_redis_the_cache_is_empty_and_says_so_in_the_log(
    away: DispensableRedisCache, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        away.set("word", 1)
        away.set_many({"other": 2})
        away.delete_many(["other"])
        found = (away.get("word"), away.get("word", "default"), away.get_many(["word"]), away.has_key("word"))

    assert found == (None, "default", {}, False)
    assert (away.add("word", 1), away.touch("word"), away.delete("word")) == (True, False, False)
    assert "The cache is away" in caplog.text
