"""Every field is in one group, and a form learns of it what the field itself says."""

from framepack.domain.forms import form_field
from framepack.domain.groups import COMMON, GROUPS
from framepack.domain.request import GenerationRequest
from framepack.domain.settings import Settings


def test_each_field_is_in_one_group() -> None:
    names = [name for group in GROUPS for name in group.names]
    assert sorted(names) == sorted(GenerationRequest.model_fields)
    assert len({group.id for group in GROUPS}) == len(GROUPS)
    assert set(COMMON) <= set(names)


def field(name: str) -> dict[str, object]:
    found: dict[str, object] = form_field(name, GenerationRequest.model_fields[name])
    return found


def test_a_number_has_its_limits_and_what_none_stands_for() -> None:
    steps = field("num_inference_steps")
    assert (steps["kind"], steps["min"], steps["max"], steps["step"]) == ("integer", 1, 200, 1)
    assert (steps["default"], steps["unset"]) == (None, "the model's own")
    assert steps["help"] == "Denoising steps per section."
    assert (field("duration_s")["min"], field("duration_s")["exclusive_min"]) == (0, True)
    assert field("width")["step"] == 16


def test_kinds_follow_from_the_types() -> None:
    kinds = {name: field(name)["kind"] for name in GenerationRequest.model_fields}
    assert (kinds["prompt"], kinds["codec"], kinds["image"]) == ("longtext", "text", "file")
    assert (kinds["section_prompts"], kinds["loras"], kinds["filters"]) == (
        "sections",
        "loras",
        "list",
    )
    assert (kinds["loop"], kinds["shift"], kinds["enhanced_prompts"]) == (
        "boolean",
        "number",
        "json",
    )
    assert field("solver")["choices"] == ["unipc", "euler"]


def test_a_field_with_a_plain_description_is_shown_as_well() -> None:
    found = form_field("device", Settings.model_fields["device"])
    assert (found["title"], found["kind"], found["default"]) == ("Device", "text", "auto")
    assert found["help"].startswith("auto, cpu, mps")
