"""The documentation says what the code says: names that it uses exist, and generated files are up to date."""

import re
from pathlib import Path

import pytest
import typer

from provisioning_pipeline import __version__
from provisioning_pipeline.cli import reference, settings_schema
from provisioning_pipeline.cli.main import app
from provisioning_pipeline.model.condition import Reason
from provisioning_pipeline.model.reasons import BY_CONDITION, meaning, next_step
from provisioning_pipeline.settings import PREFIX, Settings

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
DOCS = [
    README,
    ROOT / "client" / "README.md",
    *(ROOT / f"{name}.md" for name in ("CHANGELOG", "CONTRIBUTING", "SECURITY")),
    *sorted((ROOT / "docs").glob("*.md")),
]
EVERY_DOC = pytest.mark.parametrize("doc", DOCS, ids=lambda doc: str(doc.relative_to(ROOT)))

THE_THREE_COMMANDS = [
    "python3 -m venv .venv && .venv/bin/pip install -c constraints.txt -e '.[dev]' && .venv/bin/provisioning demo",
    ".venv/bin/pytest",
    "docker compose --profile sandbox up",
]


@pytest.mark.parametrize(
    ("path", "render"),
    [
        (reference.CONFIGURATION, reference.configuration),
        (reference.ENV_EXAMPLE, reference.env_example),
        (reference.TROUBLESHOOTING, reference.troubleshooting),
        (reference.SETTINGS_SCHEMA, settings_schema.rendered),
    ],
    ids=["configuration.md", ".env.example", "troubleshooting.md", "settings.schema.json"],
)
def test_a_generated_file_is_up_to_date(path, render):
    assert path.read_text("utf-8") == render(), "run: python -m provisioning_pipeline.cli.reference"


def test_the_generated_files_have_every_setting():
    names = {PREFIX + name.upper() for name in Settings.model_fields}
    assert names <= _variables(reference.configuration())
    assert names == set(re.findall(rf"^#?({PREFIX}\w+)=", reference.env_example(), re.MULTILINE))


def test_every_setting_has_a_description_and_a_value_to_show():
    for name, field in Settings.model_fields.items():
        default = "" if field.is_required() else reference.text_of(field.default)
        assert field.description, name
        assert field.examples or default not in ("", "[]"), name


def test_the_env_example_is_read_once_it_is_filled_in(tmp_path, monkeypatch):
    for name in Settings.model_fields:
        monkeypatch.delenv(PREFIX + name.upper(), raising=False)
    examples = {PREFIX + name.upper(): (field.examples or [""])[0] for name, field in Settings.model_fields.items()}
    filled = re.sub(
        rf"^({PREFIX}\w+)=$", lambda found: f"{found[1]}='{examples[found[1]]}'", reference.env_example(), flags=re.M
    )
    path = tmp_path / "filled.env"
    path.write_text(filled, "utf-8")
    settings = Settings(_env_file=path)
    assert [server.name for server in settings.servers] == ["twenty"]


def test_what_the_env_example_comments_out_can_be_turned_on(tmp_path, monkeypatch):
    for name in Settings.model_fields:
        monkeypatch.delenv(PREFIX + name.upper(), raising=False)
    examples = {PREFIX + name.upper(): (field.examples or [""])[0] for name, field in Settings.model_fields.items()}
    on = re.sub(rf"^#({PREFIX}\w+=)", r"\1", reference.env_example(), flags=re.M)
    filled = re.sub(rf"^({PREFIX}\w+)=$", lambda found: f"{found[1]}='{examples[found[1]]}'", on, flags=re.M)
    path = tmp_path / "filled.env"
    path.write_text(filled, "utf-8")
    assert len(Settings(_env_file=path).servers) == 2


def test_every_reason_is_explained_once_in_the_order_in_which_findings_rank():
    assert [reason for explained in BY_CONDITION.values() for reason in explained] == list(Reason)


@pytest.mark.parametrize("reason", list(Reason))
def test_the_page_has_a_heading_for_each_reason_with_its_meaning_and_next_step(reason):
    text = reference.TROUBLESHOOTING.read_text("utf-8")
    assert len(re.findall(rf"^#### `{reason}`\n\n\S.+\n\n\*\*Next:\*\* \S.+$", text, re.MULTILINE)) == 1
    assert reason.lower() in _anchors(reference.TROUBLESHOOTING)


@pytest.mark.parametrize("reason", list(Reason))
def test_a_next_step_is_one_sentence_without_links(reason):
    assert re.fullmatch(r"[^\]\n]+\.", next_step(reason))
    assert not re.search(r"\]\(|\n", meaning(reason))


@EVERY_DOC
def test_every_variable_exists(doc):
    # the key is a variable of the examples: ours are read from hashes
    known = {PREFIX + name.upper() for name in Settings.model_fields} | {f"{PREFIX}API_KEY"}
    assert _variables(doc.read_text("utf-8")) - known == set()


@EVERY_DOC
def test_every_command_exists_with_its_options(doc):
    commands = _commands(typer.main.get_command(app))
    for line in _command_lines(doc.read_text("utf-8")):
        words = line.split()
        two, one = " ".join(words[:2]), words[0]
        options = commands.get(two, commands.get(one))
        assert options is not None, f"there is no command `provisioning {line}`"
        used = {word.partition("=")[0] for word in words if word.startswith("--")}
        assert used - options == set(), f"`provisioning {line}` has no such option"


def test_every_command_is_documented():
    text = (ROOT / "docs" / "operations.md").read_text("utf-8")
    named = {" ".join(line.split()[:2]) for line in _command_lines(text)}
    named |= {name.split()[0] for name in named}
    assert set(_commands(typer.main.get_command(app))) - named == set()


@EVERY_DOC
def test_every_link_points_to_something(doc):
    text = doc.read_text("utf-8")
    targets = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'src="([^"]+)"', text)
    for target in targets:
        if re.match(r"https?://", target):
            continue
        name, _, anchor = target.partition("#")
        file = (doc.parent / name).resolve() if name else doc
        assert file.is_file() or (file.is_dir() and not anchor), f"{doc.name}: {target}"
        if anchor:
            assert anchor in _anchors(file), f"{doc.name}: {target}"


@EVERY_DOC
def test_every_file_of_ours_that_a_page_names_exists(doc):
    rooms = [ROOT, ROOT / "provisioning_pipeline", ROOT / "provisioning_pipeline_tests"]
    named = set(re.findall(r"`((?:[a-z_]+/)+[a-z_0-9]+\.py)`", _FENCE.sub("", doc.read_text("utf-8"))))
    assert {name for name in named if not any((room / name).is_file() for room in rooms)} == set()


def test_the_readme_has_exactly_the_three_commands_to_try_it():
    text = README.read_text("utf-8")
    section = text[text.index("## Try it") : text.index("The demo starts")]
    assert re.findall(r"```sh\n(.+?)\n```", section, re.DOTALL) == THE_THREE_COMMANDS


def test_the_changelog_begins_with_what_is_not_released_or_with_this_version():
    newest, *_ = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert newest == "Unreleased" or re.fullmatch(rf"{re.escape(__version__)} - \d{{4}}-\d\d-\d\d", newest)


@EVERY_DOC
def test_dagster_names_exist(doc):
    from provisioning_pipeline.definitions import defs

    text = doc.read_text("utf-8")
    for kind, pattern, names in (
        ("sensor", r"dagster sensor \w+ (\w+)", {sensor.name for sensor in defs.sensors or []}),
        ("schedule", r"dagster schedule \w+ (\w+)", {schedule.name for schedule in defs.schedules or []}),
        ("job", r"dagster job launch .*-j (\w+)", {job.name for job in defs.jobs or []}),
    ):
        assert set(re.findall(pattern, text)) - names == set(), kind


@EVERY_DOC
def test_no_line_is_about_one_machine(doc):
    assert not re.search(r"/(?:tmp|root|home|work|Users)/", doc.read_text("utf-8"))


# --- reading the documents --------------------------------------------------------------------------------------

_FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)


def _variables(text: str) -> set[str]:
    return set(re.findall(rf"\b{PREFIX}[A-Z][A-Z0-9_]*[A-Z0-9]\b(?!…)", text))


def _command_lines(text: str) -> list[str]:
    """What follows `provisioning` in code spans and code blocks, comments cut off."""
    blocks = [body for language, body in _FENCE.findall(text) if language == "sh"]
    lines = [line.partition(" #")[0] for block in blocks for line in re.split(r"\n|&&|; ", block)]
    lines += re.findall(r"`([^`\n]+)`", _FENCE.sub("", text))
    found = [re.match(r"\s*(?:\.venv/bin/)?provisioning ([a-z].*)", line) for line in lines]
    return [match[1] for match in found if match]


def _commands(command, path: str = "") -> dict[str, set[str]]:
    """Every command with its options, `sandbox up` and the like included."""
    children = getattr(command, "commands", None)
    if children is None:
        options = {option for parameter in command.params for option in [*parameter.opts, *parameter.secondary_opts]}
        return {path: options | {"--help"}}
    return {
        name: options
        for child, sub in children.items()
        for name, options in _commands(sub, f"{path} {child}".strip()).items()
    }


def _anchors(file: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", file.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
