"""Summary: the layers of a network, their parameters and multiply-adds, as papers count them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from html import escape
from typing import Any

from convkit.graph.ir import Shape

#: How a summary counts; it says so under each table.
RULE = (
    "MACs: multiply-adds of convolutions, transposed convolutions and fully connected layers for\n"
    "one image, padding counted; bias, normalisation, activations and pooling are not counted.\n"
    "FLOPs = 2 MACs; fvcore, ptflops, thop and many papers call MACs FLOPs.\n"
    "Params: weights, biases, gamma and beta of batch norms.\n"
    "Field: pixels of the image, rows x columns, that one output depends on, padding counted."
)


@dataclass(frozen=True, slots=True)
class SummaryRow:
    """One layer.

    Attributes
    ----------
    name, kind : str
        Of the node: its name, and its operator; "input" of an input.
    output_shape : tuple of int
        For the batch that was asked for.
    activations : int
        Numbers in the output, of one image.
    params : int
        Weights, biases, gamma and beta; of weights that layers share, in the first of them.
    moving : int
        Batch norm's moving statistics.
    macs, flops : int
        Of one image.
    share : float
        Of the network's multiply-adds, from 0 to 1.
    receptive_field : (rows, columns) or None
        Pixels of the image that one output depends on; None where the input is no image.
    trainable : bool
        Whether the layer has parameters and not all of them are frozen.
    """

    name: str
    kind: str
    output_shape: Shape
    activations: int
    params: int
    moving: int
    macs: int
    flops: int
    share: float
    receptive_field: tuple[int, int] | None
    trainable: bool


@dataclass(frozen=True, slots=True)
class Summary:
    """What `Model.summary` counts; printing it shows a row for each layer and the totals.

    Attributes
    ----------
    name : str
    input_shapes : dict
        Name -> shape, the batch included.
    rows : tuple of SummaryRow
    params : int
        Weights, biases, batch norm's gamma and beta.
    trainable, non_trainable : int
        As Keras counts: parameters that are not frozen; frozen ones and moving statistics.
    keras_params : int
        Keras' total: the parameters and the moving statistics.
    macs, flops : int
        Of one image; FLOPs are two for each multiply-add.
    tensors, trainable_tensors : int
        Arrays of parameters, and those of them that are not frozen.
    """

    name: str
    input_shapes: dict[str, Shape]
    rows: tuple[SummaryRow, ...]
    trainable: int
    tensors: int
    trainable_tensors: int

    @property
    def params(self) -> int:
        return sum(row.params for row in self.rows)

    @property
    def keras_params(self) -> int:
        return self.params + sum(row.moving for row in self.rows)

    @property
    def non_trainable(self) -> int:
        return self.keras_params - self.trainable

    @property
    def macs(self) -> int:
        return sum(row.macs for row in self.rows)

    @property
    def flops(self) -> int:
        return 2 * self.macs

    def to_dict(self) -> dict[str, Any]:
        """The same in types that JSON has."""
        return {
            "name": self.name,
            "input_shapes": {name: list(shape) for name, shape in self.input_shapes.items()},
            **{name: getattr(self, name) for name in TOTALS},
            "rule": RULE.replace("\n", " "),
            "rows": [
                {key: list(v) if isinstance(v, tuple) else v for key, v in asdict(row).items()}
                for row in self.rows
            ],
        }

    def __str__(self) -> str:
        cells = [COLUMNS, *(_cells(row) for row in self.rows)]
        widths = [max(len(line[i]) for line in cells) for i in range(len(COLUMNS))]
        lines = [self._heading()]
        for line in cells:
            # Words stand left, numbers right.
            padded = [
                cell.ljust(width) if i < 3 else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(line, widths, strict=True))
            ]
            lines.append("  ".join(padded).rstrip())
        return "\n".join([*lines, "", *self._totals(), "", RULE])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """The table for notebooks."""

        def line(cells: Sequence[str], tag: str) -> str:
            sides = ["left" if i < 3 else "right" for i in range(len(cells))]
            made = [
                f'<{tag} style="text-align:{side}">{escape(cell)}</{tag}>'
                for cell, side in zip(cells, sides, strict=True)
            ]
            return f"<tr>{''.join(made)}</tr>"

        rows = "".join(line(_cells(row), "td") for row in self.rows)
        below = "<br>".join(map(escape, [*self._totals(), *RULE.split("\n")]))
        return (
            f"<table><caption>{escape(self._heading())}</caption>"
            f"<thead>{line(COLUMNS, 'th')}</thead><tbody>{rows}</tbody></table><p>{below}</p>"
        )

    def _heading(self) -> str:
        inputs = (f"{name} {_times(shape)}" for name, shape in self.input_shapes.items())
        return f"{self.name}: {', '.join(inputs)}"

    def _totals(self) -> list[str]:
        moving = self.keras_params - self.params
        return [
            f"{self.params:,} params in {self.tensors} tensors"
            + (
                f"; {self.keras_params:,} with the moving statistics, as Keras counts"
                * (moving > 0)
            ),
            f"{self.trainable:,} trainable in {self.trainable_tensors} tensors, "
            f"{self.non_trainable:,} not",
            f"{self.macs:,} MACs, {self.flops:,} FLOPs for one image",
        ]


TOTALS = (
    "params", "trainable", "non_trainable", "keras_params", "macs", "flops", "tensors",
    "trainable_tensors",
)  # fmt: skip
COLUMNS = ("Layer", "Kind", "Output", "Numbers", "Params", "MACs", "FLOPs", "Share", "Field", "")


def _cells(row: SummaryRow) -> tuple[str, ...]:
    """What the table shows of a row; nothing where there is nothing to count."""
    field = row.receptive_field
    return (
        row.name,
        row.kind,
        _times(row.output_shape),
        f"{row.activations:,}",
        f"{row.params:,}" if row.params else "",
        f"{row.macs:,}" if row.macs else "",
        f"{row.flops:,}" if row.flops else "",
        f"{100 * row.share:.1f} %" if row.macs else "",
        "" if field is None else f"{field[0]}" if field[0] == field[1] else _times(field),
        "frozen" if row.params and not row.trainable else "",
    )


def _times(shape: Shape) -> str:
    return "x".join(map(str, shape))
