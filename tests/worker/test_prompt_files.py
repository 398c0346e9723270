"""Prompts from text and JSON lines: each once, with tags, and bad rows named."""

import pytest

from annotations.models import Prompt
from tests.annotations.factories import make_prompt
from worker.services import prompt_files
from worker.services.prompt_files import WantedPrompt, prompts_of_json, read_prompts, stored_prompts
from worker.services.recipes import FieldRejected


def test_a_text_file_has_one_prompt_per_line():
    content = "\ufeffa red circle\r\n\n  a blue square  \na red circle\n".encode()

    assert read_prompts("prompts.txt", content) == [WantedPrompt("a red circle"), WantedPrompt("a blue square")]


def test_json_lines_may_have_tags():
    content = b'{"prompt": "a shop sign", "tags": ["text", "street"], "id": 7}\n{"prompt": "a hand"}\n'

    read = read_prompts("prompts.JSONL", content)

    assert read == [WantedPrompt("a shop sign", ("text", "street")), WantedPrompt("a hand")]
    assert prompts_of_json([prompt.to_json() for prompt in read]) == read


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"\xff\xfe", "prompts: a.txt is not UTF-8 text."),
        ("a.txt", b" \n\n", "prompts: a.txt holds no prompt; write one per line."),
        ("a.txt", b"fine\nnul \0 here\n", "prompts: a.txt, line 2: the prompt holds characters that are no text"),
        ("a.jsonl", b'{"prompt": "a"}\n{"text": "b"}', 'prompts: a.jsonl, row 2: a text is missing under "prompt".'),
        ("a.jsonl", b'{"prompt": "a"', "prompts: a.jsonl, row 1: it is not JSON"),
        ("a.jsonl", b'"a cat"', "prompts: a.jsonl, row 1: it is no object"),
        ("a.jsonl", b'{"prompt": "a", "tags": [3]}', "prompts: a.jsonl, row 1: tags: it is no list of texts"),
        ("a.jsonl", b"\xff\n", "prompts: a.jsonl is not UTF-8 text."),
    ],
)
def test_a_bad_file_is_refused_with_the_place(name, content, message):
    with pytest.raises(FieldRejected) as caught:
        read_prompts(name, content)

    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ("a cat", "prompts: it must be a list of texts"),
        (["a cat", 7], "prompts: number 2: a text is missing"),
        ([" "], "prompts: number 1: the prompt is blank."),
    ],
)
def test_bad_json_prompts_are_refused_with_the_place(values, message):
    with pytest.raises(FieldRejected, match=message):
        prompts_of_json(values)


def test_too_many_prompts_are_refused(monkeypatch):
    monkeypatch.setattr(prompt_files, "MAX_PROMPTS", 2)

    assert len(prompts_of_json(["a", "b", "a"])) == 2
    with pytest.raises(FieldRejected, match="they are 3; one run takes at most 2"):
        prompts_of_json(["a", "b", "c"])


def test_stored_prompts_come_in_order_and_only_new_ones_get_tags(db):
    old = make_prompt("a hand", tags=["anatomy"])
    wanted = [WantedPrompt("a sign", ("text",)), WantedPrompt("a hand", ("text",)), WantedPrompt("a cat")]

    stored = stored_prompts(wanted)

    assert [(prompt.text, prompt.tags) for prompt in stored] == [
        ("a sign", ["text"]),
        ("a hand", ["anatomy"]),
        ("a cat", []),
    ]
    assert stored[1] == old
    assert Prompt.objects.count() == 3
