"""The annotators' pages say everything in every language that the site offers."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import polib
import pytest
from django.conf import settings
from django.test import Client
from django.urls import reverse
from django.utils.translation.template import templatize

ROOT = Path(__file__).resolve().parent.parent
LOCALE = ROOT / "annotations" / "locale"
# Django's own texts (forms, dates) are translated by Django; English needs no catalogue.
LANGUAGES = [code for code, _name in settings.LANGUAGES if code != "en"]
FOLDERS = {"es": "es", "fr": "fr", "zh-hans": "zh_Hans", "hi": "hi", "ar": "ar"}

TEMPLATES = ["base.html", "403.html", "404.html", "annotations/**/*.html", "components/*.html", "registration/*.html"]
SOURCES = [
    "annotations/views/*.py",
    "annotations/services/*.py",
    "annotations/api/*.py",
    "annotations/forms.py",
    "annotations/models/outcomes.py",
    "annotations/models/people.py",
]
STAFF_ONLY = {"corruptions.py", "sources.py"}
CALLS = {"_", "_now", "gettext", "gettext_lazy", "gettext_noop", "pgettext", "ngettext", "ngettext_lazy", "npgettext"}
CALL_IN_TEMPLATE = re.compile(
    r"""\b(?:gettext|ngettext|pgettext|npgettext|_)\((?:[^()"']|"[^"]*"|'(?:[^'\\]|\\.)*')*\)"""
)
PLACEHOLDER = re.compile(r"%\(\w+\)[sd]|\{\w+\}")


def texts_in_python(source: str) -> Iterator[str]:
    """The texts that a module gives to gettext, singular forms of plural ones."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in CALLS and node.args:
            first = node.args[1] if node.func.id in {"pgettext", "npgettext"} else node.args[0]
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                yield first.value


def texts_of_annotators() -> set[str]:
    """Every text that an annotator can be shown."""
    texts: set[str] = set()
    for pattern in TEMPLATES:
        for path in (ROOT / "templates").glob(pattern):
            texts |= set(texts_in_python(as_python(path.read_text())))
    for pattern in SOURCES:
        for path in (path for path in ROOT.glob(pattern) if path.name not in STAFF_ONLY):
            texts |= set(texts_in_python(path.read_text()))
    return texts


def as_python(template: str) -> str:
    """The calls of gettext in a template, one a line, as Django's own extraction sees them."""
    calls = CALL_IN_TEMPLATE.findall(templatize(template))
    return "\n".join(calls)


def catalogue(language: str) -> polib.POFile:
    return polib.pofile(str(LOCALE / FOLDERS[language] / "LC_MESSAGES" / "django.po"))


def test_texts_of_annotators_are_found() -> None:
    texts = texts_of_annotators()

    assert {"No clear winner", "Skip", "Register", "Image {n}", "Something else"} <= texts


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_text_of_the_annotators_pages_is_translated(language: str) -> None:
    entries = {entry.msgid: entry for entry in catalogue(language)}

    missing = {text for text in texts_of_annotators() if text not in entries or not entries[text].translated()}

    assert missing == set()


@pytest.mark.parametrize("language", LANGUAGES)
def test_translations_keep_their_placeholders(language: str) -> None:
    spoilt = [
        (entry.msgid, form)
        for entry in catalogue(language).translated_entries()
        for form in entry.msgstr_plural.values() or [entry.msgstr]
        if not set(PLACEHOLDER.findall(form)) <= set(PLACEHOLDER.findall(entry.msgid + entry.msgid_plural))
        or (not entry.msgid_plural and set(PLACEHOLDER.findall(form)) != set(PLACEHOLDER.findall(entry.msgid)))
    ]

    assert spoilt == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_compiled_catalogue_is_that_of_the_text(language: str) -> None:
    compiled = polib.mofile(str(LOCALE / FOLDERS[language] / "LC_MESSAGES" / "django.mo"))
    said = {(e.msgctxt, e.msgid): e.msgstr_plural or e.msgstr for e in catalogue(language).translated_entries()}

    assert {(e.msgctxt, e.msgid): e.msgstr_plural or e.msgstr for e in compiled} == said


def test_every_language_with_a_catalogue_is_offered() -> None:
    assert {folder.name for folder in LOCALE.iterdir()} == {FOLDERS[language] for language in LANGUAGES}


def texts_on(page: str) -> set[str]:
    """What stands between the tags of a page, its head and foot apart."""
    [main] = re.findall("<main[^>]*>(.*)</main>", page, re.DOTALL)
    return {text.strip() for text in re.split("<[^>]+>", main)}


@pytest.mark.django_db
@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(
    "sent",
    [
        {},
        {"username": "ada!", "password1": "1", "password2": "2"},
        {"username": "adalovelace", "password1": "adalovelace", "password2": "adalovelace"},
        {"username": "a" * 151, "password1": "12345678", "password2": "12345678"},
    ],
)
def test_registering_says_nothing_in_english(client: Client, language: str, sent: dict[str, str]) -> None:
    english, other = (
        texts_on(client.post(reverse("annotations:register"), sent, headers={"accept-language": code}).content.decode())
        for code in ("en", language)
    )

    assert len(english) > 5
    assert {text for text in english & other if re.search("[a-z]{3}", text)} == set()
