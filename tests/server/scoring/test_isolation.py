"""Whatever a call changes, the next one finds as it was: one row for each thing.

Each row is what shows the thing (``y``) and what changes it. A service does the first in each call
and the second where it is told to; what it shows has to be the same before and after such a call.
"""

from __future__ import annotations

import textwrap
from collections.abc import Awaitable, Callable

import pytest

from tests.server.scoring.serving import Service, Snapshots, StoredContent

pytestmark = pytest.mark.asyncio(loop_scope="module")
Serve = Callable[..., Awaitable[Service]]

WORKSPACE = """
import abc, collections, decimal, functools, io, itertools, json, random, types
import numpy as np
import pandas as pd
import polars as pl
from scipy import sparse
from sklearn.linear_model import LinearRegression
from sklearn.preprocessing import StandardScaler
large = np.zeros(400_000)
prices = list(map(float, range(60_000)))
long = dict.fromkeys(range(60_000), 0)
raw = bytearray(300_000)
rows = np.zeros((500, 100), dtype='int32')
columns = np.asfortranarray(rows + 1.0)
part = np.arange(100_000.0)[50:90_000:2]
frame = pd.DataFrame({'v': np.arange(50_000), 's': ['a'] * 50_000,
                      'c': pd.Categorical(['u', 'w'] * 25_000), 'n': pd.array([1, None] * 25_000)})
labels = pd.Index([1, 2], name='id')
model = LinearRegression().fit(np.eye(100), np.arange(100.0))
wide = LinearRegression().fit(np.eye(200), np.eye(200)[:, :60])
matrix = sparse.csr_matrix(np.eye(3))
numbers = iter([5, 6, 7])
counter = itertools.count(3)
pairs = enumerate(['a', 'b', 'c'])
dice = random.Random(1)
rng = np.random.default_rng(1)
old_rng = np.random.RandomState(1)
space = types.SimpleNamespace(a=1)
bag = collections.Counter('aab')
@functools.lru_cache
def scaled(n): return n * factor
class Point:
    __slots__ = ('x',)
    def __init__(self): self.x = 1
point = Point()
class Shape(abc.ABC): pass
class Counting:
    made = 0
    log = []
    def count(self): type(self).made += 1
    def note(self): self.log.append(1)
class Inner(Counting): pass
counting = Inner()
members = set(range(20_000))
digits = decimal.Context(prec=5)
text, octets, many_octets = io.StringIO('words'), io.BytesIO(b'words'), io.BytesIO(bytes(200_000))
series = pd.Series([1, 2], name='s')
groups = collections.defaultdict(list)
record = np.zeros(3, dtype=[('a', 'f8'), ('b', 'i4')])
seeds = np.random.SeedSequence(5)
class Counted(dict): pass
class Listed(list): pass
counted, listed = Counted(a=1), Listed([1])
noted = counting.note
def collect(item, into): into.append(item)
collecting = functools.partial(collect, into=[])
class Static:
    @staticmethod
    def add(item, into=[]): into.append(item); return len(into)
cells = pl.DataFrame({'a': [1, 2]})
cell = pl.Series('a', [1, 2])
grouped = pd.DataFrame({'v': [1, 2], 'g': [1, 1]}).groupby('g')
whole, kinds = pd.array([1, None], dtype='Int64'), pd.Categorical(['a', 'b'])
scaler = StandardScaler().fit(np.eye(3))
def set_precision():
    import decimal
    decimal.getcontext().prec = 3
def patch():
    json.dumps = None
"""

MODULE = b"""
def count():
    n = 0
    while True:
        yield n
        n += 1
numbers = count()
"""

TABLE = {
    # --- the interpreter
    "recursion limit": ("import sys; y = sys.getrecursionlimit()", "sys.setrecursionlimit(777)"),
    "switch interval": ("import sys; y = sys.getswitchinterval()", "sys.setswitchinterval(1)"),
    "trace function": ("import sys; y = repr(sys.gettrace())", "sys.settrace(lambda *a: None)"),
    "profile function": ("import sys; y = repr(sys.getprofile())", "sys.setprofile(lambda *a: 1)"),
    "integer digits": ("import sys; y = sys.get_int_max_str_digits()",
                       "sys.set_int_max_str_digits(5000)"),
    "sys.path": ("import sys; y = '/leak' in sys.path", "sys.path.insert(0, '/leak')"),
    "sys.meta_path": ("import sys; y = len(sys.meta_path)", "sys.meta_path.insert(0, object())"),
    "sys.path_hooks": ("import sys; y = len(sys.path_hooks)", "sys.path_hooks.append(print)"),
    "sys.argv": ("import sys; y = sys.argv", "sys.argv.append('leak')"),
    "sys.argv replaced": ("import sys; y = sys.argv", "sys.argv = ['leak']"),
    "sys.stdin": ("import sys; y = repr(type(sys.stdin))", "sys.stdin = None"),
    "sys.excepthook": ("import sys; y = repr(sys.excepthook)", "sys.excepthook = print"),
    "sys.displayhook": ("import sys; y = repr(sys.displayhook)", "sys.displayhook = print"),
    "sys.unraisablehook": ("import sys; y = sys.unraisablehook is print",
                           "sys.unraisablehook = print"),
    "module replaced": ("import sys, json; y = repr(sys.modules['json'])",
                        "sys.modules['json'] = object()"),
    "module removed": ("import sys, json; y = 'json' in sys.modules", "sys.modules.pop('json')"),
    "module made up": ("import sys, types; y = 'made_up' in sys.modules",
                       "sys.modules['made_up'] = types.ModuleType('made_up')"),
    "garbage collector off": ("import gc; y = gc.isenabled()", "gc.disable()"),
    "garbage collector's threshold": ("import gc; y = gc.get_threshold()", "gc.set_threshold(5)"),
    "garbage collector's callbacks": ("import gc; y = len(gc.callbacks)",
                                      "gc.callbacks.append(print)"),
    "functions at exit": ("import atexit; y = atexit._ncallbacks()", "atexit.register(print)"),
    "allocations traced": ("import tracemalloc; y = tracemalloc.is_tracing()",
                           "tracemalloc.start()"),
    "subclass registered": ("import collections.abc as a; y = issubclass(Point, a.Sized)",
                            "a.Sized.register(Point)"),
    "warnings filters": ("import warnings; y = len(warnings.filters)",
                         "warnings.simplefilter('error', Warning, 7)"),
    "context variable": ("import ssl, contextvars; y = len(contextvars.copy_context())",
                         "contextvars.ContextVar('leak').set(1)"),
    # --- the process
    "umask": ("import os; y = os.umask(18); os.umask(y)", "os.umask(0)"),
    "priority": ("import os; y = os.getpriority(os.PRIO_PROCESS, 0)", "os.nice(3)"),
    "affinity": ("import os; y = len(os.sched_getaffinity(0))",
                 "os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])"),
    "resource limit": ("import resource as r; y = r.getrlimit(r.RLIMIT_NOFILE)[0]",
                       "r.setrlimit(r.RLIMIT_NOFILE, (1000, r.getrlimit(r.RLIMIT_NOFILE)[1]))"),
    "signal handler": ("import signal; y = repr(signal.getsignal(10))",
                       "signal.signal(10, signal.SIG_IGN)"),
    "pending alarm": ("import signal; y = signal.getitimer(0)[0] > 0", "signal.alarm(50)"),
    "pending timer": ("import signal; y = signal.getitimer(2)[0] > 0", "signal.setitimer(2, 50)"),
    "blocked signals": ("import signal; y = len(signal.pthread_sigmask(0, []))",
                        "signal.pthread_sigmask(0, [12])"),
    "child process": ("import subprocess, os; y = open(f'/proc/self/task/{os.getpid()}/children')"
                      ".read()", "subprocess.Popen(['sleep', '50'])"),
    "forked child": ("import os; y = open(f'/proc/self/task/{os.getpid()}/children').read()",
                     "os.fork() or __import__('time').sleep(50)"),
    "open descriptors": ("import os; y = len(os.listdir('/proc/self/fd'))", "os.dup(0)"),
    "environment": ("import os; y = os.environ.get('LEAK')", "os.environ['LEAK'] = '1'"),
    "environment variable gone": ("import os; y = 'PATH' in os.environ", "del os.environ['PATH']"),
    "time zone": ("import os, time; y = time.tzname",
                  "os.environ['TZ'] = 'Asia/Tokyo'; time.tzset()"),
    "working directory": ("import os; y = os.getcwd() == '/'", "os.chdir('/')"),
    "thread": ("import threading; y = threading.active_count()",
               "threading.Thread(target=threading.Event().wait).start()"),
    "bare thread": ("import _thread, time; y = _thread._count()",
                    "_thread.start_new_thread(time.sleep, (50,))"),
    # --- files
    "temporary file": ("import tempfile, os; y = os.listdir(tempfile.gettempdir())",
                       "tempfile.NamedTemporaryFile(delete=False).write(b'x')"),
    "temporary folder": ("import tempfile, os; y = len(os.listdir(tempfile.gettempdir()))",
                         "os.mkdir(os.path.join(tempfile.mkdtemp(), 'in'))"),
    "file in the system's folder": ("import os; y = os.path.exists('/tmp/mlsvc-leak-1')",
                                    "open('/tmp/mlsvc-leak-1', 'w').write('x')"),
    "folder in the system's folder": ("import os; y = os.path.exists('/tmp/mlsvc-leak-2')",
                                      "os.makedirs('/tmp/mlsvc-leak-2/in')"),
    "tempfile.tempdir": ("import tempfile; y = tempfile.tempdir", "tempfile.tempdir = '/'"),
    # --- the standard library
    "locale": ("import locale; y = locale.setlocale(locale.LC_ALL)",
               "locale.setlocale(locale.LC_ALL, 'C.UTF-8' if 'UTF' not in y else 'C')"),
    "socket timeout": ("import socket; y = socket.getdefaulttimeout()",
                       "socket.setdefaulttimeout(1)"),
    "stack size": ("import threading; y = threading.stack_size()", "threading.stack_size(2**20)"),
    "decimal precision": ("import decimal; y = decimal.getcontext().prec",
                          "decimal.getcontext().prec = 3"),
    "decimal precision by a function": ("import decimal; y = decimal.getcontext().prec",
                                        "set_precision()"),
    "decimal's default": ("import decimal; y = decimal.DefaultContext.prec",
                          "decimal.DefaultContext.prec = 3"),
    "event loop": ("import asyncio; y = repr(asyncio.events._event_loop_policy)",
                   "asyncio.set_event_loop(asyncio.new_event_loop())"),
    "asyncio.run": ("import asyncio; y = repr(asyncio.events._event_loop_policy)",
                    "async def f(): pass\nasyncio.run(f())"),
    "pickling": ("import copyreg; y = len(copyreg.dispatch_table)", "copyreg.pickle(Point, repr)"),
    "csv dialect": ("import csv; y = csv.list_dialects()", "csv.register_dialect('leak')"),
    "sqlite3 adapter": ("import sqlite3; y = len(sqlite3.dbapi2.adapters)",
                        "sqlite3.register_adapter(Point, repr)"),
    "start method": ("import multiprocessing as m; y = m.get_start_method(allow_none=True)",
                     "m.set_start_method('spawn')"),
    "root logger's level": ("import logging; y = logging.root.level", "logging.root.setLevel(7)"),
    "root logger's handlers": ("import logging; y = len(logging.root.handlers)",
                               "logging.warning('x')"),
    "basicConfig": ("import logging; y = len(logging.root.handlers), logging.root.level",
                    "logging.basicConfig(level=10)"),
    "logger's handlers": ("import logging; y = len(logging.getLogger('app').handlers)",
                          "logging.getLogger('app').addHandler(logging.NullHandler())"),
    "logger's filters": ("import logging; y = len(logging.getLogger('app').filters)",
                         "logging.getLogger('app').addFilter(print)"),
    "logger turned off": ("import logging; y = logging.getLogger('app').disabled",
                          "logging.getLogger('app').disabled = True"),
    "class of loggers": ("import logging; y = repr(logging.getLoggerClass())",
                         "logging.setLoggerClass(type('L', (logging.Logger,), {}))"),
    "logging turned off": ("import logging; y = logging.root.manager.disable",
                           "logging.disable(50)"),
    "level names": ("import logging; y = logging.getLevelName(7)", "logging.addLevelName(7, 'L')"),
    "ssl default": ("import ssl; y = repr(ssl._create_default_https_context)",
                    "ssl._create_default_https_context = None"),
    # --- other libraries
    "numpy errors": ("y = np.geterr()['divide']", "np.seterr(divide='raise')"),
    "numpy printing": ("y = np.get_printoptions()['precision']", "np.set_printoptions(2)"),
    "pandas option": ("y = pd.get_option('display.max_rows')",
                      "pd.set_option('display.max_rows', 3)"),
    "pandas option by attribute": ("y = pd.options.display.width", "pd.options.display.width = 3"),
    "scikit-learn": ("import sklearn; y = sklearn.get_config()['transform_output']",
                     "sklearn.set_config(transform_output='pandas')"),
    "scipy.special": ("import scipy.special as s; y = s.geterr()['loss']",
                      "s.seterr(loss='raise')"),
    "threads of libraries": ("import threadpoolctl as t; y = [i['num_threads'] for i in "
                             "t.threadpool_info()]", "t.threadpool_limits(1)"),
    "figures": ("import matplotlib; matplotlib.use('Agg')\nimport matplotlib.pyplot as plt\n"
                "y = len(plt.get_fignums())", "plt.plot([1, 2])"),
    "rcParams": ("import matplotlib; y = matplotlib.rcParams['lines.linewidth']",
                 "matplotlib.rcParams['lines.linewidth'] = 9"),
    "style": ("import matplotlib.pyplot as plt; y = plt.rcParams['axes.facecolor']",
              "plt.style.use('ggplot')"),
    "backend": ("import matplotlib.pyplot as plt; y = plt.get_backend()",
                "plt.switch_backend('svg')"),
    "colour map": ("import matplotlib as m; y = 'leak' in m.colormaps",
                   "m.colormaps.register(m.colormaps['viridis'], name='leak')"),
    # --- modules and classes of libraries
    "module attribute added": ("y = hasattr(json, 'extra')", "json.extra = 1"),
    "module attribute changed": ("import math; y = math.pi", "math.pi = 3"),
    "module attribute removed": ("import math; y = hasattr(math, 'tau')", "del math.tau"),
    "module attribute by text": ("y = hasattr(json, 'extra')", "setattr(json, 'extra', 1)"),
    "module attribute by exec": ("y = hasattr(json, 'extra')", "exec('json.extra = 1')"),
    "attribute of a submodule": ("y = hasattr(np.linalg, 'extra')", "np.linalg.extra = 1"),
    "attribute by a function": ("y = callable(json.dumps)", "patch()"),
    "function of a library": ("y = np.linalg.norm([3, 4])", "np.linalg.norm = len"),
    "class attribute added": ("y = hasattr(pd.DataFrame, 'extra')", "pd.DataFrame.extra = 1"),
    "method of a class": ("y = len(model.predict(np.eye(100)))",
                          "LinearRegression.predict = lambda self, x: []"),
    "builtin": ("import builtins; y = len([1, 2])", "builtins.len = lambda x: 7"),
    "table of a module": ("import string, json.encoder as e; y = len(e.ESCAPE_DCT)",
                          "e.ESCAPE_DCT['x'] = 1"),
    "table of a class": ("import pickle; y = len(pickle._Pickler.dispatch)",
                         "pickle._Pickler.dispatch['x'] = 1"),
    "list of a module": ("import email.charset as c, locale; y = len(locale.__all__)",
                         "locale.__all__.append('x')"),
    # --- objects of the snapshot
    "large array": ("y = float(large.sum())", "large[200_000] = 7"),
    "large array's first element": ("y = float(large[0])", "large[0] = 7"),
    "large array's last element": ("y = float(large[-1])", "large[-1] = 7"),
    "large matrix": ("y = int(rows.sum())", "rows[250, 7] = 1"),
    "large matrix by columns": ("y = float(columns.sum())", "columns[250, 7] = 7"),
    "large list": ("y = prices[30_000]", "prices[30_000] = 7"),
    "large list's last member": ("y = prices[-1]", "prices[-1] = 7"),
    "large dict": ("y = long[7]", "long[7] = 1"),
    "large bytearray": ("y = raw[150_000]", "raw[150_000] = 1"),
    "view of a large array": ("y = float(part[7])", "part[7] = 0"),
    "array sorted": ("y = float(part[1])", "part[::-1].sort()"),
    "column of a frame": ("y = int(frame['v'].sum())", "frame.loc[30_000, 'v'] = 0"),
    "texts of a frame": ("y = frame['s'][7]", "frame.loc[7, 's'] = 'leak'"),
    "categories of a frame": ("y = str(frame['c'][7])", "frame.loc[7, 'c'] = 'u'"),
    "nullable integers": ("y = int(frame['n'][0])", "frame.loc[0, 'n'] = 7"),
    "frame.attrs": ("y = dict(frame.attrs)", "frame.attrs['leak'] = 1"),
    "name of an index": ("y = frame.index.name", "frame.index.name = 'leak'"),
    "name of a lone index": ("y = labels.name", "labels.name = 'leak'"),
    "coefficients": ("y = float(model.coef_[3])", "model.coef_[3] = 7"),
    "coefficients changed whole": ("y = round(float(model.coef_[3]), 6)", "model.coef_ += 7"),
    "large coefficients": ("y = float(list(vars(wide).values())[-1].sum())\n"
                           "w = vars(wide)['co' + 'ef_']", "w[7, 7] = 700"),
    "attribute of a library's object": ("y = hasattr(model, 'extra')", "model.extra = 1"),
    "sparse matrix": ("y = float(matrix[0, 0])", "matrix[0, 0] = 7"),
    "iterator": ("y = numbers.__length_hint__()", "next(numbers)"),
    "itertools": ("y = repr(counter)", "next(counter)"),
    "enumerate": ("y = pairs.__reduce__()[1][1]", "next(pairs)"),
    "generator of a module": ("import own; y = repr(own.numbers.gi_frame.f_lasti)",
                              "next(own.numbers)"),
    "random numbers": ("y = dice.random()", "dice.random()"),
    "numpy's random numbers": ("y = float(rng.random())", "rng.random()"),
    "numpy's older random numbers": ("y = float(old_rng.rand())", "old_rng.rand()"),
    "cache of a function": ("factor = 2; y = scaled.cache_info().currsize", "scaled(3)"),
    "slots": ("y = point.x", "point.x = 7"),
    "namespace": ("y = vars(space)", "space.b = 1"),
    "counter": ("y = dict(bag)", "bag['z'] = 1"),
    "class by a method": ("y = counting.made", "counting.count()"),
    "list of a base class by a method": ("y = len(counting.log)", "counting.note()"),
    "class of an object": ("y = type(counting).__name__", "counting.__class__ = Counting"),
    "name of a class": ("y = Counting.__name__", "Counting.__name__ = 'leak'"),
    "subclasses": ("y = len(Point.__subclasses__())", "class Leak(Point): pass"),
    "large set": ("y = 7 in members, 7_000 in members",
                  "members.remove(7_000); members.add(-1)"),
    "large set's first member": ("y = 0 in members", "members.remove(0); members.add(70_000)"),
    "context of decimal": ("y = digits.prec", "digits.prec = 9"),
    "text read": ("y = text.tell()", "text.read()"),
    "text written": ("y = text.getvalue()", "text.write('leak')"),
    "bytes written": ("y = octets.getvalue().decode()", "octets.write(b'leak')"),
    "many bytes written": ("y = many_octets.getvalue()[150_000]",
                           "many_octets.seek(150_000); many_octets.write(b'leak')"),
    "name of a series": ("y = series.name", "series.name = 'leak'"),
    "flags of a frame": ("y = frame.flags.allows_duplicate_labels",
                         "frame.flags.allows_duplicate_labels = False"),
    "factory of a dict": ("y = repr(groups.default_factory)", "groups.default_factory = int"),
    "names of an array's fields": ("y = record.dtype.names", "record.dtype.names = ('z', 'w')"),
    "shape of a large array": ("y = large.shape", "large.shape = (400, 1000)"),
    "large array made constant": ("y = large.flags.writeable", "large.flags.writeable = False"),
    "large array made constant by a method": ("y = large.flags.writeable",
                                              "large.setflags(write=False)"),
    "children of a seed": ("y = seeds.n_children_spawned", "seeds.spawn(2)"),
    "children of a generator": ("y = rng.bit_generator.seed_seq.n_children_spawned",
                                "rng.spawn(2)"),
    "output of a transformer": ("y = type(scaler.transform(np.eye(3))).__name__",
                                "scaler.set_output(transform='pandas')"),
    "attribute of a dict": ("y = hasattr(counted, 'leak')", "counted.leak = 1"),
    "attribute of a list": ("y = vars(listed)", "listed.leak = 1"),
    "bound method": ("y = len(noted.__self__.log)", "noted()"),
    "argument of a partial": ("y = len(collecting.keywords['into'])", "collecting(1)"),
    "default of a static method": ("y = len(Static.add.__defaults__[0])", "Static.add(1)"),
    "names of polars' columns": ("y = cells.columns", "cells.columns = ['leak']"),
    "column of polars added": ("y = cells.columns",
                               "cells.insert_column(0, pl.Series('leak', [1, 2]))"),
    "value of polars": ("y = cells['a'].to_list()", "cells[0, 'a'] = 7"),
    "series of polars": ("y = cell.to_list(), cell.name", "cell[0] = 7; cell.rename('leak')"),
    "lone array of pandas": ("y = str(whole[0])", "whole[0] = 7"),
    "frame of a group-by": ("y = int(grouped.obj['v'].sum())", "grouped.obj['v'] = 0"),
    "lone categories": ("y = list(kinds)", "kinds[0] = 'b'"),
    "joblib": ("import joblib.parallel as j; y = type(j.get_active_backend()[0]).__name__",
               "j.parallel_config(backend='threading')"),
    "threads of Arrow": ("import pyarrow as pa; y = pa.cpu_count()", "pa.set_cpu_count(y + 3)"),
    "first day of the week": ("import calendar; y = calendar.firstweekday()",
                              "calendar.setfirstweekday(6)"),
}  # fmt: skip


@pytest.fixture(scope="module")
def workspace(snapshots: Snapshots) -> StoredContent:
    return snapshots.take(WORKSPACE, files={"own.py": MODULE})


@pytest.mark.parametrize(("shows", "changes"), TABLE.values(), ids=TABLE)
async def test_what_a_call_changes_the_next_one_finds_as_it_was(
    serve: Serve, workspace: StoredContent, shows: str, changes: str
) -> None:
    code = f"{shows}\nif change:\n{textwrap.indent(changes, '    ')}\n    y = None"
    service = await serve(code, workspace, inputs="change:logical")
    before = await service.outputs(change=False)
    for _ in range(2):
        assert await service.outputs(change=True) == {"y": None}
        assert await service.outputs(change=False) == before


USUAL = {
    "numpy": "y = float((large[:100] * 2).sum() + rows.mean() + columns[:, 3].max())",
    "a frame is looked up in": "y = int(frame.loc[7, 'v']) + int(frame.iloc[3]['v']) + len(frame)",
    "rows of a frame are found": "y = len(frame[(frame.v > 10) & (frame.s == 'a')])",
    "a frame is joined": "y = len(pd.DataFrame({'v': [1, 2]}).merge(frame, on='v'))",
    "a frame is grouped": "y = int(frame.groupby('c', observed=True)['v'].sum().iloc[0])",
    "a frame is copied and changed": "f = frame.copy(); f['w'] = 1; f.attrs['a'] = 1; y = f.shape",
    "a column is read": "y = float(frame['n'].fillna(0).sum()); z = frame.index.name, frame.attrs",
    "a model predicts": "y = float(model.predict(np.eye(100))[3])",
    "a sparse matrix is multiplied": "y = float((matrix @ np.ones(3))[0])",
    "random numbers": "y = dice.random(), float(rng.random()), float(old_rng.rand())",
    "a cache": "factor = 2; y = scaled(3)",
    "logging": "import logging; logging.getLogger('app').info('x'); logging.warning('y'); y = 1",
    "a plot": "import matplotlib; matplotlib.use('Agg')\nimport matplotlib.pyplot as plt\n"
              "plt.figure(); plt.plot([1, 2]); plt.savefig('p.png'); y = 1",
    "a temporary file": "import tempfile\nwith tempfile.TemporaryFile() as f: f.write(b'x')\ny = 1",
    "a subprocess": "import subprocess, sys; y = subprocess.run(['true'], check=True).returncode",
    "a thread that ends": "import concurrent.futures as c\n"
                          "with c.ThreadPoolExecutor(2) as e: y = sum(e.map(len, ['a', 'b']))",
    "asyncio": "import asyncio\nasync def f(): return 7\ny = asyncio.run(f())",
    "settings in a block": "import sklearn, decimal\nwith sklearn.config_context(), "
                           "pd.option_context('display.width', 9), np.errstate(all='raise'), "
                           "decimal.localcontext(prec=3): y = 1",
    "environment": "import os; os.environ['A'] = '1'; y = os.environ['A']",
    "attributes of its own": "class A: pass\na = A(); a.b = 1; y = a.b; setattr(a, 'c', 2)",
    "an import": "import xml.dom.minidom, csv, statistics; y = statistics.mean([1, 2])",
    "a file": "open('a.txt', 'w').write('x'); y = open('a.txt').read()",
    "texts": "import re, json; y = [re.sub('a', 'b', 'aa'), json.loads('[1]'), 'x'.upper()]",
    "code in a text": "y = eval('1 + 1')",
    "a file in memory": "y = text.read() + octets.read().decode(); many_octets.read()",
    "a method": "y = counting.made, type(counting).__name__, Counting.__name__",
    "a large set is looked up in": "y = len(members & {1, 2}), sum(members), sorted(members)[0]",
    "a context of decimal": "y = str(digits.divide(decimal.Decimal(1), 3))",
    "an array has a shape": "y = large.shape, large.dtype.names, large.strides; a = large.copy()\n"
                            "a.shape = (400, 1000)",
    "groups": "y = grouped['v'].sum().tolist(), len(grouped), list(grouped.groups)",
    "a frame of polars": "y = cells.with_columns(b=pl.col('a') * 2)['b'].to_list(), cell.sum()",
    "a bound method": "y = noted.__name__, collecting.func.__name__, len(counted), len(listed)",
    "a transformer": "y = scaler.transform(np.eye(3)).tolist()",
    "a date": "y = str(pd.to_datetime('2020-01-02') + pd.Timedelta(days=1))",
}  # fmt: skip


@pytest.mark.parametrize("code", USUAL.values(), ids=USUAL)
async def test_what_code_usually_does_costs_no_worker(
    serve: Serve, workspace: StoredContent, code: str
) -> None:
    service = await serve(
        f"{code}\nimport os; pid = os.getpid()", workspace, outputs="y:any pid:any"
    )
    rows = [await service.outputs() for _ in range(3)]
    assert [row["pid"] for row in rows] == [rows[0]["pid"]] * 3
