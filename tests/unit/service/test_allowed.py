"""What a request from elsewhere may have ffmpeg do: nothing with files, nothing without an end."""

import subprocess
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import pytest

from framepack.domain.errors import InvalidRequest
from framepack.domain.request import GenerationRequest
from framepack.media.codecs import check_format, parse_options, video_format
from framepack.media.filters import check_filters
from framepack.service.allowed import CODEC_OPTIONS, FILTERS, check_ffmpeg


def asked(**fields: object) -> GenerationRequest:
    return GenerationRequest.parse(prompt="a", **fields)


GOOD = [
    "eq=contrast=1.1:saturation=1.2",
    "hue=s=0.8,unsharp=5:5:0.5",
    "curves=preset=vintage",
    "curves=master='0/0 0.5/0.58 1/1'",
    "scale=96:-2",
    "scale=w=iw:h=ih:flags=lanczos",
    "pad=128:128:4:4",
    "crop=64:64",
    "rotate=angle=0.1",
    "selectivecolor=reds=0.1 0 0 0",
    "vignette=PI/4",
    "fade=in:0:5",
    "drawbox=x=1:y=1:w=10:h=10:color=red@0.5",
    "noise=alls=10:allf=t",
    "hflip,vflip,negate",
    "colorbalance=rs=.1",
    "setsar=1",
]


@pytest.mark.parametrize("text", GOOD)
def test_ordinary_filters_are_run(text: str) -> None:
    check_ffmpeg(asked(filters=[text]))
    width, height = check_filters([text], width=96, height=96, fps=Fraction(24))
    assert min(width, height) >= 64  # ffmpeg takes them too


BAD = [
    # They read files.
    "movie=/etc/passwd",
    "movie=filename=http\\://127.0.0.1/x",
    "amovie=x.wav",
    "subtitles=x.srt",
    "subtitles=filename=/etc/passwd",
    "ass=x.ass",
    "lut3d=file=/etc/passwd",
    "lut3d=x.cube",
    "lut1d=x.cube",
    "haldclut",
    "drawtext=textfile=/etc/passwd",
    "drawtext=text=a:fontfile=/x.ttf",
    "removelogo=x.png",
    "find_rect=x.pgm",
    "cover_rect=x.png",
    "fieldhint=hint=x",
    "remap",
    "curves=psfile=x.acv",
    "selectivecolor=psfile=x.asv",
    "dnn_processing=model=x",
    "sr=model=x",
    "derain=model=x",
    "libplacebo=shader_path=x",
    "frei0r=x",
    "ladspa=file=x",
    "sendcmd=f=x.cmd",
    "zmq",
    "metadata=mode=print:file=x",
    "firequalizer=dumpfile=x",
    "vidstabtransform=input=x",
    # They write files.
    "psnr=stats_file=x.log",
    "ssim=stats_file=x.log",
    "xpsnr=f=x.log",
    "vidstabdetect=result=x",
    "curves=plot=x.gnuplot",
    "curves=preset=vintage:plot=x",
    "curves=vintage::::::::x",
    "signature=filename=x",
    "deshake=filename=x.log",
    "ebur128",
    "libvmaf=log_path=x",
    "showspectrumpic",
    # Options out of files, threads, and options of every filter.
    "hue=/h=/etc/passwd",
    "gblur=/sigma=x",
    "unsharp=threads=100000",
    "hue=s=1:enable=lt(t,1)",
    # They need not end.
    "hue=h=while(1,1)",
    "hue=h='while(1,1)'",
    "vignette=angle=while(1\\,1)",
    "geq=lum='while(1,1)'",
    "lutyuv=y=while(1,1)",
    "rotate=while(1,1)",
    "loop=-1:1",
    "reverse",
    "tpad=stop=1000000",
    # They fill the memory.
    "scale=100000:100000",
    "scale=w=9999:h=9999",
    "scale=iw*100:ih*100",
    "scale=s=100000x100000",
    "scale=9e9:9",
    "pad=99999:99999",
    "pad=width=iw*99",
    "rotate=angle=0.1:out_w=99999",
    "zoompan=s=9000x9000",
    "tile=100x100",
    # They are hidden.
    "hflip,movie=x",
    "hflip, movie=x",
    "null,curves=psfile=x",
    "HFLIP",
    "[in]hflip[out]",
    "hflip;movie=x",
    "@null",
    "null@x",
    "negate=components=y\\:/x=y",
]


@pytest.mark.parametrize("text", BAD)
def test_filters_that_reach_files_or_have_no_end_are_refused(text: str) -> None:
    with pytest.raises(InvalidRequest) as found:
        check_ffmpeg(asked(filters=[text]))
    assert "\n" not in str(found.value)


@pytest.mark.parametrize(
    "chains", [["null"] * 17, ["null,null,null,null"] * 5, ["hue=h=" + "1" * 1000]]
)
def test_there_are_not_too_many(chains: Sequence[str]) -> None:
    with pytest.raises(InvalidRequest, match="at most"):
        check_ffmpeg(asked(filters=chains))


@pytest.mark.parametrize(
    ("codec", "options"),
    [
        ("libx264", "crf:18,tune:film,preset:slow"),
        ("libx264", "aq-mode=2,psy-rd=1.0:0.15"),
        ("libsvtav1", "crf:30,preset:8"),
        ("libvpx-vp9", "deadline:good,cpu-used:4,row-mt:1"),
        ("ffv1", "level:3,slices:4"),
    ],
)
def test_ordinary_encoders_are_used(codec: str, options: str) -> None:
    check_ffmpeg(asked(codec=codec, codec_options=options))
    chosen = video_format(codec, options, None, crf=20, preset="medium")
    assert parse_options(options).items() <= chosen.options.items()
    check_format(chosen)


@pytest.mark.parametrize(
    "options",
    [
        "stats:/tmp/x",
        "passlogfile:/tmp/x",
        "x264-params:stats=x",
        "x264opts:qpfile=x",
        "x264-params=log-file=x",
        "x265-params:csv=/tmp/x",
        "x265-stats:x",
        "svtav1-params:stats=x",
        "aom-params:x=y",
        "flags:+pass1",
        "pass:1",
        "rc_eq:while(1)",
        "threads:100000",
        "thread_count:9",
        "dump_separator:x",
        "report:1",
        "movflags:x",
        "protocol_whitelist:http",
        "crf:/etc/passwd",
        "preset:../x",
        "tune:" + "a" * 100,
        "crf:1\nx",
        "/crf:/etc/passwd",
    ],
)
def test_options_that_name_files_are_refused(options: str) -> None:
    with pytest.raises(InvalidRequest, match="codec option"):
        check_ffmpeg(asked(codec_options=options))


@pytest.mark.parametrize("codec", ["h264_v4l2m2m", "wrapped_avframe", "a64multi", "/x", "libx264 "])
def test_encoders_that_nobody_needs_are_refused(codec: str) -> None:
    with pytest.raises(InvalidRequest, match="codec"):
        check_ffmpeg(asked(codec=codec))


def test_no_allowed_filter_has_an_option_that_names_a_file() -> None:
    """As ffmpeg lists them: every option of text, but for those that are no files."""
    harmless = set(
        "master m red r green g blue b all x y width w height h color c thickness t box_source "
        "H s contrast brightness saturation gamma gamma_r gamma_g gamma_b gamma_weight angle a "
        "out_w ow out_h oh fillcolor flags size dar ratio sar x0 y0 reds yellows greens cyans "
        "blues magentas whites neutrals blacks".split()
    )
    for name, allowed in FILTERS.items():
        texts = _text_options(name)
        if allowed is not None:
            texts &= allowed
        assert texts <= harmless, name


def _text_options(name: str) -> set[str]:
    imageio_ffmpeg = pytest.importorskip("imageio_ffmpeg")
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-h", f"filter={name}"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return {line.split()[0] for line in listed.splitlines() if "<string>" in line}


def test_what_is_allowed_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for text in GOOD:
        check_filters([text], width=64, height=64, fps=Fraction(24))

    assert list(tmp_path.glob("**/*.*")) == list(tmp_path.glob("framepack-settings.toml"))
    assert not {"stats", "passlogfile", "flags", "x264-params", "pass"} & CODEC_OPTIONS
