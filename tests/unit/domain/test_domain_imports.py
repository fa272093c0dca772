"""The domain is light: it can be imported where torch is not even installed."""

import subprocess
import sys

import pytest

MODULES = (
    "framepack.domain.request",
    "framepack.domain.plan",
    "framepack.domain.events",
    "framepack.domain.settings",
    "framepack.models.spec",
)
HEAVY = ("torch", "numpy", "diffusers", "transformers", "huggingface_hub", "PIL", "av")


@pytest.mark.parametrize("module", MODULES)
def test_import_needs_no_heavy_package(module: str) -> None:
    # None in sys.modules makes every import of that name fail, as if it were not installed.
    code = (
        f"import sys; sys.path[:] = {sys.path!r}; sys.modules.update(dict.fromkeys({HEAVY!r}))\n"
        f"import {module}"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_importing_all_of_it_takes_under_half_a_second_of_cpu_time() -> None:
    code = (
        f"import sys, time; sys.path[:] = {sys.path!r}; start = time.process_time()\n"
        f"import {', '.join(MODULES)}\n"
        "print(time.process_time() - start)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 0.5
