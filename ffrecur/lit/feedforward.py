"""The LightningModule that trains and evaluates a `FeedForwardNet`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from ffrecur.core.learning import Learning
from ffrecur.core.local import LocalLinear
from ffrecur.errors import UserError, check_setting, check_whole
from ffrecur.lit.goodness import GoodnessModule
from ffrecur.lit.images import images_of, prepare
from ffrecur.lit.mixing import check_batches, check_separation, mixed
from ffrecur.lit.report.images import first_of_each_class, goodness_predictions, goodness_table
from ffrecur.metrics import plots
from ffrecur.metrics.evaluation import Evaluation, Table
from ffrecur.metrics.feedforward import FeedForwardEvaluation, UnsupervisedEvaluation
from ffrecur.metrics.separation import SeparationEvaluation
from ffrecur.negatives.images import Hybrids, ImageNegatives
from ffrecur.negatives.labels import LabelNegatives
from ffrecur.nets.feedforward import FeedForwardNet
from ffrecur.nets.layers import local_layers
from ffrecur.processes import Part, whole_batch
from ffrecur.seeding import seeded_generator

HYBRIDS = Hybrids()


class FeedForwardModule(GoodnessModule):
    """Train a feed-forward net on images, each layer by its own goodness: supervised (section 3.3) or not (section 3.2).

    With the label in the input one batch is one neutral pass, from which the head learns and hard negatives are drawn, one
    pass of positive data (true labels) and one of negative data (wrong labels), and one optimiser step. Without, it is one
    pass of images and one of negative images; labels serve the head alone, which is the read-out.

    Args:
        hidden_features: units of each hidden layer, any number of layers.
        in_features: features of an image; learned from the data.
        num_classes: number of classes; learned from the data. None where these have no labels: such a net has no head.
        layers: instead of `hidden_features`, layers of local receptive fields without weight sharing: for each
            `out_channels`, `kernel`, and, where not 1 and 0, `stride` and `padding`. See `ffrecur.LocalLinear`.
        image_shape: rows and columns of an image, and 3 for colour, which such layers read; learned from the data.
        label: where the label is: "pixels" (instead of the first inputs, one for each class), "beside" (after the image), or
            null (nowhere: unsupervised).
        label_scale: what stands in the label's input.
        head_layers: layers that the head reads, counted from 1; all but the first where not given.
        score_layers: layers whose goodness scores a label, counted from 1; as `head_layers` where not given. Without labels
            it has no effect, and neither have `label_scale` and `head_weight`.
        negatives: "hard" (wrong labels as the head would guess them), "uniform", or the class path of an
            `ffrecur.negatives.LabelNegatives`; without a label "hybrid" (of two images) or the class path of an
            `ffrecur.negatives.ImageNegatives`. "hard" or "hybrid" where not given.
        shared: see `GoodnessModule`, `ClassifierModule` and `NetModule`.

    Raises:
        UserError: a setting outside its range.
    """

    kind = "FeedForwardNet"
    logged = ("error", "one_pass_error", "separation_error")
    make_images: ImageNegatives  # where there is no label
    structure = ("in_features", "hidden_features", "num_classes", "head_layers")

    def __init__(
        self,
        hidden_features: list[int] = [500, 500],  # noqa: B006  # jsonargparse shows the default in --help
        in_features: int | None = None,
        num_classes: int | None = None,
        *,
        layers: list[dict[str, int]] | None = None,
        image_shape: list[int] | None = None,
        label: Literal["pixels", "beside"] | None = "pixels",
        label_scale: float = 1.0,
        head_layers: list[int] | None = None,
        score_layers: list[int] | None = None,
        negatives: Literal["hard", "uniform", "hybrid"] | LabelNegatives | ImageNegatives | None = None,
        **shared: Any,
    ) -> None:
        super().__init__(**shared)
        self.image_shape: Any = image_shape
        self.learning = Learning(
            objective=self.objective,
            iterations=1,
            peer_normalization=self.peer_normalization,
            label_smoothing=self.label_smoothing,
        )
        if label is None:
            self.mix_from(negatives or "hybrid")
        else:
            self.learn_from(negatives or "hard")  # type: ignore[arg-type]  # it refuses others
        if self.reads_shape:
            self.widths = ("layers",)
        else:
            self.check_net_settings()

    def mix_from(self, negatives: str | LabelNegatives | ImageNegatives) -> None:
        """Take the settings of negative images; raises `UserError` for those outside their range."""
        made = HYBRIDS if negatives == "hybrid" else negatives
        allowed = "hybrid or an ffrecur.negatives.ImageNegatives where label is null"
        check_setting(isinstance(made, ImageNegatives), "negatives", negatives, allowed)
        check_whole("negatives_per_case", self.negatives_per_case)
        self.make_images = made  # type: ignore[assignment]

    def match_data(self, data: Any) -> None:
        """Take the sizes from the data; raises `UserError` for images whose shape no hybrid could have, too."""
        super().match_data(data)
        self.target = "val/separation_error" if self.headless else "val/error"
        shape = getattr(data, "image_shape", None)
        self.image_shape = self.hparams["image_shape"] if shape is None else list(shape)
        if self.hparams["label"] is None:
            check_setting(self.image_shape is not None, "image_shape", None, "told by the data where label is null")
            check_batches(data, self.negatives_per_case)
        if self.headless:
            check_separation(data)

    def check_stored(self, stored: dict[str, Any], checkpoint: Path) -> None:
        """As `NetModule.check_stored`; where the label is, and local layers, must be those of the net too."""
        super().check_stored(stored, checkpoint)
        self.check_layers(stored, checkpoint)
        asked, known = self.hparams["label"], stored["settings"].get("label")
        if asked != known:
            raise UserError(f"label is {asked}, but the net in {checkpoint} has {known}")

    def negatives_of(self, images: Tensor, part: Part, noise_BC: Tensor, batch_index: int) -> Any:
        """Return what draws wrong labels; without a label negative images, `(K, B, D)`.

        Whom an image is paired with is a function of seed, epoch and batch, of the batch as a whole: any number of processes
        makes the same.
        """
        if self.hparams["label"] is not None:
            return super().negatives_of(images, part, noise_BC, batch_index)
        source = seeded_generator(self.seed, self.current_epoch, batch_index, 1)
        everyone = whole_batch(images, part)
        return mixed(self.make_images, images, everyone, part, self.image_shape, self.negatives_per_case, source)

    def build_net(self, in_features: int, num_classes: int) -> FeedForwardNet:
        """Return a new net."""
        names = ("label", "label_scale", "sign", "center_images", "head_layers", "score_layers", "standardize_images")
        settings = {name: self.hparams[name] for name in names}
        layers, widths = self.hparams["layers"], self.hparams["hidden_features"]
        local = None if layers is None else local_layers(self.hparams["image_shape"], layers)
        widths = None if local is not None else widths
        net = FeedForwardNet(in_features, widths, num_classes, goodness=self.goodness, layers=local, **settings)
        if local is not None:
            net.reset_parameters()  # which the net does not do to modules that it is given
        return net

    @property
    def learns_without_labels(self) -> bool:
        """Whether the hidden layers need no labels."""
        return self.hparams["label"] is None

    def new_evaluation(self) -> nn.Module:
        """Return the metrics."""
        if self.hparams["label"] is not None:
            return FeedForwardEvaluation(self.net, self.temperature, self.head_weight)
        kind = SeparationEvaluation if self.headless else UnsupervisedEvaluation
        return kind(self.net, partial(mixed, self.make_images, image_shape=self.image_shape))

    def predict_step(self, batch: tuple[Tensor], batch_index: int) -> Tensor:
        """Return the scores of every label, `(B, C)`; of a net without a head the goodness of its layers, `(B, L)`."""
        images = images_of(batch)
        if self.headless:
            return self.net.judged(images, head=False).goodness_LBC[..., 0].T
        return self.net.score(images, self.head_weight)

    def predicted(self, scores_NC: Tensor, files: Sequence[str] | None) -> Table:
        """Return the table of a prediction: classes and scores, or goodness by layer of a net without a head."""
        return goodness_predictions(scores_NC, files) if self.headless else super().predicted(scores_NC, files)

    # --- evaluation ---------------------------------------------------------------------------------------------------

    def scoring(self) -> dict[str, Any]:
        """Return the weight of the head, and the layers whose goodness counts; of a net without labels those that it reads."""
        if self.headless:
            return {}
        if self.net.label is None:
            return {"head_layers": list(self.net.head_layers)}
        return {"head_weight": self.head_weight, "score_layers": list(self.net.score_layers)}

    def evaluated(self, data: Any, stage: str) -> Evaluation:
        """Add the goodness by layer, and the picture of what the first layer looks for."""
        found = super().evaluated(data, stage)
        goodness = goodness_table(self.measured["goodness_positive"], self.measured["goodness_negative"])
        return found.with_pictures(partial(self.draw, data, stage))._replace(
            tables={**found.tables, "goodness": goodness}
        )

    def draw(self, data: Any, stage: str) -> dict[str, Figure]:
        """Return the pictures of the receptive fields, where the first layer has any, and of ten negative images."""
        shape, lowest, figures = getattr(data, "image_shape", None), self.net.hidden[0], {}
        if isinstance(lowest, LocalLinear):
            fields_HN, side = lowest.weight.detach().cpu().flatten(0, 1), lowest.kernel
            figures["receptive_fields"] = plots.receptive_fields(fields_HN, (side, side, lowest.in_shape[2]))
        elif shape is not None and type(lowest) is nn.Linear:
            weight_HD = lowest.weight.detach().cpu()[:, : self.net.in_features]
            figures["receptive_fields"] = plots.receptive_fields(weight_HD, shape)
        examples = getattr(data, f"{stage}_set", None)
        if self.hparams["label"] is None and shape is not None and examples is not None and len(examples.images) > 1:
            figures["negatives"] = plots.mixtures(self.ten_negatives(examples), shape)
        return figures

    def ten_negatives(self, examples: Any) -> dict[str, Tensor]:
        """Return up to ten images, those that they are mixed with, what is taken of the first, and the negative images."""
        shown = [] if examples.labels is None else first_of_each_class(examples.labels, limit=10)
        shown = shown if len(shown) > 1 else list(range(min(10, len(examples.images))))
        images_ND = prepare(examples.images[shown])
        others_ND = images_ND.roll(1, 0)
        noise_NP = torch.rand(len(images_ND), math.prod(self.image_shape[:2]), generator=seeded_generator(0))
        mask_ND = self.make_images(torch.ones_like(images_ND), torch.zeros_like(images_ND), noise_NP, self.image_shape)
        negatives_ND = self.make_images(images_ND, others_ND, noise_NP, self.image_shape)
        return {"image": images_ND, "other": others_ND, "mask": mask_ND, "negative": negatives_ND}
