"""All mutants: realistic mistakes, spread over everything that a result depends on."""

from tests.mutation.mistakes import (
    data,
    evaluation,
    family,
    models,
    objectives,
    of_all_objectives,
    schedules,
    scoring,
    tokens,
    training,
)
from tests.mutation.mutant import Mutant

MUTANTS: list[Mutant] = [
    *objectives.MUTANTS,
    *of_all_objectives.MUTANTS,
    *models.MUTANTS,
    *data.MUTANTS,
    *tokens.MUTANTS,
    *training.MUTANTS,
    *evaluation.MUTANTS,
    *scoring.MUTANTS,
    *schedules.MUTANTS,
    *family.MUTANTS,
]
