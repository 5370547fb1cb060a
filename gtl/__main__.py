"""``python -m gtl``: the command line without its console script."""

import sys

from gtl.cli import main

sys.exit(main())
