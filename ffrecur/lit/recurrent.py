"""The LightningModule that trains and evaluates a `RecurrentNet`, with automatic optimisation."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch.utilities import rank_zero_info
from matplotlib.figure import Figure
from torch import Tensor, nn

from ffrecur.core.goodness import MEAN_SQUARE
from ffrecur.core.learning import Learning, Masks, Memory
from ffrecur.core.local import LocalLinear
from ffrecur.core.objectives import Objective
from ffrecur.errors import UserError, check_setting, check_whole
from ffrecur.functional import window_score
from ffrecur.lit.goodness import GoodnessModule
from ffrecur.lit.images import images_of, prepare
from ffrecur.lit.report.images import first_of_each_class, goodness_table
from ffrecur.metrics import plots
from ffrecur.metrics.evaluation import Evaluation
from ffrecur.metrics.images import RecurrentEvaluation
from ffrecur.metrics.map_plots import goodness_maps
from ffrecur.negatives.labels import LabelNegatives
from ffrecur.nets.arguments import check_window
from ffrecur.nets.maps import check_field, check_units
from ffrecur.nets.recurrent import RecurrentNet


class RecurrentModule(GoodnessModule):
    """Train a recurrent top-down network on images, each layer by its own goodness.

    One batch is one bottom-up pass, `iterations` iterations on positive data (true labels) and negative data (wrong
    labels), the local gradients summed over the iterations, and one optimiser step.

    Args:
        hidden_features: units of each hidden layer, any number of layers.
        in_features: features of an image; learned from the data.
        num_classes: number of classes; learned from the data.
        damping: share of the previous state in the new one, in [0, 1); or a list, one for each iteration, the last for all
            further ones.
        sign: 1 if positive data shall have high goodness, -1 if low.
        update_scheme: "synchronous" or "alternating" (even hidden layers first, then odd).
        objective: "logistic", "paired" (each negative against the positive of the same image; no threshold), "softmax"
            (the true label against all others, of which none is drawn), "sampled_softmax" (the same with `negatives_per_case`
            wrong ones, most of them the likeliest, which stand for all), or the class path of an `ffrecur.Objective`.
        threshold: goodness at which an image is as likely positive as negative.
        temperature: goodness scale of the objective, greater than 0.
        iterations: iterations in training; all carry loss.
        evaluation_iterations: iterations in validation, test and prediction.
        window: first and last iteration, inclusive, whose mean goodness scores a label.
        head_weight: weight in a label's score of the log-probability that the one-pass head gives it; 0 leaves goodness
            alone, the temperature multiplies both probabilities.
        peer_normalization: strength of peer normalisation; 0 is off.
        memory: "full" (fastest) or "constant" (does not grow with the iterations; the same gradients).
        adversarial_length: how far each training image is moved uphill of layer 1's own loss before the net learns from it, as a
            share of the image's length; 0 is off. See `RecurrentNet.adversarial_images`; half as many iterations more.
        units_per_place: instead of `hidden_features`, the units of each layer at each place of the image: layers are maps, whose
            units read fields of the maps below and above, without weight sharing (section 4).
        field: rows and columns of such a field, an odd number.
        image_shape: rows and columns of an image, and 3 for colour, which maps read; learned from the data.
        negatives: "hard" (wrong labels as the one-pass head would guess them), "uniform", or the class path of an
            `ffrecur.negatives.LabelNegatives`.
        shared: see `GoodnessModule`, `ClassifierModule` and `NetModule`.

    Raises:
        UserError: a setting outside its range.
    """

    kind = "RecurrentNet"
    sees_videos = True
    told_frames: int | None = None

    def __init__(
        self,
        hidden_features: list[int] = [500, 500],  # noqa: B006  # jsonargparse shows the default in --help
        in_features: int | None = None,
        num_classes: int | None = None,
        damping: float | list[float] = 0.3,
        sign: int = 1,
        update_scheme: Literal["synchronous", "alternating"] = "synchronous",
        objective: Literal["logistic", "paired", "softmax", "sampled_softmax"] | Objective = "logistic",
        threshold: float = 1.0,
        temperature: float = 0.1,
        iterations: int = 8,
        evaluation_iterations: int = 8,
        window: tuple[int, int] = (3, 5),
        head_weight: float = 0.0,
        peer_normalization: float = 0.0,
        memory: Memory = "full",
        *,
        negatives: Literal["hard", "uniform"] | LabelNegatives = "hard",
        adversarial_length: float = 0.0,
        units_per_place: list[int] | None = None,
        field: int | None = None,
        image_shape: list[int] | None = None,
        **shared: Any,
    ) -> None:
        # Those of the base that stand here could be given by place in 0.1.0.
        super().__init__(
            sign=sign,
            objective=objective,
            threshold=threshold,
            temperature=temperature,
            head_weight=head_weight,
            peer_normalization=peer_normalization,
            **shared,
        )
        self.learning = Learning(
            objective=self.objective,
            iterations=iterations,
            peer_normalization=self.peer_normalization,
            memory=memory,
            label_smoothing=self.label_smoothing,
        )
        self.evaluation_iterations, self.window = evaluation_iterations, window
        self.learn_from(negatives)
        check_setting(adversarial_length >= 0, "adversarial_length", adversarial_length, "at least 0")
        self.adversarial_length = adversarial_length
        check_whole("evaluation_iterations", evaluation_iterations)
        check_window(window, evaluation_iterations)
        self.window = (window[0], window[1])
        if units_per_place is not None or field is not None:
            self.widths = ("units_per_place", "field")
            check_units(units_per_place)
            check_field(field, (image_shape or [])[:2])
        self.check_net_settings()

    def build_net(self, in_features: int, num_classes: int) -> RecurrentNet:
        """Return a new net; of maps, where the images' shape is not known yet, one of the smallest images that have a field."""
        names = ("damping", "sign", "update_scheme", "center_images", "standardize_images")
        settings = {name: self.hparams[name] for name in names}
        units, field, shape = (self.hparams[name] for name in ("units_per_place", "field", "image_shape"))
        if units is None:
            widths = self.hparams["hidden_features"]
            return RecurrentNet(in_features, widths, num_classes, goodness=self.goodness, **settings)
        goodness = MEAN_SQUARE if shape is None else self.goodness  # which may need the maps' own size
        settings |= {"in_shape": shape or [field, field], "units_per_place": units, "field": field}
        return RecurrentNet(num_classes=num_classes, goodness=goodness, **settings)

    def check_stored(self, stored: dict[str, Any], checkpoint: Path) -> None:
        """As `ClassifierModule.check_stored`; maps must be those of the net too."""
        super().check_stored(stored, checkpoint)
        for name in ("units_per_place", "field"):
            asked, known = self.hparams[name], stored["settings"].get(name)
            if asked != known:
                raise UserError(f"{name} is {asked}, but the net in {checkpoint} has {known}")

    def match_data(self, data: Any) -> None:
        """Take the sizes from the data; raises `UserError` for videos with fewer frames than there are iterations.

        Clips may stay at their last frame instead, see `VideoDataModule.stay_until`; frames that are never seen are logged.
        """
        super().match_data(data)
        counts = {name: self.hparams[name] for name in ("iterations", "evaluation_iterations")}
        if hasattr(data, "stay_until"):
            data.stay_until(max(counts.values()))
        frames = getattr(data, "frames", None)
        if frames is None:
            return
        check_setting(self.adversarial_length == 0, "adversarial_length", self.adversarial_length, "0 for videos")
        for name, count in counts.items():
            check_setting(count <= frames, name, count, f"at most the {frames} frames of the videos")
        if min(counts.values()) < frames != self.told_frames:
            self.told_frames = frames  # once
            first, last = self.window
            rank_zero_info(
                f"warning: the videos have {frames} frames, of which training reads {counts['iterations']} (model.iterations), "
                f"evaluation {counts['evaluation_iterations']} (model.evaluation_iterations); numbers {first} to {last} score "
                "(model.window)"
            )

    def new_evaluation(self) -> RecurrentEvaluation:
        """Return the metrics; while training, no iteration is computed that the validation error does not need."""
        iterations = self.window[1] if self.trainer.state.fn == "fit" else self.evaluation_iterations
        return RecurrentEvaluation(self.net, iterations, self.window, self.temperature, self.head_weight)

    # --- training -----------------------------------------------------------------------------------------------------

    def harder(
        self, images: Tensor, labels_B: Tensor | None, negatives: Any, learning: Learning, masks: Masks
    ) -> Tensor:
        """Return the images moved uphill of layer 1's own loss, where that is set."""
        if self.adversarial_length == 0:
            return images
        length = self.adversarial_length
        moved: Tensor = self.net.adversarial_images(images, labels_B, negatives, learning, length, masks)
        return moved

    def predict_step(self, batch: tuple[Tensor], batch_index: int) -> Tensor:
        """Return the scores of every label, `(B, C)`."""
        return self.net.score(images_of(batch), self.window, self.head_weight)

    # --- evaluation ---------------------------------------------------------------------------------------------------

    def scoring(self) -> dict[str, Any]:
        """Return the window of iterations and the weight of the head."""
        return {"window": list(self.window), "head_weight": self.head_weight}

    def evaluated(self, data: Any, stage: str) -> Evaluation:
        """Add the goodness by iteration and layer, and the pictures."""
        found = super().evaluated(data, stage)
        goodness = goodness_table(self.measured["goodness_positive"], self.measured["goodness_negative"])
        found = found.with_pictures(partial(self.draw, self.measured, data, stage))
        return found._replace(tables={**found.tables, "goodness": goodness})

    def draw(self, measured: dict[str, Tensor], data: Any, stage: str) -> dict[str, Figure]:
        """Return the pictures of an evaluation; those with images in them where the data has some to show."""
        net = self.net
        figures = {
            "goodness": plots.goodness_curves(measured["goodness_positive"], measured["goodness_negative"]),
            "error": plots.error_curve(measured["error_by_iteration"], self.window, measured["error"].item()),
        }
        examples = getattr(data, f"{stage}_set", None)
        if examples is None or not hasattr(data, "image_shape"):  # a data module of the user's own may have neither
            return figures
        shape, shown = data.image_shape, first_of_each_class(examples.labels, limit=6)
        images = prepare(examples.images[shown].to(self.device))
        first_ND = (images if images.ndim == 2 else images[0]).cpu()
        goodness_TLBC = net.label_goodness(images, self.evaluation_iterations)
        figures["labels"] = plots.label_competition(
            first_ND,
            shape,
            goodness_TLBC.cpu(),
            examples.labels[shown],
            self.window,
            net.sign,
            net.class_names,
        )
        if not all(
            isinstance(module, nn.Linear | LocalLinear) for module in net.bottom_up
        ):  # a layer of the user's own
            return figures
        weight = net.bottom_up[0].weight.detach().cpu()
        if net.maps is None:
            figures["receptive_fields"] = plots.receptive_fields(weight, shape)
        else:
            field = (net.maps.field, net.maps.field, net.maps.in_shape[2])
            figures["receptive_fields"] = plots.receptive_fields(weight.flatten(0, 1), field)
            figures["goodness_maps"] = self.draw_maps(images, examples.labels[shown], shape)
        figures["imagination"] = plots.imagination(net.imagine().cpu(), shape, net.class_names)
        best_N2 = window_score(goodness_TLBC, self.window, net.sign).topk(2, dim=1).indices
        expected = [
            (labels_N.cpu(), net.expectation(images, labels_N, self.window[1]).cpu()) for labels_N in best_N2.unbind(1)
        ]
        figures["expectation"] = plots.expectations(first_ND, expected, shape, net.class_names)
        return figures

    @torch.no_grad()
    def draw_maps(self, images: Tensor, labels_N: Tensor, shape: tuple[int, ...], limit: int = 3) -> Figure:
        """Return the picture of the goodness at each place of the maps, for a few images with their true labels."""
        net, count = self.net, min(limit, images.shape[-2])
        images, labels_N = images[..., :count, :], labels_N[:count].to(images.device)
        label_drive = net.top_down[-1](net.label_row(labels_N))
        rolled = net.rollout(images, label_drive, self.evaluation_iterations)
        maps_TLNHW = torch.stack([torch.stack([net.maps.goodness(state) for state in states]) for states in rolled])
        first_ND = images if images.ndim == 2 else images[0]
        return goodness_maps(first_ND.cpu(), shape, maps_TLNHW.permute(2, 1, 0, 3, 4).cpu())
