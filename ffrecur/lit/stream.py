"""The LightningModule that trains a `StreamNet` by Forward-Forward while its streams of text run on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar, Literal

from torch import Tensor

from ffrecur.core.fast import FastRule, described
from ffrecur.core.goodness import MEAN_SQUARE, Goodness
from ffrecur.core.learning import Learning
from ffrecur.core.objectives import Objective, check_negatives, objective_of, predicts_alone
from ffrecur.errors import check_setting, check_whole
from ffrecur.functional import Noise
from ffrecur.lit.character import LAST_CHARACTER, NOISE, USUAL_DEPTH, draws_of, warn_of_unused
from ffrecur.lit.dreams import StreamDreams
from ffrecur.lit.text import TextModule
from ffrecur.metrics.stream import StreamEvaluation, goodness_of_kinds, write_on
from ffrecur.negatives.labels import labels_for
from ffrecur.negatives.windows import forced_symbols
from ffrecur.nets.stream import StreamNet
from ffrecur.nets.streaming import StreamState
from ffrecur.processes import Part, whole_batch
from ffrecur.seeding import seeded_generator
from ffrecur.text.places import checked_depth

NEGATIVES = (*LAST_CHARACTER, "dream")
STREAM_KEY = "ffrecur_stream"  # entry of a checkpoint: what the streams of all processes know of their text so far


class StreamModule(TextModule):
    """Train a streaming character model, each hidden layer by its own goodness, the head by the delta rule.

    One batch is the next character of each of `data.batch_size` streams of text: the head predicts it from the carried
    states; it is positive data, and characters that the head draws are negative; one optimiser step; the true character's
    states are carried on. Each document begins with an empty state. Nothing of the text before is kept but these states,
    which checkpoints hold. With `trainer.accumulate_grad_batches` so many characters share a step.

    Figures of validation and test are those of all characters with `data.window` or more of their document before them, as
    of a `CharModule` with that window; figures of training are those of all characters.

    Args:
        hidden_features: units of each hidden layer, any number of layers.
        damping: share of the carried state in the new one, in [0, 1); one number, or one for each layer from the bottom.
        iterations: visits to every layer for each character.
        lateral: whether a layer reads its own carried state.
        top_down: whether a layer reads the layer above.
        candidate_layers: the layers that read the candidate for the next character, numbered from 1, the first among them.
        fast_weights: of each layer's fast weights: how many keys, 0 for none; the decay, the share that is left after a
            character, in [0, 1]; the rate, the weight of what is written, at least 0; and delta where each pair is written by
            the delta rule, which takes away what the key recalled before.
        sign: 1 if real text shall have high goodness, -1 if low.
        goodness_weight: weight of goodness, added to the head's logits in predictions and samples, see `StreamNet.score`.
        negatives: "teacher_forcing" (a wrong character, as the head predicts it), "uniform" (any wrong one), or "dream" (what
            the model writes on itself, from the state of its stream; `negatives_per_case` dreams at the same time).
        dream_depth: least and most characters of a dream, after which it begins again from the state of its stream.
        dream_temperature: temperature of the softmax that dreams are drawn from.
        objective: "logistic", "paired" (each negative against the positive of the same place; no threshold), "softmax" (the
            true next character against all others, of which none is drawn), "sampled_softmax" (the same with
            `negatives_per_case` wrong ones, most of them the likeliest, which stand for all), or the class path of an
            `ffrecur.Objective`.
        threshold: goodness at which a character is as likely positive as negative.
        temperature: goodness scale of the objective, greater than 0.
        negatives_per_case: wrong characters for each place, each of which weighs as much: "uniform" draws different ones,
            "teacher_forcing" each for itself.
        goodness: class path of an `ffrecur.Goodness`; the mean square where not given.
        shared: see `TextModule` and `NetModule`; the window is that of the data and tells which characters are judged.

    Raises:
        UserError: a setting outside its range.
    """

    kind = "StreamNet"
    has_window = False
    structure = ("alphabet", "hidden_features", "lateral", "top_down", "candidate_layers", "fast_weights")
    net_class: ClassVar[type] = StreamNet

    def __init__(
        self,
        hidden_features: list[int] = [500, 500, 500],  # noqa: B006  # jsonargparse shows the default in --help
        *,
        damping: float | list[float] = 0.3,
        iterations: int = 1,
        lateral: bool = True,
        top_down: bool = True,
        candidate_layers: list[int] = [1],  # noqa: B006
        fast_weights: tuple[int, float, float] | tuple[int, float, float, FastRule] = (0, 0.95, 0.5),
        sign: int = 1,
        goodness_weight: float = 0.0,
        negatives: Literal["teacher_forcing", "uniform", "dream"] = "teacher_forcing",
        dream_depth: tuple[int, int] = USUAL_DEPTH,
        dream_temperature: float = 1.0,
        objective: Literal["logistic", "paired", "softmax", "sampled_softmax"] | Objective = "paired",
        threshold: float = 1.0,
        temperature: float = 0.1,
        negatives_per_case: int = 1,
        goodness: Goodness | None = None,
        **shared: Any,
    ) -> None:
        super().__init__(**shared)
        self.hparams["fast_weights"] = described(fast_weights)  # as the net's settings have them
        check_setting(negatives in NEGATIVES, "negatives", negatives, " or ".join(NEGATIVES))
        check_whole("negatives_per_case", negatives_per_case)
        check_setting(dream_temperature >= 0, "dream_temperature", dream_temperature, "at least 0")
        asleep, depth = negatives == "dream", checked_depth(dream_depth)
        check_setting(not asleep or fast_weights[0] == 0, "negatives", negatives, "another with fast weights")
        check_whole("iterations", iterations)
        chosen = objective_of(objective, threshold, temperature)
        warn_of_unused(self.hparams)
        check_negatives(chosen, negatives_per_case, negatives, "teacher_forcing", asleep)
        self.dreams = StreamDreams(negatives_per_case, depth, dream_temperature) if asleep else None
        self.learning = Learning(objective=chosen, iterations=iterations)
        self.noise: Noise = "uniform" if predicts_alone(chosen) else NOISE.get(negatives, "head")
        self.draw = partial(labels_for(chosen, LAST_CHARACTER.get(negatives, forced_symbols)), count=negatives_per_case)
        self.goodness = goodness or MEAN_SQUARE
        self.draws = draws_of(negatives, negatives_per_case, chosen)
        self.state: StreamState | None = None  # of this process' streams
        self.part: Part | None = None  # which of all streams these are
        self.stored_state: StreamState | None = None  # of all streams, from a checkpoint
        self.stored_left: Tensor | None = None  # of their dreams
        self.check_net_settings()

    def match_data(self, data: Any) -> None:
        """See `TextModule.match_data`; let the data be streams and whole documents."""
        super().match_data(data)
        if data is not None:
            data.streamed = True

    def net_settings(self) -> dict[str, Any]:
        """Add what the negatives are drawn from, which decides how `StreamNet.score` weighs the head."""
        return {**super().net_settings(), "noise": self.noise, "goodness": self.goodness}

    # --- evaluation ---------------------------------------------------------------------------------------------------

    def new_evaluation(self) -> StreamEvaluation:
        """Return the metrics."""
        return StreamEvaluation(self.hparams["window"])

    def inputs_and_targets(self, batch: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """Return whole documents `(S, T)`, and their lengths."""
        return batch[0], batch[1]

    def goodness_and_samples(
        self, data: Any, stage: str, documents: Sequence[str]
    ) -> tuple[dict[str, Tensor], list[str]]:
        """See `TextModule.goodness_and_samples`."""
        goodness = goodness_of_kinds(self.net, documents, data.window, seeded_generator(self.seed, 0))
        source = seeded_generator(self.seed, 2)
        return goodness, write_on(self.net, documents, data.window, self.sample_temperature, source)

    # --- training -----------------------------------------------------------------------------------------------------

    def on_train_start(self) -> None:
        """Forget what the streams of the checkpoint that training goes on from know, if it is of another text."""
        before = self.trained_on
        super().on_train_start()
        if before not in (None, self.trained_on):
            self.stored_state = None

    def training_step(self, batch: tuple[Tensor, Tensor], batch_index: int) -> Tensor:
        """Return the local loss of one character of each stream; carry their states on."""
        symbols_B, begins_B = batch
        self.part = part = self.part_of_batch(len(symbols_B))
        source = self.batch_source(batch_index)
        masks = self.batch_masks(part, (self.state_dropout,), source)
        carried = self.carried_state(part, batch_index)
        state = self.net.fresh_where(carried, begins_B)
        negatives: Any
        if self.dreams is None:
            noise_BN = self.batch_noise(part, self.draws * len(self.net.alphabet), source)
            negatives = partial(drawn, self.draw, noise_BN)
        else:
            ends_BK, symbols_BK = self.batch_noise(part, 2 * self.dreams.count, source).chunk(2, dim=1)
            state = self.dreams.begin(state, carried, begins_B, ends_BK)
            negatives = self.dreams.draw(self.net, state, symbols_BK)
        learned, self.state = self.net.local_learning(state, symbols_B, negatives, self.learning, masks)
        figures = learned.loss, learned.head_loss, learned.logits_BC
        return self.finish_text_step(*figures, symbols_B, part, batch_index, learned.mean_goodness())

    def carried_state(self, part: Part, batch_index: int) -> StreamState:
        """Return what our streams know: nothing at an epoch's start, what a checkpoint had, or what was carried on."""
        stored, self.stored_state = self.stored_state, None
        if batch_index > 0 and stored is not None:
            mine = stored.streams(part.mine)
            self.state = StreamState(*(tuple(each.to(self.net.weight) for each in kind) for kind in mine))
            if self.dreams is not None and self.stored_left is not None:
                self.dreams.left_BK = self.stored_left[part.mine].to(self.device)
        if batch_index == 0 or self.state is None:
            self.state = self.net.first_state(part.size)
        return self.state

    def between_steps(self) -> dict[str, Any]:
        """Add the state."""
        return {
            **super().between_steps(),
            "state": self.state,
            "left": None if self.dreams is None else self.dreams.left_BK,
        }

    def go_back(self, before: dict[str, Any]) -> None:
        """Take the state back too."""
        super().go_back(before)
        self.state = before["state"]
        if self.dreams is not None:
            self.dreams.left_BK = before["left"]

    # --- checkpoints --------------------------------------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the state of all streams, for a run that is continued amid an epoch; every process is here at the same time."""
        super().on_save_checkpoint(checkpoint)
        checkpoint[STREAM_KEY] = None
        if self.state is not None and self.part is not None:
            whole = [[whole_batch(each, self.part).cpu() for each in kind] for kind in self.state]
            checkpoint[STREAM_KEY] = dict(zip(StreamState._fields, whole, strict=True))
            if self.dreams is not None and self.dreams.left_BK is not None:
                checkpoint[STREAM_KEY]["left"] = whole_batch(self.dreams.left_BK, self.part).cpu()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the state back."""
        super().on_load_checkpoint(checkpoint)
        stored = checkpoint.get(STREAM_KEY)
        if stored is not None:  # earlier versions had no dreams
            self.stored_state = StreamState(*(tuple(stored.get(name, ())) for name in StreamState._fields))
            self.stored_left = stored.get("left")


def drawn(draw: Callable[..., Tensor], noise_BN: Tensor, logits_BV: Tensor, next_B: Tensor) -> Tensor:
    """Draw wrong characters, `(B,)` or K for each stream `(B, K)`, once logits and next characters are known."""
    return draw(logits_BV, next_B, noise_BN)
