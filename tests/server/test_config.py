"""What the server makes of command lines and configuration files."""

from __future__ import annotations

from pathlib import Path

import pytest

from jupyter_mlsvc_server.scoring.settings import ScoringSettings
from jupyter_mlsvc_server.server import MlsvcApp


@pytest.fixture(autouse=True)
def config_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder with configuration files."""
    monkeypatch.setenv("JUPYTER_CONFIG_DIR", str(tmp_path))
    monkeypatch.setenv("JUPYTER_NO_CONFIG", "")
    monkeypatch.setattr(MlsvcApp, "config_file_paths", [str(tmp_path)])
    return tmp_path


def configured(*options: str) -> MlsvcApp:
    app = MlsvcApp()
    app.initialize(["serve", *options])
    return app


def test_former_section_counts_with_a_line_that_names_the_new_one(
    config_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (config_dir / "jupyter_mlsvc_config.py").write_text(
        "c.SessionManager.max_queue = 7\nc.SessionManager.idle_timeout = 1.0\n"
        "c.SessionManager.database_filepath = 'of-jupyter.db'\n"
        "c.MlsvcSessionManager.idle_timeout = 2.0\n"
    )
    app = configured("--SessionManager.max_executions_kept=3")
    assert app.config.MlsvcSessionManager.max_queue == 7
    assert app.config.MlsvcSessionManager.idle_timeout == 2.0
    assert str(app.config.MlsvcSessionManager.max_executions_kept) == "3"
    (line,) = capsys.readouterr().err.splitlines()
    assert "Write MlsvcSessionManager instead of SessionManager" in line
    assert "idle_timeout and max_executions_kept and max_queue" in line


def test_section_of_jupyters_session_manager_is_no_matter_of_ours(
    config_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (config_dir / "jupyter_server_config.py").write_text(
        "c.SessionManager.database_filepath = 'of-jupyter.db'\n"
    )
    assert "MlsvcSessionManager" not in configured().config
    assert capsys.readouterr().err == ""


def test_settings_of_kernels_that_were_kept_warm_have_a_line_that_says_so(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configured("--WarmKernels.warm_kernels=3")
    (line,) = capsys.readouterr().err.splitlines()
    assert "WarmKernels has no settings any more" in line
    assert "KernelFactory.preload_at_start" in line


def test_unknown_option_has_one_warning(capsys: pytest.CaptureFixture[str]) -> None:
    configured("--MlsvcApp.frob=1")
    (line,) = capsys.readouterr().err.splitlines()
    assert "Config option `frob` not recognized" in line


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--prot=1", "There is no option --prot. Did you mean --port?"),
        ("--PublicApi.port=1", "There is no option --PublicApi.port. "),
        ("--ScoringSetting.threads=1", "Did you mean --ScoringSettings.threads?"),
    ],
)
def test_option_that_means_nothing_is_one_line_and_nothing_starts(
    option: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as raised:
        configured(option)
    assert raised.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


def test_settings_of_a_class_that_a_setting_names_are_taken() -> None:
    app = configured("--MlsvcApp.authenticator_class=own.Directory", "--Directory.url=ldap:")
    assert app.config.Directory.url == "ldap:"


def test_places_have_short_options() -> None:
    app = configured("--ip=::1", "--port=1234", "--data-dir=here")
    assert (app.public_ip, app.public_port, app.data_dir) == ("::1", 1234, "here")


BROKEN = {
    "jupyter_mlsvc_config.py": (
        "c.MlsvcApp.public_port = 1\nc.MlsvcApp.public_ip = name\n",
        "line 2 of {file} cannot be read. NameError: name 'name' is not defined",
    ),
    "jupyter_server_config.py": ("\n\nc.MlsvcApp.\n", "line 3 of {file} cannot be read. Syntax"),
    "jupyter_mlsvc_config.json": ('{"MlsvcApp": ', "{file} cannot be read. JSONDecodeError: "),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_file_is_one_line_and_nothing_starts(
    config_dir: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text, expected = BROKEN[name]
    (config_dir / name).write_text(text)
    with pytest.raises(SystemExit) as raised:
        configured()
    assert raised.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert expected.format(file=config_dir / name) in line


@pytest.mark.parametrize(
    ("options", "modules"),
    [
        (['=["numpy"]'], ["numpy"]),
        (['=["numpy", "pandas"]'], ["numpy", "pandas"]),
        (["=['numpy','pandas']"], ["numpy", "pandas"]),
        (["=[numpy,pandas]"], ["numpy", "pandas"]),
        (["=[]"], []),
        (["=numpy"], ["numpy"]),
        (["=numpy", "=pandas"], ["numpy", "pandas"]),
        (["=numpy", '=["pandas"]'], ["numpy", "pandas"]),
    ],
)
def test_list_may_be_given_as_json_or_one_by_one(options: list[str], modules: list[str]) -> None:
    app = configured(*(f"--ScoringSettings.preload{option}" for option in options))
    assert ScoringSettings(parent=app).preload == modules
    app = configured(*(f"--MlsvcApp.cors_origins{option}" for option in options))
    assert app.cors_origins == modules
