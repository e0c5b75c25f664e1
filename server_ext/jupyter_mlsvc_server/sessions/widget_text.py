"""Widgets of a kernel as text that follows them.

A widget lives in its kernel as a model, whose state travels in comm messages to a front end that
draws it. A session has no such front end: whoever looks at its output is elsewhere, and maybe
later. So the models are kept here, what is displayed of them becomes text, and each change of that
text an ``update_display_data``, which everybody knows who shows outputs::

    comm_open, comm_msg, comm_close  -> models -> texts of the displays that are concerned
    display_data of a widget         -> display_data of its text, with an id for updates
    output while an Output captures  -> text of that widget

Bars move many times a second and for hours, and an execution's output is bounded. A display is
therefore updated at once where it was quiet for a while, and less often the longer it goes on; what
it shows last always comes.
"""

from __future__ import annotations

import html
import re
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

VIEW: Final = "application/vnd.jupyter.widget-view+json"
"""MIME type of a displayed widget."""

MAX_MODELS: Final = 20_000
"""Models that are kept of a kernel; the oldest go first."""

MAX_DISPLAYS: Final = 500
"""Displays that are followed; older ones stay as they are."""

MAX_CHARACTERS: Final = 16_384
"""Characters of one widget's text; the beginning of a longer one goes."""

UPDATE_SECONDS: Final = 0.1
"""Seconds between two updates of a display."""

SETTLE_SECONDS: Final = 0.02
"""Seconds to wait after a change: what changes together comes in several messages."""

AGE_SHARE: Final = 1 / 200
"""The same as a share of its age, which bounds how many updates it gets: 200 in 20 seconds,
1,700 in ten hours. Texts of more than a line get fewer."""

_TARGET: Final = "jupyter.widget"
_REFERENCE: Final = "IPY_MODEL_"
_KEPT: Final = (
    "_model_name", "_options_labels", "bar_style", "children", "description", "index", "max",
    "min", "msg_id", "outputs", "placeholder", "selected_index", "titles", "value",
)  # fmt: skip
_NOT_SHOWN: Final = re.compile(r"(Layout|Style)Model$")
_TAG: Final = re.compile(r"<(br|/p|/div|/li|/tr|/h\d)\b[^>]*>|<[^>]*>", re.IGNORECASE)
_INVISIBLE: Final = re.compile(r"<(style|script)\b.*?</\1>", re.IGNORECASE | re.DOTALL)
_PLAIN_REPR: Final = re.compile(r"\w+\(.*\)", re.DOTALL)
_EIGHTHS: Final = " ▏▎▍▌▋▊▉█"
_BAR_WIDTH: Final = 10
_CAPTURED: Final = frozenset({"stream", "display_data", "execute_result", "error", "clear_output"})

State = dict[str, Any]
Content = dict[str, Any]


@dataclass(slots=True)
class _Display:
    """A widget where it is shown."""

    model: str
    text: str
    shown_at: float
    updated_at: float
    changed_at: float | None = None

    @property
    def due_at(self) -> float:
        """When it may be updated next, if it has changed."""
        age = self.updated_at - self.shown_at
        length = 1 + len(self.text) / 200
        pause = max(UPDATE_SECONDS, age * length * AGE_SHARE)
        return max(self.updated_at + pause, (self.changed_at or 0) + SETTLE_SECONDS)


@dataclass(slots=True)
class WidgetText:
    """The widgets of one kernel.

    Parameters
    ----------
    clock
        Gives seconds.
    """

    clock: Callable[[], float]
    _models: OrderedDict[str, State] = field(default_factory=OrderedDict)
    _parents: dict[str, set[str]] = field(default_factory=dict)
    _displays: OrderedDict[str, _Display] = field(default_factory=OrderedDict)
    _capturing: dict[str, str] = field(default_factory=dict)
    _cleared: set[str] = field(default_factory=set)

    # --- messages of the kernel --------------------------------------------------------------

    def on_comm(self, kind: str, content: Content) -> None:
        """Take a comm message of the kernel."""
        model, data = content.get("comm_id", ""), content.get("data") or {}
        if kind == "comm_open":
            state = data.get("state") or {}
            if content.get("target_name") == _TARGET and not _is_style(state):
                self._models[model] = {}
                self._set(model, state)
                if len(self._models) > MAX_MODELS:
                    self._forget(next(iter(self._models)))
        elif model not in self._models:
            return
        elif kind == "comm_close":
            self._touch(model)
            self._forget(model)
        elif data.get("method") in {"update", "echo_update"}:
            self._set(model, data.get("state") or {})

    def captures(self, parent: str, kind: str, content: Content) -> bool:
        """Take an output, if an Output widget captures those of its request."""
        model = self._capturing.get(parent)
        if model is None or kind not in _CAPTURED:
            return False
        if kind == "clear_output":
            if content.get("wait"):
                self._cleared.add(model)
            else:
                self._set(model, {"outputs": []})
            return True
        before = [] if model in self._cleared else self._models[model].get("outputs") or []
        self._cleared.discard(model)
        self._set(model, {"outputs": _shortened([*before, {"output_type": kind, **content}])})
        return True

    def shown(self, kind: str, content: Content) -> tuple[str, Content]:
        """Give the kind and content of an output, with text in the place of a widget."""
        data = content.get("data") or {}
        if VIEW not in data or kind not in {"display_data", "execute_result"}:
            return kind, content
        model = data[VIEW].get("model_id", "")
        rest = {each: value for each, value in data.items() if each != VIEW}
        own, text = str(rest.get("text/plain", "")), self._text(model)
        # What a class says about itself is better than what is made of its parts, save a list of
        # its traits.
        if text is not None and (not own or _PLAIN_REPR.fullmatch(own.strip())):
            rest["text/plain"] = text
        if model not in self._models:
            return kind, {**content, "data": rest}
        transient = dict(content.get("transient") or {})
        number = transient.setdefault("display_id", uuid.uuid4().hex)
        now = self.clock()
        self._displays[number] = _Display(model, rest.get("text/plain", ""), now, now)
        if len(self._displays) > MAX_DISPLAYS:
            self._displays.popitem(last=False)
        # The value of a last expression could not be updated.
        return "display_data", {**content, "data": rest, "transient": transient}

    # --- the text of a widget ----------------------------------------------------------------

    def updates(self, *, all_of_them: bool = False) -> Iterator[Content]:
        """Give the updates of displays that are due, or all that there are."""
        now = self.clock()
        for number, display in self._displays.items():
            if display.changed_at is None or not (all_of_them or display.due_at <= now):
                continue
            display.changed_at = None
            text = self._text(display.model) or ""
            if text != display.text:
                display.text, display.updated_at = text, now
                yield {
                    "data": {"text/plain": text},
                    "metadata": {},
                    "transient": {"display_id": number},
                }

    def next_due(self) -> float | None:
        """Give the seconds until an update is due; None where nothing waits."""
        displays = self._displays.values()
        waiting = [each.due_at for each in displays if each.changed_at is not None]
        return max(min(waiting) - self.clock(), 0.0) if waiting else None

    # --- models ------------------------------------------------------------------------------

    def _set(self, model: str, state: State) -> None:
        known = self._models[model]
        known.update({name: _short(state[name]) for name in _KEPT if name in state})
        if "children" in state:
            for child in _references(state["children"]):
                self._parents.setdefault(child, set()).add(model)
        if "msg_id" in state:
            self._capturing = {
                parent: each for parent, each in self._capturing.items() if each != model
            }
            if state["msg_id"]:
                self._capturing[state["msg_id"]] = model
        self._touch(model)

    def _forget(self, model: str) -> None:
        self._models.pop(model, None)
        self._parents.pop(model, None)
        self._cleared.discard(model)
        self._capturing = {key: each for key, each in self._capturing.items() if each != model}

    def _touch(self, model: str) -> None:
        """Note that the displays of a model, and of those that hold it, may look different."""
        waiting, concerned = [model], set[str]()
        while waiting:
            each = waiting.pop()
            if each not in concerned:
                concerned.add(each)
                waiting.extend(self._parents.get(each, ()))
        for display in self._displays.values():
            if display.model in concerned and display.changed_at is None:
                display.changed_at = self.clock()

    # --- texts -------------------------------------------------------------------------------

    def _text(self, model: str, depth: int = 0) -> str | None:
        """Give the text of a model; None of one that is not known or has none."""
        state = self._models.get(model)
        if state is None or depth > 20:  # boxes may hold each other
            return None
        name = str(state.get("_model_name", ""))
        if name in {"FloatProgressModel", "IntProgressModel"}:
            return _progress(state)
        if name == "HBoxModel":
            return self._row(state, depth)
        if "children" in state:
            return self._column(state, depth)
        if name in {"HTMLModel", "HTMLMathModel"}:
            return _joined(state.get("description"), _without_tags(str(state.get("value") or "")))
        if name == "OutputModel":
            return "".join(map(_text_of_output, state.get("outputs") or ())).rstrip("\n")
        if name == "ButtonModel":
            return f"[{state.get('description', '')}]"
        labels, index = state.get("_options_labels"), state.get("index")
        if isinstance(labels, list) and isinstance(index, int) and 0 <= index < len(labels):
            return _joined(state.get("description"), str(labels[index]))
        value = state.get("value")
        if isinstance(value, str | int | float):
            return _joined(state.get("description"), str(value))
        return None

    def _row(self, state: State, depth: int) -> str:
        children = list(_references(state.get("children")))
        texts = {child: self._text(child, depth + 1) for child in children}
        bars = {child for child in children if _is_bar(self._models.get(child))}
        has_words = any(text and text.strip() for child, text in texts.items() if child not in bars)
        row = ""
        for child in children:
            text = (texts[child] or "").rstrip()
            text = text if child is children[0] else text.lstrip()
            if child in bars and has_words:
                # The words beside a bar say how far it is.
                row += _bar(self._models[child])
            elif text:
                row += f" {text}" if row else text
        return row

    def _column(self, state: State, depth: int) -> str:
        titles = state.get("titles") or ()
        lines = []
        for number, child in enumerate(_references(state.get("children"))):
            text = self._text(child, depth + 1)
            if text is not None:
                lines += [str(titles[number])] if number < len(titles) and titles[number] else []
                lines.append(text)
        return "\n".join(lines)


def _is_style(state: State) -> bool:
    return _NOT_SHOWN.search(str(state.get("_model_name", ""))) is not None


def _references(children: Any) -> Iterator[str]:
    for child in children if isinstance(children, list) else ():
        if isinstance(child, str) and child.startswith(_REFERENCE):
            yield child.removeprefix(_REFERENCE)


def _short(value: Any) -> Any:
    return value[:MAX_CHARACTERS] if isinstance(value, str) else value


def _shortened(outputs: list[Content]) -> list[Content]:
    """Keep the end of what an Output holds, as a terminal does; texts in a row become one."""
    last, before = outputs[-1], outputs[-2] if len(outputs) > 1 else {}
    if (
        last["output_type"] == before.get("output_type") == "stream"
        and last.get("name") == before["name"]
    ):
        text = before["text"] + last["text"]
        outputs = [*outputs[:-2], {**last, "text": text[-MAX_CHARACTERS:]}]
    return outputs[-100:]


def _text_of_output(output: Content) -> str:
    if output.get("output_type") == "stream":
        return str(output.get("text", ""))
    if output.get("output_type") == "error":
        return "\n".join(map(str, output.get("traceback") or ())) + "\n"
    text = (output.get("data") or {}).get("text/plain", "")
    return f"{''.join(text) if isinstance(text, list) else text}\n"


def _without_tags(text: str) -> str:
    plain = _TAG.sub(lambda tag: "\n" if tag[1] else "", _INVISIBLE.sub("", text))
    # tqdm pads with a space as wide as a digit.
    return html.unescape(plain).replace("\u2007", " ").replace("\xa0", " ").rstrip()


def _joined(description: Any, text: str) -> str:
    said = _without_tags(str(description or ""))
    return f"{said} {text}" if said else text


def _is_bar(state: State | None) -> bool:
    return state is not None and str(state.get("_model_name", "")).endswith("ProgressModel")


def _share(state: State) -> float:
    low, high = state.get("min") or 0, state.get("max")
    high = 100 if high is None else high
    try:
        return min(max((state.get("value") or 0) - low, 0) / (high - low), 1.0)
    except (TypeError, ZeroDivisionError):
        return 0.0


def _bar(state: State) -> str:
    if state.get("bar_style") == "info" and _share(state) == 1 and state.get("max") == 1:
        return ""  # how tqdm draws a bar that has no end
    filled = round(_share(state) * _BAR_WIDTH * 8)
    part = _EIGHTHS[filled % 8] if filled % 8 else ""
    return f"|{('█' * (filled // 8) + part).ljust(_BAR_WIDTH)}|"


def _progress(state: State) -> str:
    value, high = state.get("value") or 0, state.get("max")
    figures = f"{value:g}/{100 if high is None else high:g}"
    return _joined(state.get("description"), f"{_share(state):4.0%}{_bar(state)} {figures}")
