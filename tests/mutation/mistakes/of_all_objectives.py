"""Mistakes in what all objectives share: noise, segments, losses, where weights come from and go to."""

from tests.mutation.mutant import Mutant

MASKED_LM = "tests/objectives/test_masked_lm.py"
NEXT_SENTENCE = "tests/objectives/core/test_next_sentence.py"
DENOISING = "tests/objectives/test_denoising.py"
SPAN_CORRUPTION = "tests/objectives/test_span_corruption.py"
NOISE = "tests/objectives/core/test_noise.py"
NOISE_SPANS = "tests/objectives/core/test_noise_spans.py"
APART = "tests/objectives/contract/test_documents_apart.py"
BASE = "tests/objectives/core/test_base.py"
LAW_5 = "tests/test_laws.py::test_law_5_input_and_labels_together_hold_every_token_of_every_window"
WEIGHTS_THAT_FIT = "tests/objectives/start/test_weights_that_fit.py"
WARM_START = "tests/objectives/start/test_warm_start.py"
MASKED_DIFFUSION = "tests/objectives/test_masked_diffusion.py"
DISTILLATION = "tests/objectives/mixtures/test_distillation.py"
ATTENTION_MAPS = "tests/objectives/inspection/test_attention.py"

MUTANTS = [
    Mutant(
        file="objectives/core/network.py",
        original="for body in self.frozen:\n            body.eval()",
        replacement="for body in self.frozen:\n            body.train(mode)",
        mistake="a teacher drops out",
        tests=(DISTILLATION,),
    ),
    Mutant(
        file="objectives/inspection/attention.py",
        original="layers = [torch.cat(weights, dim=2)] if place.is_stepwise else weights",
        replacement="layers = [torch.cat(weights, dim=2)] if place.is_stepwise else weights[::-1]",
        mistake="the last layer is counted as the first",
        tests=(ATTENTION_MAPS,),
    ),
    Mutant(
        file="objectives/core/noise/hiding.py",
        original="{term: float(len(window))}",
        replacement="{term: float(max(is_hidden.sum(), 1))}",
        mistake="diffusion's loss is divided by the hidden tokens, which is no bound",
        tests=(MASKED_DIFFUSION,),
    ),
    Mutant(
        file="objectives/inference/unmask.py",
        original="number / (count * draws)",
        replacement="1 / draws",
        mistake="the losses of a few hidden tokens stand for the whole text",
        tests=(MASKED_DIFFUSION,),
    ),
    Mutant(
        file="objectives/core/segments.py",
        original="FOLLOWS, RANDOM_SEGMENT = 0, 1",
        replacement="FOLLOWS, RANDOM_SEGMENT = 1, 0",
        mistake="the label of next-sentence prediction is flipped",
        tests=(NEXT_SENTENCE, LAW_5),
    ),
    Mutant(
        file="objectives/core/segments.py",
        original="own.stop <= documents.start",
        replacement="own.start <= documents.start",
        mistake="a random segment may come from the first one's own document",
        tests=(NEXT_SENTENCE,),
    ),
    Mutant(
        file="objectives/core/segments.py",
        original="numbers[start : end + 1] = tokens",
        replacement="numbers[start:end] = tokens",
        mistake="the [SEP] behind the second segment belongs to the first",
        tests=(MASKED_LM,),
    ),
    Mutant(
        file="objectives/core/noise/masking.py",
        original="return max(1, round(length * rate))",
        replacement="return max(1, int(length * rate))",
        mistake="the budget is rounded down",
        tests=(NOISE,),
    ),
    Mutant(
        file="objectives/core/noise/masking.py",
        original="noised[places[draws < mask_rate]] = mask",
        replacement="noised[places[draws < random_rate]] = mask",
        mistake="80 and 10 of 80/10/10 change places",
        tests=(NOISE,),
    ),
    Mutant(
        file="objectives/core/noise/spans.py",
        original="[: parts - 1] + 1",
        replacement="[: parts - 1]",
        mistake="a span may have no length",
        tests=(NOISE_SPANS,),
    ),
    Mutant(
        file="objectives/core/noise/spans.py",
        original="ids = np.concatenate([[start], labels[:-1]])",
        replacement="ids = np.append(labels[1:], start)",
        mistake="the decoder's input is shifted to the wrong side",
        tests=(SPAN_CORRUPTION, APART),
    ),
    Mutant(
        file="objectives/core/noise/spans.py",
        original="ids[1:][(before != here)",
        replacement="ids[:-1][(before != here)",
        mistake="the token before a document's first becomes the start token",
        tests=(APART,),
    ),
    Mutant(
        file="objectives/core/noise/rewriting.py",
        original="math.ceil(rate * len(starts))",
        replacement="int(rate * len(starts))",
        mistake="too few sentences change places",
        tests=(NOISE_SPANS,),
    ),
    Mutant(
        file="objectives/core/noise/spans.py",
        original="ends, sentinels[: len(starts)])",
        replacement="ends, sentinels[1 : len(starts) + 1])",
        mistake="the sentinels of the input are off by one from those of the targets",
        tests=(SPAN_CORRUPTION,),
    ),
    Mutant(
        file="objectives/core/noise/rewriting.py",
        original="body_end = end - (window.tokens[end - 1] == eos)",
        replacement="body_end = end",
        mistake="EOS wanders into the document with the last sentence",
        tests=(DENOISING,),
    ),
    Mutant(
        file="objectives/core/predictions.py",
        original='loss = F.cross_entropy(logits_nV, ids_n, reduction="sum")',
        replacement='loss = F.cross_entropy(logits_nV, ids_n, reduction="mean")',
        mistake="a term is the mean of a micro-batch, so that a step is a mean of means",
        tests=(BASE,),
    ),
    Mutant(
        file="objectives/core/predictions.py",
        original="return Term(sums.loss, minimised,",
        replacement="return Term(minimised, minimised,",
        mistake="the z-loss is reported as if it were cross entropy",
        tests=(BASE,),
    ),
    Mutant(
        file="objectives/core/network.py",
        original="encoder_lengths_B=batch.encoder_lengths_B,",
        replacement="encoder_lengths_B=None,",
        mistake="the padding mask never reaches the Transformer",
        tests=(BASE, "tests/objectives/contract/test_contract.py"),
    ),
    Mutant(
        file="objectives/core/network.py",
        original="encoder_documents_BS=batch.encoder_documents_BS,",
        replacement="encoder_documents_BS=None,",
        mistake="documents meant to be apart meet in the encoder",
        tests=(APART,),
    ),
    Mutant(
        file="objectives/core/base.py",
        original="FLOPS_OF_A_STEP = 3",
        replacement="FLOPS_OF_A_STEP = 2",
        mistake="the backward pass is counted as one forward pass",
        tests=(BASE,),
    ),
    Mutant(
        file="objectives/start/warm_start.py",
        original="theirs.cpu().double().mean(dim=0",
        replacement="theirs.cpu().double().sum(dim=0",
        mistake="rows of new tokens are the sum of the others",
        tests=(WEIGHTS_THAT_FIT,),
    ),
    Mutant(
        file="objectives/start/warm_start.py",
        original="source != stack and name.endswith(BOUND_TO_STACK)",
        replacement="False",
        mistake="relative positions are carried from one direction to both",
        tests=(WEIGHTS_THAT_FIT,),
    ),
    Mutant(
        file="objectives/core/pretraining.py",
        original="is_new = self.trainer.ckpt_path is None",
        replacement="is_new = self.trainer.ckpt_path is not None",
        mistake="a run begins at random, and when it goes on, with the weights it should have begun with",
        tests=(WARM_START,),
    ),
    Mutant(
        file="objectives/weights/export.py",
        original='single = [*before, "$A", *behind]',
        replacement='single = [*behind, "$A", *before]',
        mistake="an exported tokenizer has the special tokens of both ends the wrong way round",
        tests=("tests/objectives/weights/test_export.py",),
    ),
]
