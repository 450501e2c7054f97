from . import const

w = const.C
