"""An output is checked before work, and written whole or not at all."""

import os
import sys

import numpy as np
import pytest

from framepack.domain.errors import InvalidRequest, WorkspaceError
from framepack.media.files import atomic_file, check_output_writable, open_video, partial_path
from framepack.media.segments import SegmentWriter


def test_writable_output_passes_and_leaves_nothing(folder):
    before = folder.stat().st_mtime_ns
    check_output_writable(folder / "out.mp4")
    check_output_writable(folder / "OUT.MP4")
    check_output_writable(folder / "new" / "folders" / "out.mp4")
    assert list(folder.iterdir()) == []
    if sys.platform == "linux":
        assert folder.stat().st_mtime_ns == before


def test_existing_file_may_be_replaced(folder):
    (folder / "out.mp4").write_bytes(b"old")
    check_output_writable(folder / "out.mp4")
    assert (folder / "out.mp4").read_bytes() == b"old"


def test_relative_output_passes(folder, monkeypatch):
    monkeypatch.chdir(folder)
    check_output_writable("out.mp4")
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("name", ["out.avi", "out", "out.", ".mp4", "", "out.mp4.txt"])
def test_other_suffix_is_refused(folder, name):
    with pytest.raises(
        InvalidRequest, match=r"\.mp4, \.mkv, \.mov, \.webm, \.gif or \.webp is needed"
    ):
        check_output_writable(folder / "folder" / name if name else "")


def test_folder_is_no_output(folder):
    (folder / "out.mp4").mkdir()
    with pytest.raises(InvalidRequest, match="is no file"):
        check_output_writable(folder / "out.mp4")


def test_file_is_no_folder(folder):
    (folder / "file").write_text("x")
    for path in (folder / "file" / "out.mp4", folder / "file" / "deeper" / "out.mp4"):
        with pytest.raises(InvalidRequest, match="cannot be written"):
            check_output_writable(path)


@pytest.mark.parametrize("name", ["x" * 300 + ".mp4", "x\0y.mp4"])
def test_impossible_name_is_refused(folder, name):
    with pytest.raises(InvalidRequest, match="cannot be written"):
        check_output_writable(folder / name)


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs a folder nobody may write")  # noqa: PTH112
def test_folder_that_takes_no_files_is_refused():
    for path in ("/proc/out.mp4", "/proc/new/out.mp4"):
        with pytest.raises(InvalidRequest, match="cannot be written"):
            check_output_writable(path)


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root may write anywhere")
def test_protected_output_is_refused(folder):
    (folder / "out.mp4").write_bytes(b"")
    (folder / "out.mp4").chmod(0o400)
    with pytest.raises(InvalidRequest, match="write-protected"):
        check_output_writable(folder / "out.mp4")


def test_file_appears_when_the_block_ends(folder):
    target = folder / "new" / "file.txt"
    with atomic_file(target) as temporary:
        temporary.write_text("whole")
        assert not target.exists()
    assert target.read_text() == "whole"
    assert list(target.parent.iterdir()) == [target]


def test_failing_block_keeps_the_old_file(folder):
    target = folder / "file.txt"
    target.write_text("old")

    def write():
        with atomic_file(target) as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write()
    assert target.read_text() == "old"
    assert list(folder.iterdir()) == [target]


def test_refusing_file_system_is_one_clear_error(folder):
    (folder / "file").write_text("x")
    with (
        pytest.raises(WorkspaceError, match=r"cannot write .*choose another folder"),
        atomic_file(folder / "file" / "out.txt"),
    ):
        pass


def test_partial_name_fits_where_the_target_does(folder):
    for name in ("a.mp4", "x" * 251 + ".mp4", "🙂" * 62 + ".mp4"):
        partial = partial_path(folder / name)
        assert len(os.fsencode(partial.name)) <= 175
        assert partial.parent == folder
    assert partial_path("x" * 99 + "1.mp4") != partial_path("x" * 99 + "2.mp4")


@pytest.mark.parametrize(
    "text",
    [
        "ffconcat version 1.0\nfile other.mp4\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:1,\nother.mp4\n#EXT-X-ENDLIST\n",
        "#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/other.mp4\n#EXT-X-ENDLIST\n",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nm=video 9 RTP/AVP 96\n",
    ],
)
def test_a_list_of_other_files_is_no_video(folder, text):
    with SegmentWriter(folder / "other.mp4", fps=24, width=32, height=32) as writer:
        writer.write(np.full((4, 32, 32, 3), 200, np.uint8))
    path = folder / "list.mp4"
    path.write_text(text)

    with pytest.raises(InvalidRequest, match="cannot be read as a video"), open_video(path):
        pass
