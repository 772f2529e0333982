"""The command `python -m stack`, which `make up` runs."""

from __future__ import annotations

import sys

from stack.up import main

sys.exit(main())
