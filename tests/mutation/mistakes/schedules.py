"""Mistakes in schedules: which member has which window, and the attention and losses of one set of weights."""

from tests.mutation.mutant import Mutant

MIXTURE = "tests/data/stream/test_mixture.py"
SCHEDULE = "tests/objectives/mixtures/test_schedule.py"
MISTAKES = "tests/objectives/mixtures/test_schedule_mistakes.py"
ONE_STACK = f"{SCHEDULE}::test_one_stack_is_both_models_with_the_same_weights"
FIRST_STAGE = f"{SCHEDULE}::test_the_first_stage_is_its_objective_alone_and_flops_are_those_of_all_stages"
BRANCH = f"{MISTAKES}::test_a_branch_is_refused_where_the_stages_before_it_are_others"

MUTANTS = [
    Mutant(
        file="objectives/mixtures/schedule.py",
        original="is_causal=member.uses_decoder)",
        replacement="is_causal=self.uses_decoder)",
        mistake="every member has the attention mask of the last one",
        tests=(ONE_STACK,),
    ),
    Mutant(
        file="objectives/mixtures/schedule.py",
        original='weight=self.shares[name] if self.order == "mixed" else 1.0',
        replacement="weight=1.0",
        mistake="shares do not weigh the losses of a mixture",
        tests=(ONE_STACK,),
    ),
    Mutant(
        file="objectives/mixtures/schedule.py",
        original="ends=tuple(end * batch_size for end in ends)",
        replacement="ends=tuple(ends)",
        mistake="a stage ends at a window in place of a step",
        tests=(FIRST_STAGE,),
    ),
    Mutant(
        file="data/stream/mixture.py",
        original="return sum(part.target_tokens for part in self.parts.values())",
        replacement="return next(iter(self.parts.values())).target_tokens",
        mistake="only the labels of the first member are target tokens",
        tests=(f"{SCHEDULE}::test_labels_of_all_members_are_target_tokens",),
    ),
    Mutant(
        file="objectives/mixtures/schedule.py",
        original="[min(end, step) for end in self._ends(total)]",
        replacement="[step for end in self._ends(total)]",
        mistake="a branch may come from a parent run with other stages",
        tests=(BRANCH,),
    ),
    Mutant(
        file="objectives/core/network.py",
        original="decoder_lengths_B=batch.decoder_lengths_B,",
        replacement="decoder_lengths_B=None,",
        mistake="a masked LM on a decoder's stack sees padding",
        tests=(ONE_STACK,),
    ),
    Mutant(
        file="data/stream/mixture.py",
        original='np.searchsorted(self.ends, position, side="right")',
        replacement='np.searchsorted(self.ends, position, side="left")',
        mistake="a stage begins a window late",
        tests=(MIXTURE,),
    ),
    Mutant(
        file="data/stream/mixture.py",
        original="generator(self.seed, Purpose.MEMBER, 0, position)",
        replacement="generator(0, Purpose.MEMBER, 0, position)",
        mistake="every seed mixes alike",
        tests=(MIXTURE,),
    ),
    Mutant(
        file="data/stream/mixture.py",
        original="window.index), windows).blank()",
        replacement="window.index), windows)",
        mistake="an objective without a window predicts a token of another one",
        tests=(MIXTURE,),
    ),
]
