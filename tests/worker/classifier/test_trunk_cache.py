import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from worker.classifier import trunk_cache
from worker.classifier.trunk_cache import TrunkCache

ABOUT = {"base_sha256": "a" * 64, "half": "image", "frozen_blocks": 2}


def tokens(*values):
    return torch.stack([torch.full((3, 4), float(value)) for value in values])


def batches(cache):
    return sorted(cache.folder.glob("*/*.safetensors"))


@pytest.fixture
def cache(tmp_path):
    return TrunkCache(tmp_path / "cache", 1_000_000)


def test_shelf_gives_back_what_was_added_rounded_and_in_any_order(cache):
    shelf = cache.shelf(ABOUT)
    given = torch.randn(3, 3, 4)

    assert shelf.add(["a", "b", "c"], given)

    assert torch.equal(shelf.tokens(["c", "a", "c"]), given[[2, 0, 2]].bfloat16())
    assert ("a" in shelf, "d" in shelf) == (True, False)
    with pytest.raises(KeyError):
        shelf.tokens(["d"])


def test_shelf_of_the_same_facts_holds_what_an_earlier_one_kept_and_of_others_nothing(cache):
    cache.shelf(ABOUT).add(["a"], tokens(1))

    again, other = TrunkCache(cache.folder, 10**6).shelf(ABOUT), cache.shelf(ABOUT | {"frozen_blocks": 3})

    assert torch.equal(again.tokens(["a"]), tokens(1).bfloat16())
    assert "a" not in other
    about = json.loads((batches(cache)[0].parent / "about.json").read_text())
    assert about == {**ABOUT, "format": trunk_cache.FORMAT}


def test_shelf_maps_its_files(cache):
    shelf = cache.shelf(ABOUT)
    shelf.add(["a"], tokens(1))

    assert str(batches(cache)[0]) in Path("/proc/self/maps").read_text()


def test_make_room_lets_go_of_what_was_used_least_recently(cache):
    for number, name in enumerate("abc"):
        cache.shelf(ABOUT | {"number": number}).add([name], tokens(1))
    for age, path in enumerate(sorted(batches(cache), key=lambda path: path.stat().st_mtime_ns)):
        os.utime(path, (1000 + age, 1000 + age))
    size = batches(cache)[0].stat().st_size
    later = TrunkCache(cache.folder, 3 * size)
    later.shelf(ABOUT | {"number": 0}).keep(["a"])

    assert later.shelf(ABOUT | {"number": 3}).add(["d"], tokens(4))

    left = {number: set(later.shelf(ABOUT | {"number": number})._rows) for number in range(4)}
    assert left == {0: {"a"}, 1: set(), 2: {"c"}, 3: {"d"}}
    assert later.bytes_held() <= 3 * size


def test_make_room_never_lets_go_of_what_is_in_use_and_nothing_in_vain(cache):
    cache.shelf(ABOUT).add(["old"], tokens(0))
    later = TrunkCache(cache.folder, 2 * cache.bytes_held())
    shelf = later.shelf(ABOUT)
    assert shelf.add(["a"], tokens(1))
    before = batches(later)

    assert not shelf.add(["b", "c"], tokens(*range(2)).repeat(1, 20, 1))

    assert batches(later) == before
    assert shelf.add(["b"], tokens(2))
    assert not shelf.add(["c"], tokens(3))
    assert sorted(TrunkCache(cache.folder, 10**6).shelf(ABOUT)._rows) == ["a", "b"]


def test_make_room_leaves_some_of_the_disk_free(cache, monkeypatch):
    monkeypatch.setattr(trunk_cache.shutil, "disk_usage", lambda _: type("Usage", (), {"total": 1000, "free": 50})())

    assert not cache.shelf(ABOUT).add(["a"], tokens(1))


@pytest.mark.parametrize("harm", [lambda content: content[:-5], lambda _: b"", lambda content: b"\xff" * len(content)])
def test_shelf_removes_a_damaged_file_and_knows_the_others(cache, harm):
    shelf = cache.shelf(ABOUT)
    shelf.add(["a"], tokens(1))
    damaged = batches(cache)[0]
    shelf.add(["b"], tokens(2))
    content = damaged.read_bytes()
    damaged.unlink()
    damaged.write_bytes(harm(content))

    again = TrunkCache(cache.folder, 10**6).shelf(ABOUT)

    assert (sorted(again._rows), again.damaged, damaged.exists()) == (["b"], 1, False)


def test_shelf_stays_readable_when_another_process_makes_room(cache):
    shelf = cache.shelf(ABOUT)
    shelf.add(["a"], tokens(1))

    batches(cache)[0].unlink()

    assert torch.equal(shelf.tokens(["a"]), tokens(1).bfloat16())
    shelf.keep(["a"])


def test_add_that_is_killed_midway_leaves_nothing_that_counts(cache):
    code = f"""
import os, sys
sys.path.insert(0, {str(Path(__file__).parents[3])!r})
import torch
from worker.classifier import trunk_cache
from pathlib import Path
trunk_cache._sync = lambda path: os.kill(os.getpid(), 9)
trunk_cache.TrunkCache(Path({str(cache.folder)!r}), 10**6).shelf({ABOUT!r}).add(["a"], torch.zeros(1, 2, 2))
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    (unfinished,) = cache.folder.glob("*/.*.tmp")

    assert "a" not in cache.shelf(ABOUT)
    assert unfinished.exists()
    os.utime(unfinished, (0, 0))
    cache.shelf(ABOUT)

    assert not unfinished.exists()
