"""Shapes as the command line writes them."""

from __future__ import annotations

import pytest
from cases import CASES

from convkit.problem import conv_problem, parse_shape


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_parse_shape_reads_what_str_wrote(case):
    x_shape, w_shape, keywords = parse_shape(str(case.problem))
    again = conv_problem(x_shape, w_shape, padding_mode=case.problem.padding_mode, **keywords)
    assert again == case.problem


@pytest.mark.parametrize(
    ("text", "x_shape", "w_shape", "keywords"),
    [
        ("c3h5w7k4r1s2", (1, 3, 5, 7), (4, 3, 1, 2), {"groups": 1}),
        ("n2c4h5w6k8r3s3g2", (2, 4, 5, 6), (8, 2, 3, 3), {"groups": 2}),
        ("c1h9w9k1r3s3u2d2", (1, 1, 9, 9), (1, 1, 3, 3), {"groups": 1, "stride": 2, "dilation": 2}),
        ("c1h9w9k1r3s3p1,2", (1, 1, 9, 9), (1, 1, 3, 3), {"groups": 1, "padding": (1, 2)}),
        (
            "c1h9w9k1r3s3p1,2,3,4",
            (1, 1, 9, 9),
            (1, 1, 3, 3),
            {"groups": 1, "padding": ((1, 2), (3, 4))},
        ),
        ("s3r3k1w9h9c1", (1, 1, 9, 9), (1, 1, 3, 3), {"groups": 1}),
    ],
)
def test_parse_shape(text, x_shape, w_shape, keywords):
    assert parse_shape(text) == (x_shape, w_shape, keywords)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "shape '' must be written like n1c64h56w56k64r3s3"),
        ("c3h5w7k4r1", "must be written like"),
        ("c3h5w7k4r1s2x3", "must be written like"),
        ("c3c3h5w7k4r1s2", "must be written like"),
        ("c-3h5w7k4r1s2", "must be written like"),
        ("c3h5w7k4r1s2p1,", "must be written like"),
        ("c3h5w7k4r1,2s2", "r1,2 is too many"),
        ("c3h5w7k4r1s2u1,2,3,4", "u1,2,3,4 is too many"),
        ("c3h5w7k4r1s2p1,2,3", "p1,2,3 is too many"),
        ("c3h5w7k4r1s2g0", "g0 must divide the 3 input channels"),
        ("c3h5w7k4r1s2g2", "g2 must divide the 3 input channels"),
    ],
)
def test_parse_shape_refuses(text, message):
    with pytest.raises(ValueError) as caught:
        parse_shape(text)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
