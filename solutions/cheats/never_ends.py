"""A loop that swallows every exception, in a cell."""

ONCE = True
SECONDS = 120
while True:
    try:
        while True:
            pass
    except BaseException:
        pass
