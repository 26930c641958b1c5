"""What corruption.py makes of errors: means, the printed table and the picture."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from attacks import ATTACKS, BUDGETS
from corruptions import APART, CORRUPTIONS
from matplotlib.figure import Figure

Errors = Mapping[str, Mapping[str, Sequence[float]]]  # by corruption and net, one a strength
Means = dict[str, dict[str, Any]]  # by net
APART_MEAN = "mean, frame by frame"
STYLES = ("o-", "s--", "^:", "v-.", "D-", "P--", "X:")


def groups_of(nets: Sequence[str]) -> dict[str, list[str]]:
    """Return the nets by what their names have before a `#`: name#0 and name#1 are one net, trained with two seeds.

    >>> groups_of(["deep#0", "wide", "deep#1"])
    {'deep': ['deep#0', 'deep#1'], 'wide': ['wide']}
    """
    groups: dict[str, list[str]] = {}
    for net in nets:
        groups.setdefault(net.partition("#")[0], []).append(net)
    return groups


def over_seeds(errors: Errors, nets: Sequence[str]) -> dict[str, dict[str, list[float]]]:
    """Return the errors of each group: at each strength their mean over its nets, where all of them have been measured."""
    return {
        row: {
            group: [statistics.fmean(at_strength) for at_strength in zip(*(of[net] for net in members), strict=True)]
            for group, members in groups_of(nets).items()
            if all(net in of for net in members)
        }
        for row, of in errors.items()
    }


def deviations(errors: Errors, nets: Sequence[str]) -> dict[str, dict[str, float]]:
    """Return the standard deviation of each mean of `summary` over the nets of a group, for groups of several nets."""
    each = summary(errors, nets, None)
    return {
        group: {
            row: statistics.stdev(each[net][row] for net in members)
            for row, value in each[members[0]].items()
            if value is not None
        }
        for group, members in groups_of(nets).items()
        if len(members) > 1
    }


def summary(errors: Errors, nets: Sequence[str], baseline: str | None) -> Means:
    """Return for each net its error on clean images, its mean over the strengths of each corruption and attack, and over all.

    "mean" is the mean over the corruptions, "mean, frame by frame" that with the drift read so; "relative" the mean over the
    corruptions of the ratio to the baseline's sum of errors, None without a baseline, or where it makes no mistake in some
    corruption.
    """
    means: Means = {}
    for net in nets:
        by_row = {row: statistics.fmean(of[net]) for row, of in errors.items() if net in of}
        over = [by_row[row] for row in CORRUPTIONS]
        means[net] = {**by_row, "mean": statistics.fmean(over), "relative": None}
        if APART in by_row:
            apart = statistics.fmean(by_row[APART if row == "drift" else row] for row in CORRUPTIONS)
            means[net][APART_MEAN] = apart
        if baseline is not None:
            base = [statistics.fmean(errors[row][baseline]) for row in CORRUPTIONS]
            if min(base) > 0:
                means[net]["relative"] = statistics.fmean(own / of for own, of in zip(over, base, strict=True))
    return means


def printed(
    means: Means, baseline: str | None, spread: Mapping[str, Mapping[str, float]] = MappingProxyType({})
) -> str:
    """Return the means as a Markdown table, in percent to three digits: a row a corruption or attack, a column a net.

    `spread` has standard deviations over seeds, which stand behind the means.
    """
    rows = [
        row
        for row in ("clean", *CORRUPTIONS, "mean", "relative", APART, APART_MEAN, *ATTACKS)
        if any(row in of for of in means.values())
    ]
    named = {"mean": "mean over corruptions", "relative": f"relative to {baseline}", APART_MEAN: "the mean with it"}
    lines = ["", f"| error, % | {' | '.join(means)} |", "|---" * (len(means) + 1) + "|"]
    for row in rows:
        if row == "relative" and baseline is None:
            continue
        shown = [
            f"{100 * of[row]:.3g}" + (f" ± {100 * spread[net][row]:.2g}" if row in spread.get(net, {}) else "")
            if of.get(row) is not None
            else ""
            for net, of in means.items()
        ]
        lines.append(f"| {named.get(row, row)} | {' | '.join(shown)} |")
    return "\n".join(lines)


def draw(errors: Errors, nets: Sequence[str]) -> Figure:
    """Return a panel for each corruption and attack, a line a net; the leftmost point is the error on clean images."""
    rows = [row for row in (*CORRUPTIONS, *ATTACKS) if row in errors]
    columns = 4
    figure = Figure(figsize=(3.0 * columns, 2.5 * math.ceil(len(rows) / columns) + 0.4), layout="constrained")
    axes = figure.subplots(math.ceil(len(rows) / columns), columns, squeeze=False).flatten()
    for axis, row in zip(axes, rows, strict=False):
        what, strengths = (
            (CORRUPTIONS[row].what, CORRUPTIONS[row].strengths) if row in CORRUPTIONS else ("budget", BUDGETS)
        )
        places = range(len(strengths) + 1)
        for number, net in enumerate(nets):
            shown = [100 * error for error in (*errors["clean"][net], *errors[row][net])]
            axis.plot(places, shown, STYLES[number % len(STYLES)], markersize=4, label=net)
        axis.set(title=row, xlabel=what, ylim=(0, 100))
        axis.set_xticks(places, ["0" if row != "contrast" else "1", *(f"{strength:g}" for strength in strengths)])
    for axis in axes[::columns]:
        axis.set_ylabel("error, %")
    for axis in axes[len(rows) :]:
        axis.set_axis_off()
    figure.legend(
        *axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=min(4, len(nets)), frameon=False
    )
    return figure
