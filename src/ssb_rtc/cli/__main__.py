"""`python -m ssb_rtc.cli`: the same as the command `ssb-rtc`."""

import sys

from ssb_rtc.cli.main import main

sys.exit(main())
