"""Tables that are cut or lengthened, and what is not carried over."""

from typing import Any

import pytest
import torch

from models.presets import PresetName
from models.transformer.transformer import Transformer
from objectives.start.pretrained import Pretrained
from objectives.start.warm_start import begin_with
from tests.helpers import predicted
from tests.models.huggingface.families import VOCAB, make_case, make_ours

# --- rows ---


def pretrained_of(module: Any, num_blocks: tuple[int, int]) -> Pretrained:
    return Pretrained(origin="here", body=module.config, num_blocks=num_blocks, state=module.state_dict(), sha256="")


def with_tables(preset: PresetName, *, vocab_size: int, positions: int) -> Any:
    """A module of that family with tables of those lengths."""
    module = make_ours(preset)
    module.body = Transformer(
        module.config, num_blocks=module.num_blocks, vocab_size=vocab_size, max_positions=positions
    ).double()
    for parameter in module.body.parameters():
        parameter.data = torch.randn(parameter.shape, dtype=torch.float64)
    return module


@pytest.mark.parametrize("preset", ["bert", "bart", "gpt2", "t5_v1_1"])
@pytest.mark.parametrize(("more_tokens", "more_positions"), [(7, 5), (-7, -5), (0, 0), (7, -5)])
def test_tables_of_tokens_and_positions_are_cut_or_lengthened(
    preset: PresetName, more_tokens: int, more_positions: int
) -> None:
    source = make_ours(preset)
    ours = with_tables(preset, vocab_size=VOCAB + more_tokens, positions=24 + more_positions)
    before = {name: tensor.clone() for name, tensor in ours.state_dict().items()}
    report = begin_with(ours, pretrained_of(source, source.num_blocks), source.config, source.num_blocks)
    assert not report.fresh
    after, theirs = ours.state_dict(), source.state_dict()
    for name, tensor in after.items():
        both = min(len(tensor), len(theirs[name]))
        assert torch.equal(tensor[:both], theirs[name][:both])
        if len(tensor) > both and "position" in name:
            assert torch.equal(tensor[both:], before[name][both:])
        elif len(tensor) > both:
            torch.testing.assert_close(tensor[both:], theirs[name].mean(dim=0, keepdim=True).expand_as(tensor[both:]))
    changed = [name for name in after if len(after[name]) != len(theirs[name])]
    assert len(report.changed) == len(changed)
    assert bool(changed) == bool(more_tokens)


def test_new_tokens_leave_what_is_predicted_of_the_old_ones_unchanged() -> None:
    """Their rows are the mean: the ratio between two old tokens' probabilities stays exactly what it was."""
    source = make_ours("gpt2")
    ours = with_tables("gpt2", vocab_size=VOCAB + 9, positions=24)
    begin_with(ours, pretrained_of(source, source.num_blocks), source.config, source.num_blocks)
    case = make_case("gpt2")
    before, _ = predicted(source.body, case.inputs, case.places)
    after, _ = predicted(ours.body, case.inputs, case.places)
    torch.testing.assert_close(after[:, :VOCAB], before, rtol=0, atol=1e-12)
    torch.testing.assert_close(after[:, VOCAB:], before.mean(dim=1, keepdim=True).expand(-1, 9), rtol=0, atol=1e-12)


def test_relative_positions_are_not_carried_from_one_direction_to_both() -> None:
    source = make_ours("t5")
    decoder = {
        name: tensor
        for name, tensor in source.state_dict().items()
        if ".encoder." not in name and ".cross_" not in name
    }
    alone = Pretrained(origin="", body=source.config, num_blocks=(0, source.num_blocks[1]), state=decoder, sha256="")
    target = with_tables("t5", vocab_size=VOCAB, positions=24)
    blocks = (source.num_blocks[1], 0)
    target.body = Transformer(source.config, num_blocks=blocks, vocab_size=VOCAB, max_positions=24).double()
    report = begin_with(target, alone, source.config, blocks)
    assert report.fresh == ["body.encoder.relative_table.weight"]
