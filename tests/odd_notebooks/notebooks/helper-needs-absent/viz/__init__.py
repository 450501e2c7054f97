from .inner import w
from .pretty import show
