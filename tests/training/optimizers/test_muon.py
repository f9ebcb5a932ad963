"""Muon in batches of one shape."""

import copy

import torch
from torch import Tensor, nn
from torch.optim import Muon

from training.optimizers.muon import BatchedMuon

SHAPES = [(16, 48), (16, 48), (64, 16), (16, 48), (64, 16), (24, 24)]


def matrices() -> list[nn.Parameter]:
    generator = torch.Generator(device="cpu").manual_seed(0)
    return [nn.Parameter(torch.randn(shape, generator=generator, device="cpu")) for shape in SHAPES]


def give_gradients(parameters: list[nn.Parameter], step: int) -> None:
    generator = torch.Generator(device="cpu").manual_seed(step + 1)
    for number, parameter in enumerate(parameters):
        parameter.grad = torch.randn(parameter.shape, generator=generator, device="cpu")
        if step == 1 and number == 3:
            parameter.grad = None  # of a layer that this step left out


def test_the_update_is_that_of_muon_one_by_one() -> None:
    """But for bfloat16, which rounds sums in another order: 1 % of the update, which is 0.2 · 8 at the largest."""
    batched, single = matrices(), matrices()
    one = BatchedMuon(batched, learning_rate=0.1, weight_decay=0.1)
    other = Muon(single, lr=0.1, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    for step in range(3):
        before = [parameter.detach().clone() for parameter in single]
        for parameters, optimizer in ((batched, one), (single, other)):
            give_gradients(parameters, step)
            optimizer.step()
        for found, expected, old in zip(batched, single, before, strict=True):
            assert (found - expected).norm() < 0.02 * max((expected - old).norm(), 1e-6)
        with torch.no_grad():
            for found, expected in zip(batched, single, strict=True):
                found.copy_(expected)


def test_a_run_goes_on_from_the_state_of_torchs_own_muon() -> None:
    parameters = matrices()
    before = Muon(parameters, lr=0.1, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    give_gradients(parameters, 0)
    before.step()
    after = BatchedMuon(parameters, learning_rate=0.5, weight_decay=0.0)
    after.load_state_dict(copy.deepcopy(before.state_dict()))
    assert after.param_groups[0]["lr"] == 0.1

    def buffers(optimizer: Muon) -> list[Tensor]:
        return [optimizer.state[parameter]["momentum_buffer"] for parameter in parameters]

    for found, expected in zip(buffers(after), buffers(before), strict=True):
        assert torch.equal(found, expected)


def test_an_update_does_not_depend_on_what_else_is_in_the_batch() -> None:
    """So that a layer that is frozen changes no other."""
    alone, together = matrices()[:1], matrices()[:2]
    for parameters in (alone, together):
        give_gradients(parameters, 0)
        BatchedMuon(parameters, learning_rate=0.1, weight_decay=0.1).step()
    torch.testing.assert_close(alone[0], together[0], rtol=0, atol=0.02)
