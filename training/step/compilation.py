"""How torch.compile is used: what it compiles follows from the code and the shapes, and is kept for later runs."""

import os
from pathlib import Path

import torch
import torch.fx.experimental._config

CACHE = "TORCHINDUCTOR_CACHE_DIR"
FOLDER = "compiled"  # within the cache of token stores
KINDS = 32  # that one function is compiled for: Blocks of encoders and decoders of several bodies, kinds of masks


def begin_compiling(cache: Path) -> None:
    """Sets torch.compile up, before anything is compiled.

    Kernels are kept in `cache`, unless the user names a folder in TORCHINDUCTOR_CACHE_DIR. Which lengths vary is
    declared and never guessed from those that came before: a run that goes on in the middle would guess otherwise, and
    compute other last bits.
    """
    os.environ.setdefault(CACHE, str((cache / FOLDER).absolute()))
    dynamo, shapes = torch._dynamo.config, torch.fx.experimental._config
    dynamo.automatic_dynamic_shapes = dynamo.automatic_dynamic_local_pgo = False
    dynamo.recompile_limit = max(dynamo.recompile_limit, KINDS)
    shapes.use_duck_shape = False  # two lengths that happen to be equal at first are still two
