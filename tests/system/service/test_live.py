"""Watching videos while they render: at every moment exactly what is there, and in the end all."""

import io
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import httpx2
import numpy as np
import pytest
from PIL import Image
from tests.helpers.runs import SECTION_FRAMES, SMALL, frames_of, seconds
from tests.helpers.watching import (
    NUM_FRAMES,
    NUM_SECTIONS,
    Playlist,
    Server,
    at_24,
    decoded,
    input_of,
    played,
    playlist_of,
    served,
    wait,
)

from framepack.media.video import probe
from framepack.pipeline.components import Components
from framepack.service import live_files


@pytest.fixture(scope="module")
def server(components: Components, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with served(tmp_path_factory.mktemp("served"), components) as found:
        yield found


def test_a_forward_video_is_watched_from_its_first_section_on(
    server: Server, tmp_path: Path
) -> None:
    job_id = server.submit(variant="forward-only")
    received = io.BytesIO()

    def watch() -> None:
        url = f"{server.address}/v1/videos/{job_id}/stream"
        with httpx2.stream("GET", url, timeout=60) as response:
            assert response.headers["content-type"] == "video/mp4"
            for data in response.iter_bytes():
                received.write(data)

    watcher = threading.Thread(target=watch)
    watcher.start()
    before = playlist_of(server, job_id)
    assert not before.parts
    assert not before.is_over

    moments: list[tuple[Playlist, bytes, bytes]] = []
    for section in range(NUM_SECTIONS):
        server.render_section(job_id)
        playlist = playlist_of(server, job_id)
        data = played(server, job_id, playlist)
        newest = server.get(job_id, f"stream/{playlist.parts[-1]}").content
        wait(partial(_has, received, newest))  # the file grows as the playlist does
        moments.append((playlist, data, received.getvalue()))
        assert playlist.is_over == (section == NUM_SECTIONS - 1)
    server.finish(job_id)
    watcher.join(30)
    assert not watcher.is_alive()

    whole = frames_of(server.video(job_id))
    assert len(whole) == NUM_FRAMES
    for playlist, *files in moments:
        num_frames = round(sum(playlist.durations_s) * 24)
        for data in files:
            frames, times = decoded(data, tmp_path)
            np.testing.assert_array_equal(frames, whole[:num_frames])
            assert times == at_24(num_frames)
    frames, times = decoded(received.getvalue(), tmp_path)
    np.testing.assert_array_equal(frames, whole)
    assert times == at_24(NUM_FRAMES)


def test_the_hls_reader_of_ffmpeg_follows_to_the_end(server: Server) -> None:
    job_id = server.submit(variant="forward-only")
    server.render_section(job_id)
    server.render_section(job_id)
    url = f"{server.address}/v1/videos/{job_id}/stream/playlist.m3u8"
    times: list[Fraction] = []

    def watch() -> None:
        with av.open(url, options={"live_start_index": "0"}) as container:
            stream = container.streams.video[0]
            times.extend(frame.pts * stream.time_base for frame in container.decode(stream))

    watcher = threading.Thread(target=watch)
    watcher.start()
    server.finish(job_id)
    watcher.join(60)
    assert not watcher.is_alive()
    assert [time - times[0] for time in times] == pytest.approx(
        [index / 24 for index in range(NUM_FRAMES)], abs=1e-3
    )


def _has(received: io.BytesIO, part: bytes) -> bool:
    return part in received.getvalue()


def test_a_forward_playlist_only_grows_at_its_end(server: Server) -> None:
    job_id = server.submit(variant="forward-only")
    texts = [playlist_of(server, job_id).text]
    for _ in range(NUM_SECTIONS):
        server.render_section(job_id)
        texts.append(playlist_of(server, job_id).text)
    server.finish(job_id)
    texts.append(playlist_of(server, job_id).text)
    lists = [Playlist(text) for text in texts]
    assert {found.value("PLAYLIST-TYPE") for found in lists} == {"EVENT"}
    assert len({found.value("TARGETDURATION") for found in lists}) == 1
    assert len({found.value("MEDIA-SEQUENCE") for found in lists}) == 1
    for before, after in pairwise(texts[1:]):  # the first has no part yet
        assert after.startswith(before.removesuffix("#EXT-X-ENDLIST\n"))
    assert [len(found.parts) for found in lists] == [0, 1, 2, 3, 4, 4]
    target = int(lists[0].value("TARGETDURATION"))
    assert all(duration <= target for found in lists for duration in found.durations_s)


def test_a_bi_directional_video_is_watched_while_it_grows_toward_its_start(
    server: Server, tmp_path: Path
) -> None:
    job_id = server.submit()
    early = server.get(job_id, "stream")
    assert early.status_code == 404
    assert early.json()["error"]["code"] == "not_found"

    moments, tags, revisions, numbers = [], [], [], []
    server.render_section(job_id)  # all of its frames can still change
    assert not playlist_of(server, job_id).parts
    for _ in range(NUM_SECTIONS - 1):
        server.render_section(job_id)
        response = server.get(job_id, "stream/playlist.m3u8")
        playlist = Playlist(response.text)
        tags.append(response.headers["etag"])
        revisions.append(int(response.headers["framepack-revision"]))
        numbers.append(int(playlist.value("MEDIA-SEQUENCE")))
        unchanged = server.get(job_id, "stream/playlist.m3u8", headers={"If-None-Match": tags[-1]})
        assert unchanged.status_code == 304
        assert playlist.is_over  # each revision is whole
        assert playlist.value("PLAYLIST-TYPE") == "VOD"
        file = server.get(job_id, "stream")
        assert int(file.headers["content-length"]) == len(file.content)
        moments.append((playlist, played(server, job_id, playlist), file.content))
    server.finish(job_id)

    assert revisions == [1, 2, 3]
    assert numbers == [2, 1, 0]  # a part keeps its number
    assert len(set(tags)) == 3
    whole = frames_of(server.video(job_id))
    for revision, (playlist, *files) in enumerate(moments, start=1):
        assert playlist.parts[-revision:] == moments[-1][0].parts[-revision:]
        num_frames = round(sum(playlist.durations_s) * 24)
        for data in files:
            frames, times = decoded(data, tmp_path)
            np.testing.assert_array_equal(frames, whole[-num_frames:])
            assert times == at_24(num_frames)
        again = server.get(job_id, "stream/playlist.m3u8", params={"revision": revision})
        assert Playlist(again.text).parts == playlist.parts
    assert num_frames == NUM_FRAMES
    assert server.get(job_id, "stream/run.m3u8", params={"revision": 9}).status_code == 404


def test_parts_of_a_growing_video_have_their_times_in_the_whole(server: Server) -> None:
    """So a page can put them where they belong, and nothing it shows moves."""
    job_id = server.submit()
    server.finish(job_id)
    first = 0
    playlist = playlist_of(server, job_id)
    for name, duration in zip(playlist.parts, playlist.durations_s, strict=True):
        data = server.get(job_id, f"stream/{name}").content
        place = data.index(b"tfdt") + 8
        ticks = int.from_bytes(data[place : place + 8])
        assert ticks == first * 42  # 1008 ticks a second: 42 for one of 24 frames
        first += round(duration * 24)
    assert first == NUM_FRAMES


def test_a_run_that_waits_in_lossless_files_is_encoded_to_be_watched(
    server: Server, tmp_path: Path
) -> None:
    job_id = server.submit(
        variant="forward-only", interpolate=2, fps=48, duration_s=(2 * NUM_FRAMES - 4) / 48
    )
    server.render_section(job_id)
    server.render_section(job_id)

    master = server.get(job_id, "stream/playlist.m3u8").text
    assert "#EXT-X-STREAM-INF" in master
    assert master.endswith("\nrun.m3u8\n")
    playlist = playlist_of(server, job_id, "run")
    frames, times = decoded(played(server, job_id, playlist), tmp_path)

    run = server.service.data.job(job_id).run / "segments"
    rendered = np.concatenate([frames_of(path) for path in sorted(run.glob("*.mkv"))])
    assert frames.shape == rendered.shape
    assert times == at_24(len(rendered))
    error = np.mean((frames.astype(float) - rendered) ** 2)
    assert 10 * np.log10(255**2 / error) > 30

    server.finish(job_id)
    final = playlist_of(server, job_id)  # now the finished video, with every frame it has
    assert final.is_over
    data = played(server, job_id, final)
    np.testing.assert_array_equal(decoded(data, tmp_path)[0], frames_of(server.video(job_id)))
    assert server.get(job_id, "stream").content == server.video(job_id).read_bytes()
    assert playlist_of(server, job_id, "run").parts[:2] == playlist.parts  # for who began with it


def test_a_finished_video_of_another_codec_is_encoded_to_be_watched(
    server: Server, tmp_path: Path
) -> None:
    job_id = server.submit(codec="libx265", container="mkv")
    server.finish(job_id)
    final = probe(server.video(job_id))
    assert final.codec == "hevc"
    whole = frames_of(server.video(job_id))
    playlist = playlist_of(server, job_id)
    for data in (played(server, job_id, playlist), server.get(job_id, "stream").content):
        frames, times = decoded(data, tmp_path)
        assert probe(tmp_path / "received.mp4").codec == "h264"
        assert frames.shape == whole.shape
        assert times == at_24(len(whole))
        error = np.mean((frames.astype(float) - whole) ** 2)
        assert 10 * np.log10(255**2 / error) > 30


def test_what_goes_on_from_a_video_begins_with_it(server: Server, tmp_path: Path) -> None:
    first = server.submit(variant="forward-only", duration_s=seconds(SECTION_FRAMES))
    server.finish(first)
    video = server.video(first)
    job_id = server.submit(
        variant="forward-only", inputs=input_of("extend", video), duration_s=seconds(24)
    )
    server.render_section(job_id)
    playlist = playlist_of(server, job_id)
    data = played(server, job_id, playlist)
    server.finish(job_id)
    whole = frames_of(server.video(job_id))
    frames, times = decoded(data, tmp_path)
    assert 0 < len(frames) < len(whole)
    np.testing.assert_array_equal(frames, whole[: len(frames)])
    assert times == at_24(len(frames))
    data = played(server, job_id, playlist_of(server, job_id))
    np.testing.assert_array_equal(decoded(data, tmp_path)[0], whole)


def test_a_part_is_made_once_however_many_watch(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = server.submit(variant="forward-only")
    server.render_section(job_id)
    made: list[str] = []
    real = live_files.write_piece

    def counted(folder: Any, edition: Any, piece: Any, **options: Any) -> None:
        made.append(piece.path.name)
        time.sleep(0.3)
        real(folder, edition, piece, **options)

    monkeypatch.setattr("framepack.service.live.write_piece", counted)
    (name,) = playlist_of(server, job_id).parts
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda _: server.get(job_id, f"stream/{name}").content, range(16)))
    assert len(set(found)) == 1
    assert server.get(job_id, f"stream/{name}").content == found[0]
    assert len(made) == 1
    server.finish(job_id)


def test_a_cancelled_video_ends_with_what_there_is(server: Server, tmp_path: Path) -> None:
    job_id = server.submit(variant="forward-only")
    server.render_section(job_id)
    assert not playlist_of(server, job_id).is_over
    with ThreadPoolExecutor(1) as pool:
        watched = pool.submit(server.get, job_id, "stream")
        server.service.store.cancel(job_id)
        wait(lambda: server.job(job_id).state == "cancelled")
        data = watched.result(30).content
    playlist = playlist_of(server, job_id)
    assert playlist.is_over
    frames, _ = decoded(data, tmp_path)
    assert len(frames) == round(sum(playlist.durations_s) * 24) > 0


def test_files_go_with_the_job(server: Server) -> None:
    job_id = server.submit()
    server.finish(job_id)
    playlist = playlist_of(server, job_id)
    played(server, job_id, playlist)
    folder = server.service.data.job(job_id)
    assert len(list(folder.live.glob("*.m4s"))) == len(playlist.parts)
    assert not list(folder.live.glob(".*"))  # no half files
    server.service.delete(job_id)
    assert not folder.path.exists()
    for name in (playlist.init, playlist.parts[0], "playlist.m3u8", "run.m3u8"):
        assert server.get(job_id, f"stream/{name}").status_code == 404
    assert server.get(job_id, "preview").status_code == 404
    assert not folder.path.exists()


@pytest.mark.parametrize(
    "name", ["part.m4s", "run-000000-00000000-0.m4s", "..%2frun.json", "%2e%2e%2f%2e%2e%2frun"]
)
def test_only_parts_are_served(server: Server, name: str) -> None:
    if not server.jobs:
        server.finish(server.submit())
    job_id = next(id_ for id_ in server.jobs if server.service.data.job(id_).path.exists())
    assert server.get(job_id, f"stream/{name}").status_code == 404


def test_a_preview_moves_and_is_small(server: Server) -> None:
    job_id = server.submit()
    assert server.get(job_id, "preview").status_code == 404
    server.render_section(job_id)
    response = server.get(job_id, "preview")
    assert response.headers["content-type"] == "image/webp"
    assert len(response.content) <= 6000
    with Image.open(io.BytesIO(response.content)) as picture:
        assert picture.n_frames == SMALL["latent_window_size"]
    again = server.get(job_id, "preview", headers={"If-None-Match": response.headers["etag"]})
    assert again.status_code == 304
    server.finish(job_id)


def test_a_finished_video_has_a_spritesheet(server: Server) -> None:
    job_id = server.submit()
    assert server.get(job_id, "spritesheet.json").status_code == 409
    server.finish(job_id)
    values = server.get(job_id, "spritesheet.json").json()
    assert (values["width"], values["height"]) == (64, 64)
    assert len(values["times_s"]) == 9  # two seconds and a frame, four tiles for each
    text = server.get(job_id, "spritesheet.vtt").text
    assert text.startswith("WEBVTT\n\n00:00:00.000 --> ")
    assert text.count("content?variant=spritesheet#xywh=") == 9
    sheet = server.get(job_id, "content", params={"variant": "spritesheet"})
    with Image.open(io.BytesIO(sheet.content)) as picture:
        assert picture.size == (values["columns"] * 64, values["rows"] * 64)


def test_signed_links_lead_to_every_part(components: Components, tmp_path: Path) -> None:
    with served(tmp_path, components) as server:
        key, secret = server.service.keys.create("mine")
        _, other = server.service.keys.create("another")
        job_id = server.submit(variant="forward-only", owner=key.id)
        server.render_section(job_id)
        url = f"/v1/videos/{job_id}/stream/links"
        assert server.client.post(url).status_code == 401
        assert server.client.post(url, headers=_bearer(other)).status_code == 404
        links = server.client.post(url, headers=_bearer(secret)).json()
        assert 0 < links["expires_at"] - time.time() <= 24 * 3600

        first = server.client.get(links["playlist"])
        assert first.status_code == 200
        playlist = Playlist(first.text)
        for name in (playlist.init, *playlist.parts):
            assert server.get(job_id, f"stream/{name}").status_code == 200
            assert server.get(job_id, f"stream/{name.partition('?')[0]}").status_code == 401
        time.sleep(1.1)
        assert server.client.get(links["playlist"]).text == first.text  # the same addresses
        server.finish(job_id)
        assert server.client.get(links["stream"]).content == server.video(job_id).read_bytes()
        assert server.get(job_id, "stream").status_code == 401


def _bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def test_streaming_imports_no_torch() -> None:
    code = "import sys, framepack.service.http.live; print('torch' in sys.modules)"
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert found.strip() == "False"
