"""Mistakes in the relatives: what is written, hidden, seen and weighed, the recurrent body, and metrics by length."""

from tests.mutation.mutant import Mutant

RTD = "tests/objectives/test_replaced_token_detection.py"
DIFFUSION = "tests/objectives/test_masked_diffusion.py"
PREFIX = "tests/objectives/test_prefix_lm.py"
MIDDLE = "tests/objectives/test_fill_in_the_middle.py"
UL2 = "tests/objectives/mixtures/test_mixture.py"
DUAL = "tests/objectives/mixtures/test_dual.py"
ORDER = "tests/objectives/core/test_sentence_order.py"
RECURRENT = "tests/models/recurrent/test_recurrent.py"
BY_LENGTH = "tests/finetuning/metrics/test_by_length.py"
BOUNDS = "tests/evaluation/report/test_bounds_and_parts.py"
FLAGS = "tests/training/setup/test_command_line.py"

MUTANTS = [
    Mutant(
        file="objectives/replaced_token_detection.py",
        original="scatter(0, masked.positions_N, samples_N)",
        replacement="scatter(0, masked.positions_N, masked.ids_N)",
        mistake="the original tokens are written, and none is replaced",
        tests=(f"{RTD}::test_samples_are_written_into_the_original_text_in_the_hidden_places_alone",),
    ),
    Mutant(
        file="objectives/replaced_token_detection.py",
        original="BinaryCrossEntropy(), self.detection_weight",
        replacement="BinaryCrossEntropy()",
        mistake="the detection loss has no weight",
        tests=(f"{RTD}::test_an_untrained_detector_guesses", f"{RTD}::test_the_losses_of_the_worked_example"),
    ),
    Mutant(
        file="objectives/replaced_token_detection.py",
        original="+ network.flops(encoder=encoder, decoder=0, targets=0)",
        replacement="+ network.flops(GENERATOR, encoder=encoder, decoder=0, targets=0)",
        mistake="the FLOPs are twice those of the generator",
        tests=(f"{RTD}::test_flops_count_both_bodies",),
    ),
    Mutant(
        file="objectives/masked_diffusion.py",
        original="rate = (1 - EPSILON) * hidden_share(u, schedule) + EPSILON",
        replacement="rate = hidden_share(u, schedule) + EPSILON",
        mistake="more tokens are hidden than their weights stand for",
        tests=(
            f"{DIFFUSION}::test_n31_a_perfect_predictor_loses_the_joint_entropy",
            f"{DIFFUSION}::test_n33_the_losses_of_a_window_by_hand",
        ),
    ),
    Mutant(
        file="objectives/inference/unmask.py",
        original="(stratum + rng.random()) / draws)",
        replacement="rng.random())",
        mistake="the numbers of hidden tokens are not drawn in strata",
        tests=(f"{DIFFUSION}::test_n35_and_scoring_hides_each_number_of_tokens_alike_and_counts_every_token_once",),
    ),
    Mutant(
        file="objectives/prefix_lm.py",
        original="labels[start:cut] = IGNORE",
        replacement="labels[start : cut - 1] = IGNORE",
        mistake="the last token of a prefix, which is seen, is a target",
        tests=(f"{PREFIX}::test_n18_the_packed_vector",),
    ),
    Mutant(
        file="objectives/fill_in_the_middle.py",
        original="pieces = [before, behind, parts.suffix, middle, parts.prefix, parts.middle]",
        replacement="pieces = [before, behind, parts.suffix, parts.prefix, middle, parts.middle]",
        mistake="with the suffix first, the prefix stands before the mark of the middle",
        tests=(MIDDLE,),
    ),
    Mutant(
        file="objectives/fill_in_the_middle.py",
        original="np.sort(rng.integers(length + 1, size=2))",
        replacement="np.sort(rng.integers(length, size=2))",
        mistake="no middle reaches to the end of its text",
        tests=(f"{MIDDLE}::test_n27_the_middle_is_as_long_as_two_uniform_boundaries_make_it",),
    ),
    Mutant(
        file="objectives/mixtures/mixture.py",
        original="member=number,",
        replacement="member=0,",
        mistake="validation takes every window for the first denoiser's",
        tests=(f"{UL2}::test_the_mean_is_over_the_tokens_of_all_denoisers_and_validation_has_one_of_each",),
    ),
    Mutant(
        file="objectives/mixtures/dual.py",
        original="**dict.fromkeys(others, 0.0)",
        replacement="**dict.fromkeys(others, 1.0)",
        mistake="a window counts in the divisor of the objective that it has no label of",
        tests=(DUAL,),
    ),
    Mutant(
        file="objectives/core/segments.py",
        original="label = SWAPPED if segments.label == IN_ORDER else IN_ORDER",
        replacement="label = SWAPPED",
        mistake="segments that are swapped back count as swapped",
        tests=(f"{ORDER}::test_both_segments_are_of_one_document_and_stand_one_behind_the_other",),
    ),
    Mutant(
        file="models/recurrent/cells.py",
        original='if name.startswith("bias_ih"):',
        replacement='if name.startswith("bias"):',
        mistake="the forget bias stands in both vectors",
        tests=(f"{RECURRENT}::test_the_forget_bias_stands_in_one_of_the_two_vectors",),
    ),
    Mutant(
        file="models/recurrent/attention.py",
        original="return torch.where(visible_B1S, scores_BTS, HIDDEN).softmax(dim=-1) * visible_B1S",
        replacement="return scores_BTS.softmax(dim=-1) * visible_B1S",
        mistake="padding takes weight from the words",
        tests=(f"{RECURRENT}::test_weights_sum_to_one_and_are_zero_on_padding",),
    ),
    Mutant(
        file="models/recurrent/recurrent.py",
        original="query_B1D = cache.states[-1][0][:, None]",
        replacement="query_B1D = cache.states[0][0][:, None]",
        mistake="Bahdanau's scores are of the first layer's state",
        tests=(
            f"{RECURRENT}::test_bahdanaus_query_is_the_last_layers_state_before_the_step_and_luongs_the_one_after_it",
        ),
    ),
    Mutant(
        file="models/recurrent/recurrent.py",
        original="forward_BSD[rows_B, (lengths_B - 1).clamp(min=0)]",
        replacement="forward_BSD[rows_B, -1]",
        mistake="the context vector of a short source is that of its padding",
        tests=(f"{RECURRENT}::test_neither_padding_nor_the_order_of_rows_changes_anything",),
    ),
    Mutant(
        file="finetuning/metrics/by_length.py",
        original="length > edge for edge in edges",
        replacement="length >= edge for edge in edges",
        mistake="a length that is an edge belongs to the longer ones",
        tests=(f"{BY_LENGTH}::test_edges_close_their_ranges",),
    ),
    Mutant(
        file="finetuning/tasks/text_to_text.py",
        original="[len(row.source) for row in rows]",
        replacement="[len(self.as_text(row)[0]) for row in rows]",
        mistake="the name of the task counts as part of the source",
        tests=(f"{BY_LENGTH}::test_a_metric_of_a_range_is_the_metric_of_its_rows",),
    ),
    Mutant(
        file="evaluation/statistics/aggregate.py",
        original="error=math.sqrt(sum(bound.error**2 for bound in bounds)) / len(bounds)",
        replacement="error=sum(bound.error for bound in bounds) / len(bounds)",
        mistake="errors of independent draws are added up",
        tests=(f"{BOUNDS}::test_the_error_of_the_mean_of_bounds_falls_with_the_seeds",),
    ),
    Mutant(
        file="evaluation/report/text/formatting.py",
        original="{BOUND if summary.bound else ''}",
        replacement="",
        mistake="an upper bound is written as a score",
        tests=(f"{BOUNDS}::test_a_bound_is_written_with_its_sign_its_draws_and_its_error",),
    ),
    Mutant(
        file="training/setup/cli.py",
        original="*flags_of_others(body, self.body)",
        replacement="",
        mistake="the schema of one body refuses the settings of another",
        tests=(f"{FLAGS}::test_no_body_is_refused_the_settings_of_its_own_by_the_schema_of_another",),
    ),
]
