"""Mistakes in how runs are measured: texts scored otherwise than in training, and averages of the wrong things."""

from tests.mutation.mutant import Mutant

SCORERS = "tests/objectives/inference/test_likelihood.py"
SCORING = "tests/evaluation/scoring/test_likelihood.py"
CACHED = "tests/evaluation/scoring/test_cached.py"
CONTINUATION = "tests/evaluation/scoring/tasks/test_continuation.py"
MINIMAL_PAIRS = "tests/evaluation/scoring/tasks/test_minimal_pairs.py"

MUTANTS = [
    Mutant(
        file="objectives/inference/likelihood.py",
        original="masked[1 + place : 1 + ends[place]] = vocabulary.mask",
        replacement="masked[place : ends[place]] = vocabulary.mask",
        mistake="a masked copy shows the token that it predicts",
        tests=(SCORERS,),
    ),
    Mutant(
        file="objectives/inference/likelihood.py",
        original="labels[: len(before[0]) - 1] = IGNORE",
        replacement="pass",
        mistake="what is given counts as predicted",
        tests=(SCORERS,),
    ),
    Mutant(
        file="objectives/inference/likelihood.py",
        original="rest = within(tokens, place + 1)",
        replacement="rest = within(tokens, place)",
        mistake="a mask of the denoiser hides nothing",
        tests=(SCORERS,),
    ),
    Mutant(
        file="objectives/inference/likelihood.py",
        original="labels[: max(len(prefix), int(not predicts_first))] = IGNORE",
        replacement="pass",
        mistake="a continuation is scored together with its prefix",
        tests=(SCORERS,),
    ),
    Mutant(
        file="evaluation/scoring/likelihood.py",
        original="np.subtract.at(log_likelihoods, owners_N, losses_N * weighted_N)",
        replacement="log_likelihoods[owners_N] -= losses_N * weighted_N",
        mistake="of several labels of a text in one batch only the last counts",
        tests=(SCORING,),
    ),
    Mutant(
        file="evaluation/scoring/likelihood.py",
        original="prefix = prefix[over:]",
        replacement="prefix = prefix[:-over]",
        mistake="a long prefix loses its end in place of its beginning",
        tests=(SCORING,),
    ),
    Mutant(
        file="evaluation/scoring/cached.py",
        original="json.dumps([name, self.precision, passages])",
        replacement="json.dumps([name, self.precision, len(passages)])",
        mistake="other texts are taken for those that were scored",
        tests=(CACHED,),
    ),
    Mutant(
        file="evaluation/scoring/cached.py",
        original="if scorer.is_normalised and not scorer.is_control",
        replacement="if not scorer.is_control",
        mistake="a pseudo-likelihood passes for a likelihood",
        tests=(CACHED,),
    ),
    Mutant(
        file="evaluation/scoring/tasks/minimal_pairs.py",
        original="(good > bad) + 0.5 * (good == bad)",
        replacement="1.0 * (good >= bad)",
        mistake="a tie counts as accurate",
        tests=(MINIMAL_PAIRS,),
    ),
    Mutant(
        file="evaluation/scoring/tasks/continuation.py",
        original="scores = bits / num_bytes.mean()",
        replacement="scores = bits / num_bytes",
        mistake="a short passage counts as much as a long one",
        tests=(CONTINUATION,),
    ),
    Mutant(
        file="evaluation/scoring/tasks/continuation.py",
        original="num_bytes = np.array([len(passage.text.encode())",
        replacement="num_bytes = np.array([len(passage.text)",
        mistake="characters are counted for bytes",
        tests=(CONTINUATION,),
    ),
]
