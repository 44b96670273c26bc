"""The same failure, told in two ways."""

from __future__ import annotations

import pytest

from lossproof.lab.failure import in_words, same_failure

EAGER = "{{function_node __wrapped__Sparse_device_/CPU:0}} Received a label value of 4 which is outside of [0, 4). Labels: 3 4"
GRAPH = (
    "Graph execution error:\n\nDetected at node loss\n\n"
    "Received a label value of 4 which is outside of [0, 4).  Label values: 3 4"
)


def test_what_tensorflow_says_of_its_graph_is_left_out() -> None:
    assert in_words(ValueError(EAGER)) == "ValueError: Received a label value of 4 which is outside of [0, 4)"


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        (ValueError(EAGER), ValueError(GRAPH), True),
        (ValueError(GRAPH), ValueError(EAGER), True),
        (ValueError(EAGER), TypeError(GRAPH), False),
        (ValueError("shapes differ"), ValueError("shapes differ"), True),
        (ValueError("shapes"), ValueError("the shapes differ, and more is said of them"), False),
        (ValueError(EAGER), ValueError("Graph execution error:\n\nsomething else"), False),
        (ValueError(EAGER), None, False),
    ],
)
def test_failures_are_compared_by_what_they_say(a: Exception, b: Exception | None, same: bool) -> None:
    assert same_failure(a, b) == same
