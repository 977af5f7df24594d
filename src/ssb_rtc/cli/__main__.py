"""`python -m ssb_rtc.cli`: the same as the command `ssb-rtc`."""

import signal
import sys

# Until a command is ready to be interrupted, Ctrl-C ends the process at once, without a traceback.
if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from ssb_rtc.cli.main import main

sys.exit(main())
