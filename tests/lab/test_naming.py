"""What unknown keys are taken for: each reason on its own, and none where there is none."""

from __future__ import annotations

import pytest

from lossproof.lab.wiring.naming import meant


def taken(keys: list[str], names: list[str], layers: dict[str, str] | None = None) -> dict[str, tuple[str | None, str]]:
    return {key: (one.name, one.how) for key, one in meant(keys, names, layers).items()}


def test_known_keys_are_not_mentioned() -> None:
    assert taken(["b", "a"], ["a", "b"]) == {}
    assert taken(["a"], ["a", "b"]) == {}


def test_the_name_of_the_layer_comes_before_the_spelling() -> None:
    assert taken(["head", "tail"], ["tails", "heads"], {"head": "tails", "tail": "heads"}) == {
        "head": ("tails", "layer"),
        "tail": ("heads", "layer"),
    }


@pytest.mark.parametrize(
    ("key", "name"), [("agee", "age"), ("Age", "age"), ("age", "age_head"), ("out_age", "age_head")]
)
def test_the_nearest_spelling(key: str, name: str) -> None:
    assert taken([key], [name, "price"]) == {key: (name, "nearest")}


def test_the_only_name_left() -> None:
    assert taken(["price", "xyz"], ["price", "age"]) == {"xyz": ("age", "left")}


def test_the_order_where_nothing_else_tells() -> None:
    found = meant(["x", "y"], ["price", "age"])
    assert {key: one.name for key, one in found.items()} == {"x": "price", "y": "age"}
    assert not any(one.sure for one in found.values())


def test_equally_near_names_are_not_chosen_between() -> None:
    assert taken(["head"], ["head_a", "head_b"]) == {"head": (None, "extra")}


def test_a_word_that_one_name_alone_has() -> None:
    assert taken(["age", "sex"], ["sex_head", "age_head"]) == {
        "age": ("age_head", "nearest"),
        "sex": ("sex_head", "nearest"),
    }
    assert taken(["head_1"], ["head_2", "head_3"]) == {"head_1": (None, "extra")}


def test_one_name_is_not_given_to_two_keys() -> None:
    found = meant(["age1", "age2"], ["age", "price"])
    assert sorted(str(one.name) for one in found.values()) == ["age", "price"]
    assert not any(one.how == "nearest" for one in found.values())


def test_more_keys_than_names() -> None:
    assert taken(["price", "age", "id"], ["price", "age"]) == {"id": (None, "extra")}
