"""Configuration that a hosted server gets of Jupyter's."""

from __future__ import annotations

import importlib
import inspect
import io
import logging
import os
import pkgutil
from types import SimpleNamespace

import pytest
from traitlets import Dict, Integer, List, Set
from traitlets.config import Application, Config, Configurable
from traitlets.config.loader import DeferredConfigList, DeferredConfigString

import jupyter_mlsvc_server
from jupyter_mlsvc_server.extension.child_config import child_config
from jupyter_mlsvc_server.formats.config_sections import SECTIONS
from jupyter_mlsvc_server.hosting import read_host_config

LOG = logging.getLogger(__name__)


def passed(config: Config, monkeypatch: pytest.MonkeyPatch) -> Config:
    """Pass a configuration on as to a child."""
    monkeypatch.setenv("MLSVC_ADMIN_PASSWORD", "")
    text = child_config(config, "/data", LOG, {"MLSVC_ADMIN_PASSWORD": "sesame"})
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(text)))
    return read_host_config()


def test_every_class_with_settings_is_passed() -> None:
    with_settings = set()
    for module in pkgutil.walk_packages(jupyter_mlsvc_server.__path__, "jupyter_mlsvc_server."):
        if any(part in module.name for part in ("__main__", "migrations", "extension", "cli")):
            continue
        for name, each in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            is_ours = each.__module__.startswith("jupyter_mlsvc_server")
            if not is_ours or not issubclass(each, Configurable) or issubclass(each, Application):
                continue
            # A private class has the settings of its base in Jupyter, and is made without them.
            if each.class_traits(config=True) and not name.startswith("_"):
                with_settings.add(name)
    assert len(with_settings) > 10
    assert with_settings - SECTIONS == set()


def test_secrets_arrive_in_the_environment_of_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "MLSVC_ADMIN_PASSWORD" not in passed(Config(), monkeypatch)
    assert os.environ["MLSVC_ADMIN_PASSWORD"] == "sesame"


def test_values_of_all_kinds_arrive(monkeypatch: pytest.MonkeyPatch) -> None:
    class LocalEngine(Configurable):
        number = Integer(1).tag(config=True)
        texts = List(["a"]).tag(config=True)
        added = List(["a"]).tag(config=True)
        words = Dict({"a": 1}).tag(config=True)
        several = Set().tag(config=True)

    config = Config()
    # As a command line has them, whose classes nobody knew.
    config.LocalEngine.number = DeferredConfigString("7")
    config.LocalEngine.texts = DeferredConfigList(["x", "y"])
    config.LocalEngine.added.append("b")
    config.LocalEngine.added.prepend(["0"])
    config.LocalEngine.words.update({"b": 2})
    config.LocalEngine.several = {"p"}
    engine = LocalEngine(config=passed(config, monkeypatch))
    assert engine.number == 7
    assert engine.texts == ["x", "y"]
    assert engine.added == ["0", "a", "b"]
    assert engine.words == {"a": 1, "b": 2}
    assert engine.several == {"p"}


def test_secrets_of_jupyter_stay_there(monkeypatch: pytest.MonkeyPatch) -> None:
    config = Config()
    config.IdentityProvider.token = "very-secret"
    config.ServerApp.password = "very-secret"
    config.MlsvcApp.public_port = 1
    config.MlsvcApp.jupyter_user = "maria"
    assert passed(config, monkeypatch) == {"MlsvcApp": {"public_port": 1, "data_dir": "/data"}}


def test_settings_of_a_replaced_class_are_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    config = Config()
    config.MlsvcApp.scoring_engine_class = "own.OwnEngine"
    config.OwnEngine.speed = 3
    assert passed(config, monkeypatch).OwnEngine.speed == 3
