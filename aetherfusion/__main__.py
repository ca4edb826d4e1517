"""`python -m aetherfusion`: the same as the command `aetherfusion`."""

import sys

from .cli import main

sys.exit(main())
