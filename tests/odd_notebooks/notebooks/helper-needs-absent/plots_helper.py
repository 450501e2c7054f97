import math
import nonesuch_plots as ns

ns.set_theme()
PALETTE = ns.palette(8)


def v():
    return float(math.cos(0))


def draw(x):
    return ns.plot(x)
