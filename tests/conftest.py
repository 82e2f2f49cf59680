"""Side by side, the tests leave each other a core: torch would take all of them in each process."""

import os

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
