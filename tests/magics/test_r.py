"""Sessions and services in R by magics and client, in a real shell against a real server."""

from __future__ import annotations

import pandas
import pytest
from IPython.core.interactiveshell import InteractiveShell

from jupyter_mlsvc.errors import BadRequest, MlsvcError, RemoteExecutionError
from jupyter_mlsvc.magics.connection import MlsvcConnection

from .conftest import Run

pytestmark = [pytest.mark.kernel, pytest.mark.usefixtures("needs_r")]

CARS = pandas.DataFrame({"wt": [2.0, 3.0, 4.0], "mpg": [27.0, 22.0, 16.0]})


def test_cells_in_r_and_python_take_turns(run: Run, on_server: InteractiveShell) -> None:
    # Tests that ran before may have left some of this user's, until their kernels have ended.
    others = {each.id for each in run("%mlsvc sessions").value}
    on_server.user_ns["cars"] = CARS
    ran = run(
        "%%remote_exec --runtime R -i cars -o fitted,n\n"
        "fit <- lm(mpg ~ wt, cars)\n"
        "fitted <- cbind(cars, guess = predict(fit)); n <- nrow(cars)\n"
        "cat('fitted\\n')"
    )
    ran.result.raise_error()
    assert ran.stdout == "Started session 'default in R' (R).\nfitted\n"
    frame = on_server.user_ns["fitted"]
    assert isinstance(frame, pandas.DataFrame)
    assert frame.guess.round(2).tolist() == [27.17, 21.67, 16.17]
    assert on_server.user_ns["n"] == 3
    # The session in R is the current one now; the one in Python is beside it.
    assert run("%remote_exec cat(class(fit))").stdout == "lm"
    assert run("%remote_exec --runtime Python print(6 * 7)").stdout.endswith("\n42\n")
    assert run("%remote_exec --runtime R cat(n)").stdout == "3"
    listed = run("%mlsvc sessions").value
    started = [each.runtime_type for each in listed if each.id not in others]
    assert started == ["R", "Python"]


def test_an_error_in_r_is_one_readable_line_and_its_traceback(run: Run) -> None:
    ran = run("%%remote_exec --runtime R\nf <- function() stop('no data')\nf()")
    assert isinstance(ran.error, RemoteExecutionError)
    assert str(ran.error) == "Error in f() in session 'default in R': no data"
    assert any("f()" in line for line in ran.error.remote_traceback)


def test_python_that_meets_a_session_in_r_is_hinted_at(run: Run) -> None:
    run("%remote_exec --runtime R x <- 1").result.raise_error()
    python = run("%%remote_exec\nimport json")
    assert isinstance(python.error, RemoteExecutionError)
    assert "--runtime Python" in python.error.hint
    broken = run("%%remote_exec\nx <- function( {")
    assert isinstance(broken.error, RemoteExecutionError)
    assert broken.error.hint == ""


def test_python_is_published_beside_a_session_in_r(run: Run) -> None:
    run("%remote_exec --runtime R k <- 1").result.raise_error()
    run("def twice(a: float) -> float:\n    return a * 2").result.raise_error()
    assert run("%publish -f twice").value.runtime_type == "Python"
    assert run("%consume twice a=2").value.answer == 4
    hint = "This is published in R, as session 'default in R' is. For Python say --runtime Python."
    told = run("%%publish Either -i a:numeric -o b:numeric\nb = a * 2").stdout
    assert told.splitlines()[0] == hint
    told = run("%%publish Assigned -i a:numeric -o b:numeric\nb <- a + k").stdout
    assert "For Python" not in told


def test_a_variable_of_the_notebook_that_r_lacks_is_hinted_at(
    run: Run, on_server: InteractiveShell
) -> None:
    on_server.user_ns["my_cars"] = CARS
    ran = run("%remote_exec --runtime R nrow(my_cars)")
    assert isinstance(ran.error, RemoteExecutionError)
    assert "-i my_cars" in ran.error.hint


def test_values_are_shown_as_r_shows_them(run: Run) -> None:
    ran = run("%%remote_exec --runtime R\ndata.frame(a = 1:2)")
    assert "<table" in ran.displays[0]["text/html"]
    assert run("%%remote_exec\nplot(1:3)").displays[0]["image/png"]


def test_objects_travel_as_json_and_what_cannot_says_so(
    run: Run, on_server: InteractiveShell
) -> None:
    run("%mlsvc session new models --runtime R").result.raise_error()
    on_server.user_ns.update(cars=CARS, names=["a", "b"], grid=[[1, 2], [3, 4]], odd=1j)
    run("%mlsvc put cars, names, grid").result.raise_error()
    assert run("%remote_exec cat(class(cars), class(names), dim(grid))").stdout == (
        "data.frame character 2 2"
    )
    del on_server.user_ns["cars"]
    run("%mlsvc get cars").result.raise_error()
    pandas.testing.assert_frame_equal(on_server.user_ns["cars"].astype(float), CARS)
    run("%remote_exec fit <- lm(mpg ~ wt, cars)").result.raise_error()
    refused = run("%mlsvc get fit").error
    assert isinstance(refused, MlsvcError)
    assert "'lm'" in str(refused)
    assert 'saveRDS(fit, "fit.rds")' in str(refused)
    assert "There is no 'nothing'" in str(run("%mlsvc get nothing").error)
    assert "odd" in str(run("%mlsvc put odd").error)
    assert "Python sessions only" in str(run("%mlsvc diff").error)


def test_a_service_runs_the_language_of_its_session(run: Run, on_server: InteractiveShell) -> None:
    on_server.user_ns["cars"] = CARS
    run("%remote_exec --runtime R -i cars fit <- lm(mpg ~ wt, cars)").result.raise_error()
    ran = run(
        "%%publish Cars V1.0 -i new.cars:data.frame -o mpg:vector\n"
        "mpg <- round(predict(fit, new.cars), 2)"
    )
    assert (ran.value.runtime_type, ran.stderr) == ("R", "")
    service = run("%mlsvc service Cars V1.0").value
    assert service(**{"new.cars": CARS}).mpg == [27.17, 21.67, 16.17]
    assert run("%consume Cars V1.0 new.cars=cars").value.mpg == [27.17, 21.67, 16.17]
    updated = run("%mlsvc update Cars V1.0 --description 'in R'").value
    assert (updated.runtime_type, updated.description) == ("R", "in R")
    broken = run("%publish Cars V2.0 -o y:numeric y <- (1")
    assert isinstance(broken.error, BadRequest)
    assert "syntax error in line 1" in str(broken.error)


def test_a_snapshot_tells_the_language(run: Run) -> None:
    run("%remote_exec --runtime R x <- 42").result.raise_error()
    run("%mlsvc snapshot answer").value  # noqa: B018
    started = run("%mlsvc session new other --snapshot answer")
    assert started.stdout.startswith("Started session 'other' (R).\n")
    assert started.value.runtime_type == "R"
    published = run("%publish Answer 1 --snapshot answer -o y:numeric y <- x")
    assert published.value().y == 42
    plain = run("%publish Plain 1 --runtime R -o y:numeric y <- sum(1:3)")
    assert plain.value().y == 6


def test_a_session_of_another_language_is_not_taken(run: Run, connection: MlsvcConnection) -> None:
    run("%remote_exec --session mine x = 1").result.raise_error()
    refused = run("%remote_exec --session mine --runtime R x").error
    assert str(refused) == ("Session 'mine' runs Python. Give another name for one that runs R.")
    assert connection.current is not None
    assert connection.current.runtime_type == "Python"


def test_the_client_speaks_r(run: Run, connection: MlsvcConnection) -> None:
    with connection.client.sessions.create(runtime_type="R") as session:
        result = session.execute(
            "df$c <- df$a * 2", {"df": pandas.DataFrame({"a": [1, 2]})}, ["df"]
        )
        assert result.outputs["df"].c.tolist() == [2, 4]
        session.put_object("v", [1, 2, 3])
        assert session.get_object("v") == [1, 2, 3]
        assert set(session.list_objects()) == {"df", "v"}
