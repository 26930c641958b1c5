"""The LightningModule that trains a `CharNet` by Forward-Forward, with each source of negative data."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from ffrecur.core.goodness import MEAN_SQUARE, Goodness
from ffrecur.core.learning import Learning
from ffrecur.core.objectives import Objective, SampledSoftmax, check_negatives, objective_of, predicts_alone
from ffrecur.errors import SettingWarning, check_setting, check_whole
from ffrecur.functional import Noise
from ffrecur.lit.dreams import Dreams
from ffrecur.lit.phases import NO_DEPRIVATION, checked_phases, learning_at, warn_of_late
from ffrecur.lit.run.health import repetition
from ffrecur.lit.text import DREAMT, TextModule
from ffrecur.metrics.text_probes import variety
from ffrecur.negatives.labels import labels_for, uniform_labels
from ffrecur.negatives.windows import PAPER_DREAM, WindowNegatives, dreamt_windows, ended_with, forced_symbols
from ffrecur.nets.character import LastSymbols
from ffrecur.processes import sum_over_processes
from ffrecur.seeding import seeded_generator
from ffrecur.text.places import checked_depth, places

DREAM_SOURCE = 1  # tells the noise of dreams from that of a batch
DREAMS_KEY = "ffrecur_dreams"  # entry of a checkpoint: the dreams that the next batches are held against
Negatives = Literal["teacher_forcing", "uniform", "self_generated", "dream", "none"]
NEGATIVES = get_args(Negatives)
LAST_CHARACTER: dict[str, Callable[..., Tensor]] = {
    "teacher_forcing": forced_symbols,
    "uniform": uniform_labels,
}  # what they draw the last one by
USUAL_DEPTH = (1, 5)  # of the characters that are dreamt
OF_DREAMS = {"dream_depth": USUAL_DEPTH, "dream_temperature": 1.0, "dream_every": 1, "dream_every_steps": 0}  # as usual
NOISE: dict[Any, Noise] = {"teacher_forcing": "masked_head", "uniform": "uniform"}


class CharModule(TextModule):
    """Train a character model, each hidden layer by its own goodness, the head by the delta rule.

    One batch: the model predicts what comes after each window; the real window that ends with the next character is
    positive data; a negative window of the same place comes from one of several sources; one optimiser step.

    Args:
        hidden_features: units of each hidden layer, any number of layers.
        sign: 1 if real text shall have high goodness, -1 if low.
        head_layers: layers that the head reads, counted from 1; all by default.
        goodness_weight: weight of goodness, added to the head's logits in predictions and samples, see `CharNet.score`.
        negatives: "teacher_forcing" (the last character a wrong one, as the model predicts it), "uniform" (any wrong
            one), "self_generated" (the paper's: what the model writes on from the beginning of a document), "dream"
            (what it writes on from anywhere), or "none" (hidden layers keep their random weights, a control).
        dream_depth: least and most dreamt characters of a dream, see `ffrecur.negatives.windows.dream_begins`.
        dream_temperature: temperature of the softmax that dreams are drawn from.
        dream_every: epochs after which the model dreams again.
        dream_every_steps: updates after which it does so as well, counted over the whole training; 0 leaves it at the epochs.
        sleep: updates on positive data alone, followed by as many on negative data alone; 0 has both in each update.
        deprivation: the first of the updates, counted from 0, that have positive data alone, and how many they are.
        objective: "logistic", "paired" (each negative against the positive of the same place; no threshold), "softmax" (the
            true next character against all others, of which none is drawn), "sampled_softmax" (the same with
            `negatives_per_case` wrong ones, most of them the likeliest, which stand for all), or the class path of an
            `ffrecur.Objective`.
        threshold: goodness at which a window is as likely positive as negative.
        temperature: goodness scale of the objective, greater than 0.
        negatives_per_case: wrong characters for each window, each of which weighs as much: "uniform" draws different ones,
            "teacher_forcing" each for itself. Of dreams, each window is held against those of so many last rounds of its place.
        goodness: class path of an `ffrecur.Goodness`; the mean square where not given.
        shared: see `TextModule` and `NetModule`.

    Raises:
        UserError: a setting outside its range.
    """

    def __init__(
        self,
        hidden_features: list[int] = [500, 500, 500],  # noqa: B006  # jsonargparse shows the default in --help
        *,
        sign: int = 1,
        head_layers: list[int] | None = None,
        goodness_weight: float = 0.0,
        negatives: Negatives | WindowNegatives = "teacher_forcing",
        dream_depth: tuple[int, int] = USUAL_DEPTH,
        dream_temperature: float = 1.0,
        dream_every: int = 1,
        dream_every_steps: int = 0,
        sleep: int = 0,
        deprivation: tuple[int, int] = NO_DEPRIVATION,
        objective: Literal["logistic", "paired", "softmax", "sampled_softmax"] | Objective = "paired",
        threshold: float = 1.0,
        temperature: float = 0.1,
        negatives_per_case: int = 1,
        goodness: Goodness | None = None,
        **shared: Any,
    ) -> None:
        super().__init__(**shared)
        named = isinstance(negatives, WindowNegatives) or negatives in NEGATIVES
        check_setting(named, "negatives", negatives, " or ".join(NEGATIVES))
        check_setting(dream_temperature >= 0, "dream_temperature", dream_temperature, "at least 0")
        check_whole("dream_every", dream_every)
        check_whole("dream_every_steps", dream_every_steps, 0)
        chosen = objective_of(objective, threshold, temperature)
        check_negatives(chosen, negatives_per_case, negatives, "teacher_forcing", negatives in DREAMT)
        self.sleep, self.deprivation = checked_phases(chosen, sleep, deprivation)
        self.learning = Learning(objective=chosen, iterations=1)
        self.negatives, self.goodness = negatives, goodness or MEAN_SQUARE
        self.draw_windows = drawn_by(negatives, negatives_per_case, chosen)
        self.noise = noise_of(negatives, chosen)
        self.draws = draws_of(negatives, negatives_per_case, chosen)
        depth = checked_depth(dream_depth)
        warn_of_unused(self.hparams)
        self.dream_depth = PAPER_DREAM if negatives == "self_generated" else depth
        self.dreams = Dreams(negatives_per_case)
        self.check_net_settings()

    def net_settings(self) -> dict[str, Any]:
        """Add what the negatives are drawn from, which decides how `CharNet.score` weighs the head."""
        return {**super().net_settings(), "noise": self.noise, "goodness": self.goodness}

    def configure_model(self) -> None:
        """Build the net; without negatives its hidden layers stay as they are."""
        super().configure_model()
        self.net.hidden.requires_grad_(self.negatives != "none")

    def on_train_start(self) -> None:
        """Forget dreams of the checkpoint that training goes on from if they are of another text."""
        before = self.trained_on
        super().on_train_start()
        warn_of_late(self.deprivation, self.trainer.estimated_stepping_batches)
        if self.dreams.windows_GMW is not None:
            of_other_length = self.dreams.windows_GMW.shape[1] != len(self.train_places())
            if of_other_length or before not in (None, self.trained_on):
                self.dreams.forget()

    def on_train_epoch_start(self) -> None:
        """Dream anew if it is time."""
        super().on_train_epoch_start()
        if self.draw_windows is None and self.current_epoch % self.hparams["dream_every"] == 0:
            self.dreams.due = True

    def train_places(self) -> Tensor:
        """Return every place of the training text that the model predicts."""
        return places(self.trainer.datamodule.train_text, self.net.window)  # type: ignore[attr-defined]

    def dream(self, batch_index: int) -> Tensor:
        """Return what the model dreams on from the training text, a window a place; log how varied its dreams are."""
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        temperature = self.hparams["dream_temperature"]
        source = seeded_generator(self.seed, self.current_epoch, batch_index, DREAM_SOURCE)
        shuffle = self.negatives == "dream"
        dreams_MW = dreamt_windows(
            self.net,
            data.train_text,
            self.train_places(),
            self.dream_depth,
            temperature,
            source,
            shuffle,
            self.trainer.global_rank,
            self.trainer.world_size,
        )
        if self.trainer.world_size > 1:
            dreams_MW = sum_over_processes(dreams_MW.to(self.device)).cpu()
        varied = variety(self.net, data.train_documents, temperature, source)
        self.add_figure("train/dream_variety", torch.tensor(varied, dtype=torch.float64))
        self.warn_once(repetition(varied))
        return dreams_MW

    def training_step(self, batch: tuple[Tensor, Tensor], batch_index: int) -> Tensor:
        """Return the local loss of one batch; its backward leaves each layer's local gradients."""
        contexts_BW, next_B = batch[0][:, :-1], batch[0][:, -1]
        source = self.batch_source(batch_index)
        part = self.part_of_batch(len(next_B))
        masks = self.batch_masks(part, (self.state_dropout,), source)
        if self.negatives == "none":
            with torch.autocast(self.device.type, enabled=False):
                logits_BV = self.net.logits(contexts_BW, masks)
            loss = F.cross_entropy(logits_BV, next_B)
            return self.finish_text_step(loss, loss, logits_BV, next_B, part, batch_index)
        negatives: Any
        if self.draw_windows is not None:
            noise_BN = self.batch_noise(part, self.draws * len(self.net.alphabet), source)
            negatives = partial(drawn, self.draw_windows, contexts_BW, noise_BN)
        else:
            steps = self.hparams["dream_every_steps"]
            again = steps > 0 and self.global_step > self.dreams.dreamt_at and self.global_step % steps == 0
            if self.dreams.due or again:
                self.dreams.add(self.dream(batch_index), self.global_step)
            negatives = self.dreams.at(batch[1].cpu()).to(self.device)
        learning = learning_at(self.global_step, self.learning, self.sleep, self.deprivation)
        learned = self.net.local_learning(contexts_BW, next_B, negatives, learning, masks)
        figures = learned.loss, learned.head_loss, learned.logits_BC
        return self.finish_text_step(*figures, next_B, part, batch_index, learned.mean_goodness())

    def between_steps(self) -> dict[str, Any]:
        """Add the dreams."""
        return {**super().between_steps(), "dreams": self.dreams.state()}

    def go_back(self, before: dict[str, Any]) -> None:
        """Take the dreams back too."""
        super().go_back(before)
        self.dreams.load(before["dreams"])

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the dreams, for a run that is continued amid an epoch."""
        super().on_save_checkpoint(checkpoint)
        checkpoint[DREAMS_KEY] = self.dreams.state()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the dreams back."""
        super().on_load_checkpoint(checkpoint)
        self.dreams.load(checkpoint.get(DREAMS_KEY) or {})


def drawn_by(
    negatives: str | WindowNegatives, count: int, objective: Objective | None = None
) -> Callable[..., Any] | None:
    """Return what draws negatives from contexts, next characters, logits and noise; None for dreams, and without negatives.

    Raises `UserError` where several cannot be had.
    """
    if isinstance(negatives, str) and negatives in LAST_CHARACTER:
        check_whole("negatives_per_case", count)
        draw = labels_for(objective, LAST_CHARACTER[negatives])

        def last_characters(contexts_BW: Tensor, next_B: Tensor, logits_BV: Tensor, noise_BN: Tensor) -> Any:
            symbols = draw(logits_BV, next_B, noise_BN, count)
            return ended_with(contexts_BW, symbols.view(-1)) if count == 1 else LastSymbols(symbols)

        return last_characters
    rule = " or ".join((*LAST_CHARACTER, *DREAMT))
    check_whole("negatives_per_case", count)
    check_setting(count == 1 or negatives in DREAMT, "negatives_per_case", count, f"1 unless negatives is {rule}")
    return negatives if isinstance(negatives, WindowNegatives) else None


def draws_of(negatives: object, count: int, objective: Objective) -> int:
    """Return how often each symbol needs noise of its own for so many wrong ones."""
    return count if negatives == "teacher_forcing" and not isinstance(objective, SampledSoftmax) else 1


def drawn(draw: Callable[..., Any], contexts_BW: Tensor, noise_BN: Tensor, logits_BV: Tensor, next_B: Tensor) -> Any:
    """Draw negatives, once logits and next characters are known."""
    return draw(contexts_BW, next_B, logits_BV, noise_BN)


def noise_of(negatives: str | WindowNegatives, objective: Objective) -> Noise:
    """Return what negative symbols are drawn from, see `CharNet.score`; where all are compared, each counts alike."""
    if predicts_alone(objective):
        return "uniform"
    return negatives.noise if isinstance(negatives, WindowNegatives) else NOISE.get(negatives, "head")


def warn_of_unused(settings: Mapping[str, Any]) -> None:
    """Warn of settings that these negatives make no use of, and of goodness that has learned nothing and has a say."""
    negatives, unread = settings["negatives"], dict(OF_DREAMS)
    if negatives == "none":
        unread |= {"sleep": 0, "deprivation": NO_DEPRIVATION}
        if settings["goodness_weight"] > 0:
            idle = f"goodness_weight is {settings['goodness_weight']:g}, but with negatives none no goodness is learned: give 0"
            warnings.warn(idle, SettingWarning, stacklevel=3)
    elif negatives in DREAMT:
        unread = {"dream_depth": USUAL_DEPTH} if negatives == "self_generated" else {}
    kind = negatives if isinstance(negatives, str) else f"a {type(negatives).__name__}"
    for name, usual in unread.items():
        given = settings.get(name, usual)
        if (tuple(given) if isinstance(given, list) else given) != usual:
            warnings.warn(f"{name} is given, but has no effect with negatives {kind}", SettingWarning, stacklevel=3)
