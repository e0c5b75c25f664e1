"""Small notebooks: what they define, and an expression that has to be the same after restoring."""

from __future__ import annotations

from typing import Final

NOTEBOOKS: Final[dict[str, tuple[str, str]]] = {
    # --- classes that do something when they are made ----------------------------------------
    "init_subclass": (
        """
        REGISTRY = {}
        class Plugin:
            def __init_subclass__(cls, **more):
                super().__init_subclass__(**more)
                REGISTRY[cls.__name__] = cls
        class One(Plugin):
            def go(self): return 1
        class Two(One):
            def go(self): return super().go() + 1
        """,
        "[sorted(REGISTRY), REGISTRY['One'] is One, [k().go() for k in REGISTRY.values()]]",
    ),
    "init_subclass, defined before what it names": (
        """
        class Plugin:
            def __init_subclass__(cls, /, key, **more):
                super().__init_subclass__(**more)
                cls.key = key
                register(cls)
        FOUND = []
        def register(cls): FOUND.append((NAME, cls.key))
        NAME = "found"
        class One(Plugin, key="one"): pass
        class Two(Plugin, key="two"): pass
        """,
        "[FOUND, One.key, Two.key]",
    ),
    "a registry in the class itself": (
        """
        class Base:
            registry = {}
            def __init_subclass__(cls): Base.registry[cls.__name__] = cls
            @classmethod
            def make(cls, name): return cls.registry[name]()
        class A(Base): pass
        class B(Base): pass
        """,
        "[list(Base.registry), type(Base.make('B')) is B, len(Base.registry)]",
    ),
    "metaclass": (
        """
        REGISTRY = {}
        class Meta(type):
            def __new__(mcs, name, bases, members, **more):
                members["made_by"] = HELPER(name)
                return super().__new__(mcs, name, bases, members)
            def __init__(cls, name, bases, members, **more):
                super().__init__(name, bases, members)
                REGISTRY[name] = cls
            def __len__(cls): return 7
            def __setattr__(cls, name, value): raise TypeError("no")
        HELPER = str.upper
        class One(metaclass=Meta, key=1): pass
        class Two(One): pass
        """,
        "[list(REGISTRY), REGISTRY['Two'] is Two, Two.made_by, len(One), type(Two) is Meta]",
    ),
    "metaclass that forbids a second class of a name": (
        """
        class Single(type):
            made = {}
            def __new__(mcs, name, bases, members):
                if name in mcs.made: raise TypeError(name)
                mcs.made[name] = super().__new__(mcs, name, bases, members)
                return mcs.made[name]
        class One(metaclass=Single): x = 1
        """,
        "[One.x, Single.made['One'] is One, list(Single.made)]",
    ),
    "metaclass with prepare and call": (
        """
        class Ordered(type):
            @classmethod
            def __prepare__(mcs, name, bases): return dict(FIRST)
            def __call__(cls, *given):
                made = super().__call__(*given)
                CALLS.append(cls.__name__)
                return made
        FIRST, CALLS = {"first": 1}, []
        class One(metaclass=Ordered): second = 2
        one = One()
        """,
        "[One.first, One.second, CALLS, type(one) is One]",
    ),
    "metaclass of a metaclass": (
        """
        class Top(type):
            def __call__(cls, *args, **more):
                LOG.append(args[0] if args else "")
                return super().__call__(*args, **more)
        class Meta(type, metaclass=Top): pass
        LOG = []
        class One(metaclass=Meta): pass
        """,
        "[LOG, type(One) is Meta, type(Meta) is Top]",
    ),
    "abstract classes and their metaclass": (
        """
        import abc
        class Meta(abc.ABCMeta):
            def __init__(cls, *given, **more):
                super().__init__(*given)
                SEEN.append(cls.__name__)
        SEEN = []
        class Shape(metaclass=Meta):
            @property
            @abc.abstractmethod
            def area(self): ...
            @classmethod
            def __subclasshook__(cls, kind): return True if kind is str else NotImplemented
        class Square(Shape):
            area = 4
        class Other: pass
        Shape.register(Other)
        Shape.register(list)
        def fails():
            try: Shape()
            except TypeError as error: return "abstract" in str(error)
        """,
        "[SEEN, fails(), Square().area, [isinstance(x(), Shape) for x in "
        "(Square, Other, list, str, dict)]]",
    ),
    "classes registered with abstract classes of Python": (
        """
        import collections.abc, numbers
        class Row:
            def __len__(self): return 1
        collections.abc.Sequence.register(Row)
        class Number: pass
        numbers.Real.register(Number)
        """,
        "[isinstance(Row(), collections.abc.Sequence), isinstance(Number(), numbers.Number), "
        "isinstance(Number(), numbers.Integral)]",
    ),
    "abstract class whose other class is gone": (
        """
        import abc, gc
        class Shape(abc.ABC): pass
        def make():
            class Gone: pass
            Shape.register(Gone)
        make(); gc.collect()
        """,
        "isinstance(1, Shape)",
    ),
    "set_name": (
        """
        class Field:
            def __set_name__(self, owner, name):
                NAMES.append((owner.__name__, name))
                self.name = name
            def __get__(self, it, kind=None): return self if it is None else it.__dict__[self.name]
            def __set__(self, it, value): it.__dict__[self.name] = CHECK(value)
        NAMES, CHECK = [], abs
        class Row:
            a, b = Field(), Field()
            def __init__(self): self.a, self.b = -1, -2
        row = Row()
        """,
        "[NAMES, row.a, row.b, Row.a.name]",
    ),
    "class_getitem and generics": (
        """
        import typing
        T, P = typing.TypeVar("T"), typing.ParamSpec("P")
        class Stack(typing.Generic[T]):
            def __init__(self): self.items: list[T] = []
        class Ints(Stack[int]): pass
        class Own:
            def __class_getitem__(cls, key): return (cls.__name__, key)
        @typing.runtime_checkable
        class Sized(typing.Protocol):
            def size(self) -> int: ...
        class File:
            def size(self): return 1
        stack = Stack[str]()
        """,
        "[Ints.__orig_bases__ == (Stack[int],), Own[3], isinstance(File(), Sized), "
        "isinstance(1, Sized), Stack.__parameters__ == (T,), P.__name__, stack.items, "
        "[k.__name__ for k in Ints.__mro__]]",
    ),
    "typed dictionaries and named tuples": (
        """
        import typing, collections
        class Options(typing.TypedDict, total=False):
            a: int
        class More(Options):
            b: str
        class Row(typing.NamedTuple):
            a: int
            b: str = "b"
            def both(self): return f"{self.a}{self.b}"
        Pair = collections.namedtuple("Pair", "x y", defaults=[2])
        rows = [Row(1), Row(2, "c")]
        """,
        "[More(a=1, b='x'), sorted(More.__annotations__), Options.__total__, rows, rows[1].both(), "
        "Row._fields, Pair(1), Pair(1)._replace(y=3), isinstance(rows[0], Row)]",
    ),
    "data classes": (
        """
        import dataclasses
        @dataclasses.dataclass(order=True)
        class Point:
            x: int
            tags: list = dataclasses.field(default_factory=list, compare=False)
            total: int = dataclasses.field(init=False, default=0)
            _: dataclasses.KW_ONLY
            label: str = "none"
            def __post_init__(self): self.total = self.x + SCALE
        @dataclasses.dataclass(frozen=True, slots=True)
        class Frozen:
            a: int = 1
            b: tuple = ()
        SCALE = 10
        points = [Point(2, label="b"), Point(1)]
        frozen = {Frozen(2): "two"}
        @dataclasses.dataclass
        class Child(Point):
            more: int = 5
        """,
        "[sorted(points), frozen[Frozen(2)], dataclasses.fields(Point)[0].default is "
        "dataclasses.MISSING, dataclasses.replace(points[1], x=7), Child(1), Point(3).tags, "
        "dataclasses.asdict(points[0]), hasattr(Frozen(), '__dict__')]",
    ),
    "enums": (
        """
        import enum
        class Colour(enum.Enum):
            RED = 1
            GREEN = enum.auto()
            CRIMSON = 1
            @property
            def lower(self): return self.name.lower()
            @classmethod
            def _missing_(cls, value): return cls.RED
        class Flags(enum.Flag):
            R = 1
            W = 2
            RW = 3
        class Size(enum.IntEnum):
            S, L = 1, 10
        class Word(enum.StrEnum):
            A = enum.auto()
        chosen, both = Colour.GREEN, Flags.R | Flags.W
        """,
        "[chosen is Colour.GREEN, Colour(1), Colour.CRIMSON is Colour.RED, Colour(99), "
        "list(Colour.__members__), chosen.lower, both is Flags.RW, Flags.W in both, ~Flags.R, "
        "Size.L > 3, Word.A, Word('a') is Word.A, list(Flags), len(Colour)]",
    ),
    "enums with values of their own": (
        """
        import enum, dataclasses
        class Planet(enum.Enum):
            EARTH = (5.97, 6.37)
            MARS = (0.64, 3.39)
            def __init__(self, mass, radius):
                self.mass, self.radius, self.known = mass, radius, mass > 1
        class Code(int, enum.Enum):
            OK = 200, "fine"
            def __new__(cls, value, phrase):
                made = int.__new__(cls, value)
                made._value_, made.phrase = value, phrase
                return made
        class Meta(enum.EnumMeta):
            def __call__(cls, *args, **more):
                return super().__call__(*args, **more)
            def __new__(mcs, *args, **more):
                COUNTED.append(1)
                return super().__new__(mcs, *args, **more)
        @dataclasses.dataclass
        class Mixed:
            size: int
            def double(self): return self.size * 2
        class Beast(Mixed, enum.Enum):
            CAT = 3
        """.replace("self.known = mass, radius, mass > 1", "self.known = mass, radius, mass > 1")
        + """
        COUNTED = []
        class Counted(enum.Enum, metaclass=Meta):
            A = 1
        planet = Planet.MARS
        """,
        "[planet.mass, Planet.EARTH.known, planet is Planet((0.64, 3.39)), Code.OK.phrase, "
        "Code(200) is Code.OK, Code.OK + 1, len(COUNTED), Counted(1) is Counted.A, "
        "Beast.CAT.size, Beast.CAT.double(), type(Counted) is Meta]",
    ),
    "slots": (
        """
        class Slim:
            __slots__ = ("a", "__hidden")
            def __init__(self): self.a, self.__hidden = 1, 2
            def hidden(self): return self.__hidden
        class Slimmer(Slim):
            __slots__ = "b"
        class Documented:
            __slots__ = {"x": "what it is"}
        class Weak:
            __slots__ = ["c", "__weakref__"]
        slim, slimmer, weak = Slim(), Slimmer(), Weak()
        slimmer.b = weak.c = 3
        def refuses(it):
            try: it.other = 1
            except AttributeError: return True
        """,
        "[slim.a, slim.hidden(), slimmer.b, weak.c, [refuses(x) for x in (slim, slimmer, weak)], "
        "hasattr(slim, '__dict__'), Documented.__slots__]",
    ),
    "nested and local classes": (
        """
        class Outer:
            class Inner:
                class Core: x = 1
                def make(self): return Outer.Inner.Core()
            inner = Inner()
        def make():
            class Local:
                def who(self): return type(self).__qualname__
            return Local
        Local = make()
        local = Local()
        """,
        "[Outer.Inner.__qualname__, Outer.inner.make().x, repr(Outer.Inner.Core), local.who(), "
        "type(Outer.inner) is Outer.Inner]",
    ),
    "order and kinds of members": (
        """
        class Form:
            name = "n"
            size: int = 3
            def check(self): return True
            values = [1]
            @staticmethod
            def helper(): return 4
            @property
            def shown(self): return self.name
            @shown.setter
            def shown(self, value): self.name = value
            last = None
        """,
        "[[k for k in vars(Form) if not k.startswith('__')], Form.__annotations__, Form.helper(), "
        "Form().shown, Form.shown.fset is not None]",
    ),
    # --- what runs when an instance comes back -----------------------------------------------
    "setstate that uses later names": (
        """
        class Model:
            def __init__(self, a): self.a = a
            def __getstate__(self): return {"a": self.a}
            def __setstate__(self, state): self.a = scaled(state["a"]) / SCALE
        model = Model(1.0)
        def scaled(a): return a * SCALE
        SCALE = 10
        """,
        "model.a",
    ),
    "setstate that uses a later instance": (
        """
        class Scale:
            def __init__(self, factor): self.factor = factor
        class Model:
            def __setstate__(self, state): self.a = state["a"] * scale.factor / config["by"]
        model = Model(); model.a = 6.0
        models = [model]
        config = {"by": 3}
        scale = Scale(3)
        """,
        "[model.a, models[0] is model]",
    ),
    "setstate in a class that is made in another one": (
        """
        class Base:
            default = None
            def __setstate__(self, state): self.__dict__.update(state, restored=MARK)
        class Child(Base):
            pass
        Base.default = Child()
        Base.default.x = 1
        MARK = "marked"
        """,
        "[Base.default.x, type(Base.default) is Child]",
    ),
    "instances of a class in the class itself": (
        """
        class Level:
            __slots__ = ("n",)
            def __init__(self, n): self.n = n
            def __getstate__(self): return (self.n,)
            def __setstate__(self, state): (self.n,) = state
            def __eq__(self, other): return self.n == other.n
            def __hash__(self): return hash(self.n)
        Level.LOW, Level.HIGH = Level(1), Level(2)
        Level.ALL = {Level.LOW: "low", Level.HIGH: "high"}
        """,
        "[Level.LOW.n, Level.ALL[Level(2)], list(vars(Level))[-3:]]",
    ),
    "reduce": (
        """
        class Handle:
            def __init__(self, number): self.number = number
            def __reduce__(self): return open_handle, (self.number,)
        def open_handle(number): return OPENED.setdefault(number, Handle(number))
        handle = Handle(5)
        OPENED = {}
        again = [handle]
        """,
        "[handle.number, again[0] is handle, type(handle) is Handle]",
    ),
    "reduce_ex, getnewargs and new": (
        """
        class Temperature(float):
            def __new__(cls, value, unit):
                made = super().__new__(cls, value * FACTORS[unit])
                made.unit = unit
                return made
            def __getnewargs__(self): return float(self) / FACTORS[self.unit], self.unit
        class Name(str):
            def __reduce_ex__(self, protocol): return Name.read, (str(self),)
            @classmethod
            def read(cls, text): return cls(PREFIX + text.removeprefix(PREFIX))
        FACTORS = {"k": 2.0}
        PREFIX = "p-"
        warm, name = Temperature(1.5, "k"), Name("p-x")
        """,
        "[warm, warm.unit, name, type(name) is Name]",
    ),
    "hash that uses a constant": (
        """
        class Key:
            def __init__(self, v): self.v = v
            def __hash__(self): return hash((SALT, self.v)) if "SALT" in globals() else hash(self.v)
            def __eq__(self, other): return self.v == other.v
        SALT = 7
        table, members = {Key(1): 1.0}, {Key(2), Key(3)}
        frozen = frozenset([Key(4)])
        del SALT
        SALT = 7
        """,
        "[table[Key(1)], Key(2) in members, Key(5) in members, Key(4) in frozen]",
    ),
    "hash that uses a later instance": (
        """
        import collections
        class Salt:
            def __init__(self): self.value = 3
        class Key:
            def __init__(self, v): self.v = v
            def __hash__(self): return hash((get_salt(), self.v))
            def __eq__(self, other): return self.v == other.v
        def get_salt(): return salt.value
        salt = Salt()
        plain = {Key(1): 1}
        ordered = collections.OrderedDict([(Key(2), 2), (Key(1), 1)])
        counted = collections.Counter([Key(1), Key(1)])
        default = collections.defaultdict(list, {Key(3): [3]})
        pairs = {(Key(1), "a"): "pair"}
        nested = [{"deep": {Key(9)}}]
        del salt
        salt = Salt()
        """,
        "[plain[Key(1)], ordered[Key(2)], [k.v for k in ordered], counted[Key(1)], "
        "default[Key(3)], default[Key(4)], pairs[Key(1), 'a'], Key(9) in nested[0]['deep']]",
    ),
    "hash that is told by the state of another object": (
        """
        SETTINGS = {"mode": "a"}
        class Key:
            def __init__(self, v): self.v = v
            def __hash__(self): return hash(self.v + SETTINGS["mode"])
            def __eq__(self, other): return self.v == other.v
        SETTINGS["keys"] = {Key("x"): 1}
        """,
        "SETTINGS['keys'][Key('x')]",
    ),
    "nodes that know each other by sets": (
        """
        class Node:
            def __init__(self, name): self.name, self.parents, self.children = name, set(), set()
            def __hash__(self): return hash(self.name)
            def __eq__(self, other): return self.name == other.name
            def add(self, child): self.children.add(child); child.parents.add(self)
        a, b, c = Node("a"), Node("b"), Node("c")
        a.add(b); b.add(c); a.add(c); c.add(a)
        by_node = {a: 1, b: 2}
        """,
        "[sorted(n.name for n in a.children), a in c.parents, Node('b') in a.children, "
        "by_node[Node('a')], c in a.parents]",
    ),
    "unhashable until complete": (
        """
        class Tag:
            def __init__(self, name):
                self.name = name
                self.group = {self}
            def __hash__(self): return hash(self.name)
            def __eq__(self, other): return self.name == other.name
        tag = Tag("t")
        """,
        "[tag in tag.group, Tag('t') in tag.group, len(tag.group)]",
    ),
    "attributes by functions": (
        """
        class Lazy:
            def __init__(self): self.values = {"a": 1}
            def __getattr__(self, name):
                try: return self.__dict__["values"][name] + OFFSET
                except KeyError: raise AttributeError(name) from None
            def __setattr__(self, name, value): self.__dict__[name] = CHECK(name, value)
        def CHECK(name, value): return value
        OFFSET = 2
        lazy = Lazy()
        """,
        "[lazy.a, hasattr(lazy, 'b')]",
    ),
    "containers of one's own": (
        """
        class Rows(list):
            def append(self, row): super().append(CHECK(row))
            def extend(self, rows):
                for row in rows: self.append(row)
        class Table(dict):
            def __setitem__(self, key, value): super().__setitem__(key, CHECK(value))
            def __missing__(self, key): return DEFAULT
        rows, table = Rows(), Table()
        def CHECK(value): return value
        DEFAULT = "default"
        rows.append(1); table["a"] = 2
        rows.label = "l"
        """,
        "[rows, rows.label, table, table['none'], type(rows) is Rows]",
    ),
    # --- functions ---------------------------------------------------------------------------
    "singledispatch": (
        """
        from functools import singledispatch
        @singledispatch
        def kind(x):
            "What it is."
            return "other"
        @kind.register
        def _(x: int): return "int" + SUFFIX
        @kind.register(list)
        @kind.register(tuple)
        def of_sequence(x): return [kind(y) for y in x]
        class Mine: pass
        kind.register(Mine, lambda x: "mine")
        SUFFIX = "!"
        kind.label = "labelled"
        kind(1); kind("")
        """,
        "[kind(1), kind(''), kind([1, (2, '')]), kind(Mine()), kind(True), kind.__doc__, "
        "kind.label, sorted(k.__name__ for k in kind.registry), kind.dispatch(int)(1)]",
    ),
    "singledispatchmethod": (
        """
        import abc
        from functools import singledispatchmethod
        class Kind:
            @singledispatchmethod
            def of(self, x): return "other"
            @of.register
            def _(self, x: int): return ["int", self.of("")]
            @singledispatchmethod
            @classmethod
            def make(cls, x): return cls.__name__
            @make.register(int)
            @classmethod
            def _(cls, x): return x + 1
        class Child(Kind): pass
        kind = Child()
        """,
        "[kind.of(1), kind.of(''), Child.make(''), Child.make(2)]",
    ),
    "functools": (
        """
        import functools, operator
        add_two = functools.partial(operator.add, 2)
        scaled = functools.partial(lambda x, by: x * by * SCALE, by=3)
        @functools.lru_cache(maxsize=None)
        def fib(n): return n if n < 2 else fib(n - 1) + fib(n - 2)
        @functools.total_ordering
        class Version:
            def __init__(self, n): self.n = n
            def __eq__(self, other): return self.n == other.n
            def __lt__(self, other): return self.n < other.n
            @functools.cached_property
            def text(self): return f"v{self.n}{SUFFIX}"
            @functools.lru_cache
            def slow(self): return self.n
            __hash__ = object.__hash__
            half = functools.partialmethod(lambda self, by: self.n / by, 2)
        SCALE, SUFFIX = 10, "!"
        old = Version(1); old.text
        """,
        "[add_two(1), scaled(2), fib(50), old.text, Version(2).text, old >= Version(0), "
        "old.slow(), old.half(), fib.cache_parameters()]",
    ),
    "decorators that register": (
        """
        HANDLERS, ORDER = {}, []
        def handler(name, *, first=False):
            def register(function):
                HANDLERS[name] = function
                ORDER.insert(0 if first else len(ORDER), name)
                return function
            return register
        @handler("a")
        def handle_a(x): return x + BASE
        @handler("b", first=True)
        def handle_b(x): return HANDLERS["a"](x) * 2
        BASE = 1
        """,
        "[HANDLERS['b'](1), ORDER, HANDLERS['a'] is handle_a]",
    ),
    "default arguments that are instances": (
        """
        class Config:
            def __init__(self, n): self.n = n
            def __setstate__(self, state): self.n = state["n"] + later() - STEP
        def run(config=Config(1), *, other=Config(2), many=(Config(3),)):
            return config.n + other.n + many[0].n
        def later(): return STEP
        STEP = 5
        class Runner:
            config = Config(4)
            def run(self, config=Config(5)): return self.config.n + config.n
        """,
        "[run(), run(Config(10)), Runner().run()]",
    ),
    "mutual recursion": (
        """
        class Tree:
            def __init__(self, *children): self.children = children
            def visit(self): return [Visitor().visit(child) for child in self.children]
        class Visitor:
            made = []
            def visit(self, tree): return tree.visit() or 1
        Tree.visitor, Visitor.tree = Visitor, Tree
        tree = Tree(Tree(), Tree(Tree()))
        loop = [tree]; loop.append(loop)
        tree.loop = loop
        def even(n): return n == 0 or odd(n - 1)
        def odd(n): return n != 0 and even(n - 1)
        """,
        "[tree.visit(), Tree.visitor is Visitor, tree.loop[1] is loop, loop[0] is tree, even(10)]",
    ),
    "closures, generators and coroutines": (
        """
        import asyncio, contextlib
        def counter(start):
            def add(n):
                nonlocal start
                start += n
                return start
            def reset(): nonlocal start; start = 0
            return add, reset
        add, reset = counter(10)
        def pairs():
            yield from ((a, b) for a in range(2) for b in LETTERS)
        async def fetch(x): await asyncio.sleep(0); return x
        @contextlib.contextmanager
        def opened(x): yield x
        LETTERS = "ab"
        add(5)
        """,
        "[add(1), reset(), add(1), list(pairs()), asyncio.run(fetch(3)), opened(4).__enter__()]",
    ),
    "weak references": (
        """
        import weakref
        class Node:
            def __init__(self, parent=None):
                self.parent = parent and weakref.ref(parent)
                self.children = []
                if parent: parent.children.append(self)
        root = Node(); child = Node(root)
        names = weakref.WeakKeyDictionary({root: "root"})
        nodes = weakref.WeakValueDictionary({"child": child})
        held = weakref.WeakSet([root])
        gone = weakref.ref(Node())
        method = weakref.WeakMethod(root.__init__)
        """,
        "[child.parent() is root, names[root], nodes['child'] is child, root in held, gone(), "
        "method().__self__ is root]",
    ),
    "exceptions of one's own": (
        """
        class Problem(Exception):
            def __init__(self, code, *, hint=""):
                super().__init__(code)
                self.code, self.hint = code, hint
            def __str__(self): return f"{PREFIX}{self.code}"
        PREFIX = "P"
        problem = Problem(3, hint="h")
        class Group(ExceptionGroup): pass
        group = Group("many", [problem])
        """,
        "[str(problem), problem.hint, group.exceptions[0] is problem]",
    ),
    "descriptors, properties and operators": (
        """
        class Money:
            rate = property(lambda self: RATES[self.unit], doc="the rate")
            def __init__(self, n, unit): self.n, self.unit = n, unit
            def __add__(self, other): return Money(self.n + other.n * other.rate, self.unit)
            def __bool__(self): return self.n > LIMIT
            def __call__(self): return self.n
            def __contains__(self, x): return x == self.unit
            __radd__ = __add__
        RATES, LIMIT = {"e": 1, "d": 2}, 0
        money = Money(1, "e") + Money(2, "d")
        """,
        "[money(), bool(money), 'e' in money, Money.rate.__doc__, Money.__radd__ is Money.__add__]",
    ),
    "estimators of one's own": (
        """
        import numpy as np
        from sklearn.base import BaseEstimator, TransformerMixin, ClassifierMixin
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import FunctionTransformer
        def double(x): return x * FACTOR
        FACTOR = 2
        class Clip(TransformerMixin, BaseEstimator):
            def __init__(self, most=1.0): self.most = most
            def fit(self, x, y=None):
                self.n_ = len(x)
                return self
            def transform(self, x): return np.minimum(x, limited(self.most))
        def limited(x): return min(x, LIMIT)
        LIMIT = 3.0
        pipe = make_pipeline(FunctionTransformer(double), Clip(5.0)).fit([[1.0], [2.0]])
        """,
        "[pipe.transform(np.array([[1.0], [9.0]])).tolist(), pipe.steps[1][1].get_params()]",
    ),
    "objects in arrays and tables": (
        """
        import numpy as np, pandas as pd
        class Cell:
            def __init__(self, n): self.n = n
            def __setstate__(self, state): self.n = state["n"] * UNIT
            def __hash__(self): return hash((self.n, UNIT))
            def __eq__(self, other): return self.n == other.n
        UNIT = 1
        array = np.array([Cell(1), Cell(2)], dtype=object)
        frame = pd.DataFrame({"cell": [Cell(3), Cell(4)], "x": [1, 2]})
        lookup = {cell: cell.n for cell in array}
        """,
        "[[c.n for c in array], frame['cell'].iloc[1].n, lookup[Cell(2)]]",
    ),
    "many names for one": (
        """
        class Thing: pass
        first = Thing(); second = first; Alias = Thing
        first.self = first
        holder = {"thing": first, "cls": Alias, "fn": (f := lambda: first)}
        """,
        "[second is first, Alias is Thing, holder['thing'].self is first, holder['fn'] is f, "
        "f() is first]",
    ),
}
