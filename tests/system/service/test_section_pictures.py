"""Pictures of sections: there as soon as a section is rendered, of that section, and small."""

import io
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image
from tests.helpers.runs import frames_of
from tests.helpers.watching import NUM_SECTIONS, Server, served

from framepack.pipeline.components import Components
from framepack.service.section_pictures import MAX_SIDE


@pytest.fixture(scope="module")
def server(components: Components, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with served(tmp_path_factory.mktemp("served"), components) as found:
        yield found


@pytest.mark.parametrize("variant", ["forward-only", "bi-directional"])
def test_each_section_is_shown_once_it_is_rendered(server: Server, variant: str) -> None:
    job_id = server.submit(variant=variant)
    order = range(NUM_SECTIONS) if variant == "forward-only" else range(NUM_SECTIONS)[::-1]
    for done in range(1, NUM_SECTIONS + 1):
        server.render_section(job_id)
        there = [each for each in order if _status(server, job_id, each) == 200]
        assert there == list(order)[:done]
    server.finish(job_id)
    frames = frames_of(server.video(job_id)).astype(float)
    sections = server.service.store.get(job_id).plan["sections"]
    for each in sections:
        answer = server.get(job_id, f"sections/{each['index']}/picture")
        assert answer.headers["content-type"] == "image/webp"
        with Image.open(io.BytesIO(answer.content)) as picture:
            assert max(picture.size) <= MAX_SIDE
            shown = np.asarray(picture.convert("RGB")).astype(float)
        off = np.abs(frames - shown).mean(axis=(1, 2, 3))
        middle = (each["start_frame"] + min(each["end_frame"], len(frames))) // 2
        assert off[middle] == off.min() or off[middle] < 4
        tag = {"If-None-Match": answer.headers["etag"]}
        again = server.get(job_id, f"sections/{each['index']}/picture", headers=tag)
        assert again.status_code == 304
    answer = server.get(job_id, f"sections/{NUM_SECTIONS}/picture")
    assert answer.status_code == 404
    assert "sections 0 to 3" in answer.json()["error"]["message"]


def _status(server: Server, job_id: str, section: int) -> int:
    return server.get(job_id, f"sections/{section}/picture").status_code
