"""Clips as runs of frames in one array, so that clips of different lengths become videos of one length without a copy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ffrecur.data.mapped import MappedImages, join

# What an error adds where data of the one kind is read as the other.
OF_VIDEO = "; videos are read by --data VideoDataModule"
OF_IMAGES = "; images are read by --data ImageDataModule"


class Clips:
    """Videos `(N, T, D)` uint8: clip n is a run of `length_N[n]` rows of `store`, of which the first is row `first_N[n]`.

    A clip of fewer than T frames stays at its last one, a longer one is cut. Indexing reads, `take` does not.
    """

    def __init__(self, store: Tensor | MappedImages, length_N: Tensor, first_N: Tensor, frames: int) -> None:
        self.store, self.length_N, self.first_N, self.frames = store, length_N, first_N, frames

    def __len__(self) -> int:
        return len(self.length_N)

    def __getitem__(self, index: Tensor | slice | Sequence[int]) -> Tensor:
        """Read the clips `index`, `(n, T, D)` uint8."""
        shown_nT = torch.minimum(torch.arange(self.frames), self.length_N[index][:, None] - 1)
        rows = self.store[(self.first_N[index][:, None] + shown_nT).flatten()]
        return rows.view(len(shown_nT), self.frames, -1)

    def take(self, index: Tensor | slice) -> Clips:
        """Choose clips; nothing is read."""
        return Clips(self.store, self.length_N[index], self.first_N[index], self.frames)

    def of_length(self, frames: int) -> Clips:
        """The same clips as videos of another number of frames."""
        return Clips(self.store, self.length_N, self.first_N, frames)

    def joined(self, other: Clips) -> Clips:
        """These clips and then the others, as videos of the same length."""
        first_N = torch.cat([self.first_N, other.first_N + len(self.store)])
        store = join(self.store, other.store)
        return Clips(store, torch.cat([self.length_N, other.length_N]), first_N, self.frames)


def clips_of(store: Tensor | MappedImages, lengths: Sequence[int], frames: int | None = None) -> Clips:
    """Clips that lie one after the other in `store` `(F, D)`, at most `frames` rows of each, whatever its length.

    >>> clips_of(torch.tensor([[1], [2], [3]], dtype=torch.uint8), [1, 2])[:].squeeze(2).tolist()
    [[1, 1], [2, 3]]
    """
    length_N = torch.tensor(lengths)
    stored_N = length_N if frames is None else length_N.clamp(max=frames)
    return Clips(store, length_N, stored_N.cumsum(0) - stored_N, frames or int(length_N.max()))


def of_one_length(splits: Mapping[str, Clips], frames: int | None) -> dict[str, Clips]:
    """The clips of all splits as videos of `frames` frames, without that as many as the longest clip has."""
    count = frames or max(int(clips.length_N.max()) for clips in splits.values())
    return {split: clips.of_length(count) for split, clips in splits.items()}


def length_notes(word: str, clips: Clips) -> list[str]:
    """What a user should know: how many clips are padded, and how many are cut."""
    total, frames = len(clips), clips.frames
    of = f"{frames} frame" if frames == 1 else f"{frames} frames"
    shorter, longer = int((clips.length_N < frames).sum()), int((clips.length_N > frames).sum())
    notes = []
    if shorter:
        notes.append(
            f"{shorter:,} of {total:,} {word} clips are shorter than {of} (the shortest has "
            f"{int(clips.length_N.min())}), and stay at their last frame"
        )
    if longer:
        notes.append(
            f"{longer:,} of {total:,} {word} clips are longer than {of} (the longest has "
            f"{int(clips.length_N.max())}), and are cut (data.frames)"
        )
    return notes
