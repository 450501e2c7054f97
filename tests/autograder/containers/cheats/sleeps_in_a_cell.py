"""Never ends a cell; the rest of the notebook is graded without it."""

ROW = 9
REASON = "timeout"

import time

while True:
    time.sleep(1000)
