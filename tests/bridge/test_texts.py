"""The catalogue of texts: what every language must have, and how a text is made."""

import re
import string
from pathlib import Path
from typing import get_args

import pytest

from tailtrace_bridge.identity.chain import REASONS
from tailtrace_bridge.texts import catalogue
from tailtrace_bridge.texts.catalogue import LANGUAGES, Area, Texts, read

AREAS = get_args(Area)


def values(text):
    """The names of the values in a text; one without a name would depend on its place in the sentence."""
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


@pytest.mark.parametrize("area", AREAS)
def test_languages_have_the_same_texts_with_the_same_values(area):
    in_english = {key: values(text) for key, text in read(area, "en").items()}
    assert "" not in set().union(*in_english.values())
    for lang in LANGUAGES:
        assert {key: values(text) for key, text in read(area, lang).items()} == in_english


def test_the_folders_hold_the_areas_and_nothing_else():
    for lang in LANGUAGES:
        folder = Path(catalogue.__file__).parent / lang
        assert sorted(path.name for path in folder.iterdir()) == sorted(f"{area}.json" for area in AREAS)


@pytest.mark.parametrize("area", AREAS)
@pytest.mark.parametrize("lang", LANGUAGES)
def test_what_is_counted_has_both_forms(area, lang):
    texts = read(area, lang)
    assert [key for key in texts if key.endswith(".one") and key.removesuffix(".one") + ".other" not in texts] == []
    assert [key for key in texts if key.endswith(".other") and key.removesuffix(".other") + ".one" not in texts] == []


def test_a_text_with_its_values():
    texts = Texts("report", "es")
    assert texts.count("request", 1) == "1 acceso"
    assert texts.count("request", 1234, "1.234") == "1.234 accesos"
    assert texts("window", start="{end}", end="B", zone="UTC") == "{end} a B (UTC)"
    assert ("window" in texts, "windows" in texts) == (True, False)


def test_a_language_that_we_do_not_speak():
    with pytest.raises(ValueError, match="'fr' is none of our languages: en, es"):
        Texts("report", "fr")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("__other__", "other addresses"),
        ("502 __other__", "502 other addresses"),
        ("shop.example __other__", "shop.example other addresses"),
        ("load (__other__)", "load (other addresses)"),
        ("/a/__other__", "/a/__other__"),
        ("/_tailtrace/view?card=__other__", "/_tailtrace/view?card=__other__"),
        ("__other__s", "__other__s"),
        ("another", "another"),
    ],
)
def test_what_fits_no_route_is_called_as_on_the_page(text, said):
    assert Texts("mcp", "en").named(text) == said
    assert Texts("alerts", "es").named(text) == said.replace("other addresses", "otras direcciones")


def test_each_reason_for_an_unknown_is_said_on_the_page_and_in_the_definitions():
    """English as in the terminal, so that both say the same."""
    said = read("request", "en")
    assert {key.removeprefix("reason-"): text for key, text in said.items() if key.startswith("reason-")} == REASONS
    definitions = (Path(__file__).parents[2] / "docs/definitions.md").read_text(encoding="utf-8")
    assert [reason for reason in REASONS if f"\n| `{reason}` |" not in definitions] == []
    sources = re.findall(
        r"^\| `(\w+)` \|", definitions.partition("| provider |")[2].partition("| kind |")[0], re.MULTILINE
    )
    assert {f"source-{one}" for one in sources} == {key for key in said if key.startswith("source-")}
