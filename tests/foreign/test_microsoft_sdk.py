"""Microsoft's azureml-model-management-sdk, unchanged, does its documented job."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from jupyter_mlsvc_server.launch import ServerProcess
from tests.foreign.conftest import ROOT, Job
from tests.foreign.environment import variables

# The first test also installs the SDK.
pytestmark = [pytest.mark.kernel, pytest.mark.external, pytest.mark.slow, pytest.mark.timeout(400)]


def test_a_function_with_a_model_objects_files_and_an_alias_is_deployed_and_consumed(
    sdk: Job,
) -> None:
    sdk("a_model_in_a_function")


def test_a_plain_call_deploys_as_well(sdk: Job) -> None:
    sdk("a_plain_call")


def test_code_and_init_code_as_text_share_a_namespace(sdk: Job) -> None:
    sdk("code_as_text")


def test_a_service_without_a_version_gets_a_guid_and_the_newest_is_found(sdk: Job) -> None:
    sdk("no_version")


def test_a_service_may_have_many_inputs(sdk: Job) -> None:
    sdk("many_inputs")


def test_an_error_in_the_code_of_a_service_reaches_the_caller(sdk: Job) -> None:
    sdk("failing_code")


def test_a_service_tells_its_capabilities_and_its_document(sdk: Job) -> None:
    sdk("what_a_service_can_do")


@pytest.mark.parametrize("job", ["every_type_by_class", "every_type_by_name"])
def test_values_of_every_type_go_and_come_back(sdk: Job, job: str) -> None:
    sdk(job)


def test_missing_values_go_and_come_back(sdk: Job) -> None:
    sdk("missing_values")


def test_a_number_that_is_none_is_a_gap_in_a_column(sdk: Job) -> None:
    sdk("nan_in_a_column")


def test_a_service_is_found_by_version_and_the_newest_without_one(sdk: Job) -> None:
    sdk("find_a_service")


def test_services_are_listed(sdk: Job) -> None:
    sdk("list_services")


def test_redeploying_changes_what_is_given_and_keeps_the_rest(sdk: Job) -> None:
    sdk("change_a_service")


def test_a_deleted_version_is_gone_and_the_others_stay(sdk: Job) -> None:
    sdk("delete_a_service")


def test_deploying_leaves_no_session_and_no_snapshot_behind(sdk: Job) -> None:
    sdk("leave_nothing_behind")


def test_code_with_a_mistake_is_refused_with_its_name(sdk: Job) -> None:
    sdk("bad_syntax")


def test_a_realtime_service_is_deployed_consumed_changed_and_deleted(sdk: Job) -> None:
    sdk("a_realtime_service")


def test_a_realtime_service_without_a_version_gets_a_guid(sdk: Job) -> None:
    sdk("a_realtime_service_without_a_version")


def test_bytes_that_are_no_model_are_refused(sdk: Job) -> None:
    sdk("bytes_that_are_no_model")


def test_a_batch_is_started_polled_and_read_with_its_files(sdk: Job) -> None:
    sdk("results_of_a_batch")


def test_the_records_of_a_batch_come_as_a_list_or_as_columns(sdk: Job) -> None:
    sdk("records_in_other_forms")


def test_a_running_batch_shows_partial_results_and_is_cancelled(sdk: Job) -> None:
    sdk("a_batch_that_is_cancelled")


def test_a_record_that_fails_does_not_stop_a_batch(sdk: Job) -> None:
    sdk("a_record_that_fails")


@pytest.mark.parametrize(
    "job",
    [
        "a_model_in_a_function",
        "no_version",
        "what_a_service_can_do",
        "find_a_service",
        "list_services",
        "change_a_service",
        "delete_a_service",
        "a_realtime_service",
        "results_of_a_batch",
    ],
)
def test_everything_works_under_a_path_prefix_with_a_token(sdk_with_prefix: Job, job: str) -> None:
    sdk_with_prefix(job)


def test_a_script_takes_its_own_classes_and_functions_along(
    sdk_python: Path, mlsvc_server: ServerProcess, mlsvc_admin_token: str
) -> None:
    done = subprocess.run(
        [str(sdk_python), "-m", "tests.foreign.sdk.script", mlsvc_server.public_url, "script"],
        cwd=ROOT,
        env=variables(SDK_TEST_TOKEN=mlsvc_admin_token),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["101.67 ", "True"]
