"""`python -m stack`, as `make up` runs it."""

from __future__ import annotations

import sys

from stack.up import main

sys.exit(main())
