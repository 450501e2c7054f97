import math, nonesuch_plots

nonesuch_plots.use("x")


def v_script():
    return 1.0
