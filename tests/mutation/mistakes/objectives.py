"""Mistakes in objectives: what is hidden, and what is predicted."""

from tests.mutation.mutant import Mutant

CAUSAL_LM = "tests/objectives/test_causal_lm.py"
MASKED_LM = "tests/objectives/test_masked_lm.py"
DENOISING = "tests/objectives/test_denoising.py"
SPAN_CORRUPTION = "tests/objectives/test_span_corruption.py"
APART = "tests/objectives/contract/test_documents_apart.py"
MASKED_DIFFUSION = "tests/objectives/test_masked_diffusion.py"
PREFIX_LM = "tests/objectives/test_prefix_lm.py"
FILL_IN_THE_MIDDLE = "tests/objectives/test_fill_in_the_middle.py"
MIXTURE = "tests/objectives/mixtures/test_mixture.py"
DUAL = "tests/objectives/mixtures/test_dual.py"
DISTILLATION = "tests/objectives/mixtures/test_distillation.py"

MUTANTS = [
    Mutant(
        file="objectives/mixtures/distances.py",
        original="return temperature**2 * F.kl_div(found_NV, targets_NV,",
        replacement="return temperature**2 * F.kl_div(targets_NV, found_NV,",
        mistake="the divergence is taken the wrong way round",
        tests=(DISTILLATION,),
    ),
    Mutant(
        file="objectives/mixtures/teacher.py",
        original="(2 * place * (depth - 1) + number - 1) // (2 * (number - 1))",
        replacement="place * depth // number",
        mistake="a student begins with other layers than the reference's",
        tests=(DISTILLATION,),
    ),
    Mutant(
        file="objectives/masked_diffusion.py",
        original="slope(u, schedule) / rate",
        replacement="1 / rate",
        mistake="the cosine schedule is weighted as the linear one",
        tests=(MASKED_DIFFUSION,),
    ),
    Mutant(
        file="objectives/masked_diffusion.py",
        original="(window.index * GOLDEN + shift) % 1",
        replacement="(window.index * GOLDEN) % 1",
        mistake="a window has the same noise level in every epoch",
        tests=(MASKED_DIFFUSION,),
    ),
    Mutant(
        file="objectives/prefix_lm.py",
        original="prefixes[start : cut + 1]",
        replacement="prefixes[start : cut + 2]",
        mistake="the prefix's region reveals the first target",
        tests=(PREFIX_LM,),
    ),
    Mutant(
        file="objectives/fill_in_the_middle.py",
        original="np.append(whole, vocabulary.eos)",
        replacement="np.append(whole, vocabulary.pad)",
        mistake="no EOS stands behind the middle",
        tests=(FILL_IN_THE_MIDDLE,),
    ),
    Mutant(
        file="objectives/mixtures/mixture.py",
        original="side_stream(rng, MEMBER).random()",
        replacement="rng.random()",
        mistake="drawing a denoiser changes the noise of its window",
        tests=(MIXTURE, DUAL),
    ),
    Mutant(
        file="objectives/mixtures/dual.py",
        original="weight=float(share)",
        replacement="weight=1.0",
        mistake="the two losses are not weighted by their shares",
        tests=(DUAL,),
    ),
    Mutant(
        file="objectives/causal_lm.py",
        original="np.concatenate([[window.previous], labels[:-1]])",
        replacement="labels",
        mistake="labels are not shifted: each token is read where it is the target",
        tests=(CAUSAL_LM,),
    ),
    Mutant(
        file="objectives/causal_lm.py",
        original="labels[window.document_starts] = IGNORE",
        replacement="labels[window.document_starts - 1] = IGNORE",
        mistake="the last token of a document is not predicted in place of the next one's first",
        tests=(CAUSAL_LM,),
    ),
    Mutant(
        file="objectives/masked_lm.py",
        original="candidates, starts = ~vocabulary.is_special[ids],",
        replacement="candidates, starts = ids != vocabulary.pad,",
        mistake="[CLS], [SEP] and EOS may be hidden",
        tests=(MASKED_LM,),
    ),
    Mutant(
        file="objectives/masked_lm.py",
        original="number = budget(len(ids), self.noise_density)",
        replacement="number = budget(int(candidates.sum()), self.noise_density)",
        mistake="the share is taken of the ordinary tokens in place of all positions",
        tests=(MASKED_LM,),
    ),
    Mutant(
        file="objectives/masked_lm.py",
        original="np.where(chosen, ids, IGNORE)",
        replacement="np.where(noised == vocabulary.mask, ids, IGNORE)",
        mistake="labels stand at [MASK] alone, not at hidden tokens that are kept or random",
        tests=(MASKED_LM,),
    ),
    Mutant(
        file="objectives/masked_lm.py",
        original="pool=vocabulary.ordinary",
        replacement="pool=np.arange(vocabulary.size)",
        mistake="random tokens may be special ones",
        tests=(MASKED_LM,),
    ),
    Mutant(
        file="objectives/span_corruption.py",
        original="ended(target[0], vocabulary.eos), ended(target[1], NOWHERE)",
        replacement="target",
        mistake="EOS is not among the targets",
        tests=(SPAN_CORRUPTION,),
    ),
    Mutant(
        file="objectives/span_corruption.py",
        original="shifted(labels, vocabulary.pad,",
        replacement="shifted(labels, vocabulary.bos,",
        mistake="T5's decoder starts with another token than the padding",
        tests=(SPAN_CORRUPTION, APART),
    ),
    Mutant(
        file="objectives/denoising.py",
        original="shifted(labels, vocabulary.eos,",
        replacement="shifted(labels, vocabulary.bos,",
        mistake="BART's decoder starts with <s> in place of </s>",
        tests=(DENOISING, APART),
    ),
    Mutant(
        file="objectives/denoising.py",
        original="min(insertions, len(window) - len(source))",
        replacement="max(insertions, len(window) - len(source))",
        mistake="insertions make the source longer than the window",
        tests=(DENOISING,),
    ),
]
