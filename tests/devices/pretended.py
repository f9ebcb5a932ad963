"""A device that this machine does not have, pretended: what a GPU would refuse is refused, on the CPU.

A tensor of the pretended device is a CPU tensor of a class of its own. Whatever is computed from it is of that class
as well; a mix of devices, a generator of another device, float64 and a look from NumPy are refused, as torch refuses
them there.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import pytest
import torch
from lightning.fabric.accelerators import mps
from lightning.pytorch.accelerators.mps import MPSAccelerator
from torch import _VF, Tensor, nn  # pyright: ignore[reportPrivateImportUsage]
from torch.overrides import TorchFunctionMode, get_default_nowrap_functions
from torch.utils import _pytree as pytree

CPU = torch.device("cpu")
_ATTRIBUTES = cast(Any, Tensor)
DEVICE, GRADIENT = _ATTRIBUTES.device.__get__, _ATTRIBUTES.grad.__get__
KINDS = {getattr(_ATTRIBUTES, f"is_{kind}").__get__: kind for kind in ("cpu", "cuda", "mps")}
MOVES = (Tensor.to, Tensor.cpu, Tensor.copy_, Tensor.__setitem__, nn.Module.to)  # may read of two devices
LOOKS = (Tensor.numpy, Tensor.__array__)
# What takes indices or lengths of the CPU; of what packs and unpacks sequences, the second result lies there as well.
PACKING = (_VF._pack_padded_sequence, _VF._pad_packed_sequence)
OF_THE_CPU = (Tensor.__getitem__, *PACKING, _VF.lstm, _VF.gru)


class PretendedTensor(Tensor):
    """A tensor of the pretended device."""


class PretendedDevice(TorchFunctionMode):
    """While it is entered, there is a device of the kind `kind`.

    Args:
        kind: `mps` or `cuda`.
    """

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.device, self.made = torch.device(kind, 0), 0

    def _device_of(self, tensor: Tensor) -> torch.device:
        return self.device if isinstance(tensor, PretendedTensor) else CPU

    def _wrapped(self, value: Any) -> Any:
        if not isinstance(value, Tensor) or isinstance(value, PretendedTensor):
            return value
        if value.dtype in (torch.float64, torch.complex128):
            raise TypeError(f"Cannot convert a {self.device.type} Tensor to float64: the device has none")
        self.made += 1
        with torch._C.DisableTorchFunction():
            return value.as_subclass(PretendedTensor)

    def _check(self, function: Callable[..., Any], tensors: list[Tensor], options: dict[str, Any]) -> None:
        """Refuses what torch refuses: two devices, but for numbers of the CPU, and a generator of another device."""
        here = [tensor for tensor in tensors if isinstance(tensor, PretendedTensor)]
        with torch._C.DisableTorchFunction():
            others = [tensor for tensor in tensors if not isinstance(tensor, PretendedTensor) and tensor.dim() > 0]
        if here and others and function not in OF_THE_CPU:
            raise RuntimeError(f"{function.__name__}: expected all tensors to be on one device, not {self.device}, cpu")
        if here and function in LOOKS:
            raise TypeError(f"can't convert {self.device} tensor to numpy: use Tensor.cpu() first")
        generator = options.get("generator")
        if generator is not None:
            made_on = torch.device(options["device"]) if options.get("device") is not None else None
            kind = self.device.type if here or (made_on and made_on.type == self.device.type) else "cpu"
            if generator.device.type != kind:
                raise RuntimeError(f"Expected a '{kind}' device type for generator but found '{generator.device.type}'")

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        options = dict(kwargs or {})
        found = [leaf for leaf in pytree.tree_leaves((args, options)) if isinstance(leaf, Tensor)]
        if func == DEVICE:
            return self._device_of(args[0])
        if kind := KINDS.get(func):
            return self._device_of(args[0]).type == kind
        if func == cast(Any, torch)._has_compatible_shallow_copy_type:  # of a module's parameters
            return self._device_of(args[0]) == self._device_of(args[1])
        with torch._C.DisableTorchFunction():
            if func in MOVES:
                return self._moved(func, args, options)
            self._check(func, found, options)
            is_here = any(isinstance(tensor, PretendedTensor) for tensor in found)
            if (named := options.get("device")) is not None:
                named = torch.device(named) if isinstance(named, str) else named
                is_here = named.type == self.device.type
                options["device"] = CPU if is_here else named
            result = func(*args, **options)
            if func == GRADIENT:
                return self._wrapped(result) if is_here else result
            if not is_here or func in get_default_nowrap_functions():
                return result
        if func in PACKING:
            return self._wrapped(result[0]), *result[1:]
        return pytree.tree_map(self._wrapped, result)

    def _moved(self, function: Callable[..., Any], args: Any, options: dict[str, Any]) -> Any:
        if function in (Tensor.copy_, Tensor.__setitem__):
            return function(*args, **options)
        tensor, *rest = args
        before, target = self._device_of(tensor), None
        if function is Tensor.cpu:
            target = CPU
        for value in [*rest, options.get("device")]:
            if isinstance(value, str | torch.device):
                target = torch.device(value)
            elif isinstance(value, Tensor):
                target = self._device_of(value)
        target = before if target is None else target
        if function is not Tensor.cpu:
            rest = [CPU if isinstance(value, str | torch.device) else value for value in rest]
            options |= {"device": CPU} if options.get("device") is not None else {}
            options |= {"copy": True} if target.type != before.type else {}
        plain = tensor.as_subclass(Tensor) if isinstance(tensor, PretendedTensor) else tensor
        result = function(plain, *rest, **options)
        if target.type == before.type and function is not Tensor.cpu and result is plain:
            return tensor
        return self._wrapped(result) if target.type == self.device.type else result


@contextmanager
def pretended(kind: str) -> Iterator[PretendedDevice]:
    """A machine that has a device of that kind."""
    mode = PretendedDevice(kind)
    with mode:
        yield mode


@contextmanager
def apple_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[PretendedDevice]:
    """A machine with an Apple GPU, as torch and Lightning see it."""
    for accelerator in (MPSAccelerator, mps.MPSAccelerator):
        monkeypatch.setattr(accelerator, "is_available", staticmethod(lambda: True))
    monkeypatch.setattr(mps, "_get_all_available_mps_gpus", lambda: [0])
    monkeypatch.setattr("training.monitoring.telemetry.peak_flops", lambda device, dtype: 1e12)  # a GPU's product
    with pretended("mps") as mode:
        yield mode


def on_apple_gpu(command: list[str]) -> list[str]:
    """A script's arguments that have it compute there."""
    return [*command, "--trainer.accelerator", "mps", "--trainer.precision", "32-true"]
