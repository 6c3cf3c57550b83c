"""`python -m interp_dsl` is `interp`."""

import sys

from interp_dsl.cli.app import main

sys.exit(main())
