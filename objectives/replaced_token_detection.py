"""Replaced-token detection: ELECTRA (Clark et al. 2020, 2).

    window         Thank you for inviting me to your party last week .
    the generator  [CLS] Thank you [MASK] inviting me to [MASK] party last week . [SEP]
    predicts                       for                   your
    the body       [CLS] Thank you for inviting me to a party last week . [SEP]     with samples of the generator
    predicts       for each token whether it was replaced: "a" was, "for" happens to be the original

loss = sum of -log p(hidden token | all the rest) / number of hidden tokens
     + 50 · sum of binary cross entropy (replaced or not | the whole text) / number of positions
"""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor, nn

from common.errors import UserError
from common.ranges import Range, check_ranges, positive
from data.stream.batch import IGNORE, Batch, Example, MaxLengths
from data.stream.windows import Window, Windows
from data.tokens.tokenizer import Vocabulary
from models.bodies.make import BodyConfig
from models.presets import TransformerConfig
from models.transformer.accounting import linear_flops
from models.transformer.activations import ACTIVATIONS
from objectives.core.base import Objective, SpecialTokenTemplate, check_between_0_and_1, check_share
from objectives.core.network import MAIN, BodyPlan, Network, at_labels
from objectives.core.noise.masking import Unit, budget, choose, mask_keep_or_randomise
from objectives.core.predictions import BinaryCrossEntropy, Prediction, sampled
from objectives.core.segments import whole
from objectives.core.strategy import InferenceStrategy
from objectives.inference.fill_masks import FillMasks

GENERATOR = "generator"


def generator_of(config: TransformerConfig, width_fraction: float) -> TransformerConfig:
    """The shape of the generator beside a body: as deep, its width a fraction, over embeddings of the same width.

    Heads are 64 wide, or the only one is as wide as all; the feed-forward has the preset's own proportion.
    """
    width = 2 * max(1, round(config.width * width_fraction / 2))
    num_heads = max(1, width // 64)
    while width % (2 * num_heads):
        num_heads -= 1
    return replace(
        config,
        width=width,
        embedding_width=config.width_of_embeddings,
        num_heads=num_heads,
        num_key_value_heads=None,
        head_width=None,
        feed_forward_width=None,
    )


def is_replaced(written_ids: Tensor, original_ids: Tensor) -> Tensor:
    """int64, 1 where the id that was written differs from the original; a lucky sample is no replacement."""
    return (written_ids != original_ids).long()


class Detector(nn.Module):
    """[N, D] states -> [N, 1], the logit of "replaced"."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.activate = ACTIVATIONS[config.parts.activation]
        self.dense = nn.Linear(config.width, config.width)
        self.output = nn.Linear(config.width, 1)

    def forward(self, states_ND: Tensor) -> Tensor:
        return self.output(self.activate(self.dense(states_ND)))


class ReplacedTokenDetection(Objective):
    """A small masked LM writes samples over hidden tokens, and the body detects which tokens are not the original ones.

    Both use one table of tokens, of positions and of token types, and one norm of the embeddings. The samples are drawn
    from the generator at temperature 1, without a gradient, by uniform numbers that follow from the window. The body
    is exported, fine-tuned and evaluated; the generator fills masks and scores texts.

    What differs from Clark et al.: hidden tokens are drawn without replacement, so that 15 % are hidden where the
    reference hides 13.8 %; a window is one segment.

    Args:
        noise_density: share of the positions, special tokens included, that are hidden.
        unit: what is hidden: `token`, `word` or `span`, as in the masked LM.
        mask_rate: share of the hidden tokens that are replaced by [MASK]; the rest stay as they are.
        generator_width: the generator's width as a fraction of the body's.
        detection_weight: of the detection loss beside the generator's.
        shared: what every objective takes.
    """

    uses_encoder: bool = True
    uses_decoder: bool = False
    template: SpecialTokenTemplate = SpecialTokenTemplate(before=("cls",), behind=("sep",))
    token_term: str = "masked"
    token_role: str = GENERATOR
    inference: InferenceStrategy = FillMasks()

    def __init__(
        self,
        *,
        noise_density: float = 0.15,
        unit: Unit = "token",
        mask_rate: float = 0.85,
        generator_width: float = 0.25,
        detection_weight: float = 50.0,
        **shared: Any,
    ) -> None:
        super().__init__(**shared)
        check_between_0_and_1(noise_density=noise_density)
        check_share(mask_rate=mask_rate)
        ranges = {"generator_width": Range(0, 1, low_open=True), "detection_weight": positive(1e6)}
        given = {"generator_width": generator_width, "detection_weight": detection_weight}
        check_ranges("model.init_args.", ranges, given)
        self.noise_density, self.mask_rate = noise_density, mask_rate
        self.unit: Unit = unit
        self.generator_width, self.detection_weight = generator_width, detection_weight

    def corrupt(self, window: Window, rng: Generator, windows: Windows, *, vocabulary: Vocabulary) -> Example:
        """`[CLS] window [SEP]` with `budget(length, noise_density)` tokens hidden, and a uniform number for each."""
        ids, origins, numbers = whole(window).encoded(cls=vocabulary.cls, sep=vocabulary.sep)
        candidates, starts = ~vocabulary.is_special[ids], vocabulary.word_starts(ids)
        chosen, as_one = choose(self.unit, candidates, starts, budget(len(ids), self.noise_density), rng)
        noised = mask_keep_or_randomise(
            ids,
            chosen,
            mask=vocabulary.mask,
            pool=vocabulary.ordinary,
            mask_rate=self.mask_rate,
            random_rate=0.0,
            rng=rng,
            as_one=as_one,
        )
        return Example(
            encoder_ids=noised,
            encoder_origins=origins,
            segments=numbers,
            labels={"masked": np.where(chosen, ids, IGNORE), "replaced": ids},
            token_term=self.token_term,
            draws={"masked": rng.random(len(ids), dtype=np.float32)},
        )

    def max_lengths(self, window: int) -> MaxLengths:
        return MaxLengths(encoder=window + 2, decoder=0, targets=budget(window + 2, self.noise_density))

    def nominal_rates(self, window: int) -> dict[str, float]:
        rates = {
            "positions hidden": self.noise_density,
            "of these [MASK]": self.mask_rate,
            "of these kept": 1 - self.mask_rate,
        }
        return {**rates, **super().nominal_rates(window)}

    def bodies(self, config: BodyConfig) -> dict[str, BodyPlan]:
        if not isinstance(config, TransformerConfig):
            raise UserError("replaced-token detection takes a Transformer, whose generator is a narrow copy of it")
        plans = super().bodies(config)
        detector = replace(plans[MAIN], has_head=False)
        config = generator_of(config, self.generator_width)
        return {MAIN: detector, GENERATOR: BodyPlan(config=config, num_blocks=detector.num_blocks, shares=MAIN)}

    def heads(self, config: BodyConfig) -> dict[str, nn.Module]:
        assert isinstance(config, TransformerConfig)
        return {"detector": Detector(config)}

    def written(self, network: Network, states_ND: Tensor, batch: Batch) -> Tensor:
        """int64[B, S], the original text with the generator's samples in the hidden places, without a gradient."""
        masked = batch.labels["masked"]
        assert batch.encoder_ids_BS is not None
        assert masked.draws_N is not None
        with torch.no_grad():
            samples_N = sampled(network.role(GENERATOR).logits(states_ND), masked.draws_N)
        # Every hidden place gets a sample, and all others hold the original already.
        return batch.encoder_ids_BS.flatten().scatter(0, masked.positions_N, samples_N).view_as(batch.encoder_ids_BS)

    def predictions(self, network: Network, batch: Batch) -> dict[str, Prediction]:
        masked, originals = batch.labels["masked"], batch.labels["replaced"]
        states_ND = at_labels(network.states(batch, GENERATOR), masked)
        written_BS = self.written(network, states_ND, batch)
        replaced = originals._replace(ids_N=is_replaced(written_BS.flatten()[originals.positions_N], originals.ids_N))
        states_BSD = network.states(replace(batch, encoder_ids_BS=written_BS))
        generator_head, detector = network.role(GENERATOR).logits, network.head("detector")
        return {
            "masked": Prediction(states_ND, generator_head, masked, loss=self.cross_entropy),
            "replaced": Prediction(
                at_labels(states_BSD, replaced), detector, replaced, BinaryCrossEntropy(), self.detection_weight
            ),
        }

    def validation_weight(self, term: str) -> float:
        return self.detection_weight if term == "replaced" else 1.0

    def exported(self, config: BodyConfig) -> dict[str, str | None]:
        return {MAIN: "ElectraForPreTraining", GENERATOR: "ElectraForMaskedLM"}

    def flops_per_window(self, network: Network, windows: Windows, vocabulary: Vocabulary) -> float:
        """Those of both bodies and of the detector."""
        encoder, _, targets = self.mean_lengths(windows, vocabulary)
        generator = network.flops(GENERATOR, encoder=encoder, decoder=0, targets=targets)
        return (
            generator
            + network.flops(encoder=encoder, decoder=0, targets=0)
            + linear_flops(network.head("detector"), encoder)
        )
