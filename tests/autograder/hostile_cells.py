"""Cells that attack the worker's channel, by what they do."""

from __future__ import annotations

# Those after which the notebook's own functions need not work any more; the channel must.
HARM_THEMSELVES = {
    "a mode answers every torch call",
    "builtins are patched",
    "numpy is patched",
    "the notebook is emptied",
}

HOSTILE = {
    "stdout is gone": """
import sys
sys.stdout = sys.stderr = sys.__stdout__ = None
""",
    "stdout is closed": """
import sys
sys.stdout.close()
sys.stderr.close()
""",
    "stdout is detached": """
import sys
sys.stdout.detach()
sys.stderr.detach()
""",
    "the first descriptors are closed": """
import os
for n in range(3): os.close(n)
""",
    "descriptors 0 to 63 are closed": """
import os
os.closerange(0, 64)
""",
    "a thread prints for ever": """
import threading
def go():
    while True: print('x' * 1000)
threading.Thread(target=go, daemon=True).start()
""",
    "a child prints for ever": """
import subprocess
subprocess.Popen(['yes'])
""",
    "json is patched": """
import json, json.encoder, json.decoder
json.dumps = json.loads = None
json.JSONEncoder.encode = json.JSONEncoder.iterencode = lambda *a, **k: '{}'
json.JSONDecoder.decode = None
""",
    "sockets are patched": """
import socket
for n in ('sendall', 'send', 'sendmsg', 'recv', 'recv_into', 'settimeout'):
    setattr(socket.socket, n, None)
""",
    "builtins are patched": """
import builtins
put = setattr
names = 'len isinstance type print set max memoryview issubclass dict BaseException Exception str open setattr getattr'
for n in names.split():
    put(builtins, n, lambda *a, **k: 1/0)
""",
    "torch is patched": """
import torch
for n in ('numpy', 'detach', 'cpu', 'contiguous', 'view', 'reshape', 'clone', 'any', 'ne'):
    setattr(torch.Tensor, n, lambda *a, **k: 1/0)
torch.empty = torch.frombuffer = torch.zeros = None
""",
    "numpy is patched": """
import numpy
numpy.ascontiguousarray = numpy.array = numpy.ndarray = None
""",
    "time and os are patched": """
import time, os
time.monotonic = time.perf_counter = time.time = None
os.read = os._exit = os.getpid = os.write = os.dup2 = None
""",
    "every call is traced": """
import sys, threading
def trace(*a):
    if a[0].f_code.co_filename.endswith(('encoding.py', 'wire.py')): raise KeyboardInterrupt
sys.settrace(trace)
sys.setprofile(trace)
threading.settrace(trace)
""",
    "recursion is forbidden": """
import sys
sys.setrecursionlimit(60)
""",
    "interrupts are raised": """
import signal
signal.raise_signal(signal.SIGINT)
""",
    "an alarm rings later": """
import signal
signal.signal(signal.SIGALRM, lambda *a: None)
signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
""",
    "modules are gone": """
import sys
for n in list(sys.modules):
    if n not in ('sys', 'builtins'): del sys.modules[n]
""",
    "the notebook is emptied": """
globals().clear()
""",
    "garbage is not collected": """
import gc
gc.disable()
""",
    "the exit is delayed": """
import atexit, threading, time
atexit.register(lambda: time.sleep(100))
threading.Thread(target=lambda: time.sleep(100)).start()
""",
    "a default device is set": """
import torch
torch.set_default_device('meta')
torch.set_default_dtype(torch.float64)
""",
    "inference mode is entered": """
import torch
m = torch.inference_mode()
m.__enter__()
""",
    "a mode answers every torch call": """
import torch
from torch.overrides import TorchFunctionMode
class M(TorchFunctionMode):
    def __torch_function__(self, *a, **k): raise RuntimeError('mode')
mode = M()
mode.__enter__()
""",
    "linecache is patched": """
import linecache, traceback
linecache.getline = linecache.cache = traceback.print_exc = None
""",
    "a child returns from a fork": """
import os
if os.fork() == 0: pass
""",
}

# One process takes several: a start costs a second.
TOGETHER = [
    ["stdout is gone", "stdout is closed", "stdout is detached", "the first descriptors are closed"],
    ["a thread prints for ever", "a child prints for ever"],
    ["descriptors 0 to 63 are closed", "garbage is not collected", "interrupts are raised", "an alarm rings later"],
    ["json is patched", "sockets are patched", "torch is patched", "time and os are patched", "linecache is patched"],
    ["the exit is delayed", "recursion is forbidden", "every call is traced"],
    ["a default device is set", "inference mode is entered"],
    ["a child returns from a fork"],
    ["builtins are patched"],
    ["numpy is patched", "a mode answers every torch call"],
    ["modules are gone", "the notebook is emptied"],
]
