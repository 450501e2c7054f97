"""A thread writes answers nobody asked for to every open descriptor."""

import os
import threading


def _flood():
    while True:
        for descriptor in range(3, 256):
            try:
                os.write(descriptor, b'AGW1{"id": 1, "ok": true, "value": 1}')
            except OSError:
                pass


threading.Thread(target=_flood, daemon=True).start()
