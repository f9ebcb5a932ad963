"""A script of the first edition in this process, with SIGTERM during update N: stop.py N SCRIPT ARGUMENT..."""

import importlib
import os
import signal
import sys

step, script, arguments = int(sys.argv[1]), sys.argv[2], sys.argv[3:]
sys.path.insert(0, os.environ["FIRST_EDITION"])
telemetry = importlib.import_module("training.telemetry").Telemetry
step_ends = telemetry.step_ends


def stop_here(self, trainer, module):
    if trainer.global_step == step:
        os.kill(os.getpid(), signal.SIGTERM)
    step_ends(self, trainer, module)


telemetry.step_ends = stop_here
sys.exit(importlib.import_module(script).main(arguments))
