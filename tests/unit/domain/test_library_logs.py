"""What libraries say of themselves is not for people who make videos."""

import logging

import pytest

from framepack.domain.library_logs import hush_libraries


def test_their_warnings_are_not_shown_and_their_errors_are(
    caplog: pytest.LogCaptureFixture,
) -> None:
    chatty = logging.getLogger("torchao")
    level = chatty.level
    try:
        hush_libraries()
        chatty.warning("a kernel for another device")
        chatty.error("broken")
        assert [record.getMessage() for record in caplog.records] == ["broken"]
        chatty.setLevel(logging.CRITICAL)
        hush_libraries()
        assert chatty.level == logging.CRITICAL
    finally:
        chatty.setLevel(level)
