"""A loop that swallows every exception, in a cell."""

HARMFUL = False
while True:
    try:
        while True:
            pass
    except BaseException:
        pass
