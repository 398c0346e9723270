"""A cache that can be missing: without Redis the site is slower and still whole."""

import functools
import logging
from collections.abc import Callable
from typing import Any

from django.core.cache.backends.redis import RedisCache, RedisCacheClient
from redis.exceptions import ConnectionError as RedisIsAway
from redis.exceptions import TimeoutError as RedisIsSlow

logger = logging.getLogger(__name__)


def _or_if_away(method: Callable[..., Any], answer: Any) -> Callable[..., Any]:
    """The method of the client, answering as an empty cache would while Redis is away."""

    @functools.wraps(method)
    def careful(client: RedisCacheClient, *arguments: Any, **options: Any) -> Any:
        try:
            return method(client, *arguments, **options)
        except (RedisIsAway, RedisIsSlow) as error:
            logger.warning("The cache is away: %s", error)
            return answer

    return careful


class DispensableRedisCacheClient(RedisCacheClient):
    add = _or_if_away(RedisCacheClient.add, answer=True)
    set = _or_if_away(RedisCacheClient.set, answer=None)
    set_many = _or_if_away(RedisCacheClient.set_many, answer=None)
    touch = _or_if_away(RedisCacheClient.touch, answer=False)
    delete = _or_if_away(RedisCacheClient.delete, answer=False)
    delete_many = _or_if_away(RedisCacheClient.delete_many, answer=None)
    get_many = _or_if_away(RedisCacheClient.get_many, answer={})
    has_key = _or_if_away(RedisCacheClient.has_key, answer=False)

    def get(self, key: Any, default: Any) -> Any:
        return _or_if_away(RedisCacheClient.get, answer=default)(self, key, default)


class DispensableRedisCache(RedisCache):
    """Django's Redis cache; while Redis is away nothing is found and nothing is kept."""

    def __init__(self, server: str, params: dict[str, Any]) -> None:
        super().__init__(server, params)
        self._class = DispensableRedisCacheClient
