"""For the teacher: `course check` says what the students will need, `course new` writes an example course."""

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Group
from rich.table import Table
from rich.text import Text

from engine.core.epoch_time import EpochTime
from engine.core.own_model import ModelFacts, Trial
from engine.core.spec import OwnModel
from engine.machine import child_process, os_errors, tool_process
from engine.protocol import DataSet, TrialStarted
from svhn_tui import preset_file, words
from svhn_tui.analysis import course_plan
from svhn_tui.analysis.course_plan import CourseFacts, CoursePlan, FileSize, Hours, QuestionPlan
from svhn_tui.analysis.trial_text import trial_start_text
from svhn_tui.cli.arguments import DataOption, JsonOption, LayoutOption, fail, file_of, folder_of, path_of, sources
from svhn_tui.cli.commands import command_group
from svhn_tui.cli.exit_codes import DONE, FAILED, WRONG_USE
from svhn_tui.json_text import located
from svhn_tui.presets import Presets
from svhn_tui.terminal.printing import Plain, print_error, print_json, print_text
from svhn_tui.words import clean

COURSES = Path(__file__).parents[1] / "courses"
FILES = ("experiments.json", "models.py")
DATA = "clothes.npz"

app = command_group()
course_app = command_group("Check a course of your own, or begin with an example.")
app.add_typer(course_app, name="course")


class Course(msgspec.Struct, frozen=True):
    """What `course check` reports."""

    file: str
    mistakes: tuple[str, ...]
    notes: tuple[str, ...] = ()
    """Parts that could not be checked, and what to do."""
    data: dict[str, DataSet] = {}
    plan: CoursePlan | None = None


@course_app.command("check")
def course_check(
    file: Annotated[Path, typer.Argument(help="The course's experiments.json.", parser=file_of, metavar="FILE")],
    data: DataOption = None,
    layout: LayoutOption = None,
    workspace: Annotated[
        Path | None,
        typer.Option("--workspace", "-w", help="Times follow from what was measured there.", parser=path_of,
                     metavar="PATH"),
    ] = None,
    as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Say what students will see and need, and all that is wrong."""
    if workspace is not None and not workspace.expanduser().is_dir():
        fail(f"{workspace} is not a workspace: there is no such folder.", FAILED)
    course = asyncio.run(_checked(file, sources(data), layout or "", workspace))
    if as_json:
        print_json(course)
    else:
        Plain().print(_described(course))
    raise typer.Exit(FAILED if course.mistakes else DONE)


@course_app.command("new")
def course_new(
    folder: Annotated[Path, typer.Argument(help="Where its files go.", parser=folder_of, metavar="DIR")],
    example: Annotated[str, typer.Option(metavar="NAME", help="Which one: clothes.")] = "clothes",
) -> None:
    """Write an example course: questions, a model file, drawn data.

    Nothing is overwritten.
    """
    known = sorted(path.parent.name for path in COURSES.glob("*/experiments.json"))
    if example not in known:
        fail(f"There is no example {example[:40]!r}; there are {', '.join(known)}.", WRONG_USE)
    target = folder.expanduser().absolute()
    for name in (*FILES, DATA):
        if os.path.lexists(target / name):
            fail(f"{target / name} is there already; give another folder, since nothing is overwritten.", FAILED)
    done = tool_process.run(child_process.tool("engine.data.clothes", "--", str(target / DATA)))
    if done.status:
        fail(done.stderr.strip(), FAILED)
    try:
        for name in FILES:
            with (target / name).open("xb") as file:
                file.write((COURSES / example / name).read_bytes())
    except OSError as error:
        fail(os_errors.sentence_of(error, target) or f"{target}: {error.strerror}.", FAILED)
    print_text(f"{target} has {', '.join(FILES)} and {DATA}. Look at models.py, then:")
    for command in (f"trust {folder / 'models.py'}", f"course check {folder / 'experiments.json'}"):
        print_text(f"    svhn-tui {command}")
    print_text(f"    svhn-tui --workspace {folder}")


async def _checked(file: Path, data: Sequence[str], layout: str, workspace: Path | None) -> Course:
    """Read the file, describe its data, try its model files, and compute the effort."""
    try:
        with file.open("rb") as opened:
            text = opened.read(preset_file.MAX_BYTES + 1)
    except OSError as error:
        fail(os_errors.sentence_of(error, file) or f"{file}: {error.strerror}.", FAILED)
    if len(text) > preset_file.MAX_BYTES:
        fail(f"{file}: larger than {preset_file.MAX_BYTES // 2**20} MiB; presets are a few kB.", FAILED)
    if wrong := preset_file.mistakes(text, str(file)):
        return Course(str(file), wrong)
    book = preset_file.parse(text, str(file))
    mistakes: list[str] = []
    notes: list[str] = []
    data_sets = _data_of(book, file, data, layout, mistakes, notes)
    facts = await _tried(book, file, data_sets, mistakes, notes)
    times = await _times(workspace) if workspace is not None else ()
    given = CourseFacts(data_sets, {key: some.parameters for key, some in facts.items() if not some.problem}, times)
    mistakes += course_plan.problems(book, given, str(file))
    mistakes = [located(mistake, text, str(file)) for mistake in mistakes]
    return Course(str(file), tuple(mistakes), tuple(notes), data_sets, course_plan.plan_of(book, given))


def _data_of(
    book: Presets, file: Path, data: Sequence[str], layout: str, mistakes: list[str], notes: list[str]
) -> dict[str, DataSet]:
    """Describe the available data sets, by the name that questions use."""
    data_sets: dict[str, DataSet] = {}
    first = next(iter(book.data), "")
    for name, source in book.data.items():
        paths = [str((file.parent / path).absolute()) for path in source.paths]
        if missing := [path for path in paths if not os.path.lexists(path)]:
            about = [some.id for some in book.questions if (book.data_of(some) or first) == name and some.networks]
            if about and not (data and name == first):
                needed = f"{', '.join(about)} train{'s' if len(about) == 1 else ''} on it"
                mistakes.append(f"{file}, data[{name!r}]: {missing[0]} is not there, and {needed}.")
            continue
        described = _description(paths, source.layout)
        if isinstance(described, DataSet):
            data_sets[name] = described
        else:
            mistakes.append(f"{file}, data[{name!r}]: {described}")
    if data:
        described = _description(data, layout)
        if isinstance(described, DataSet):
            data_sets[""] = described
        else:
            mistakes.append(described)
    elif first in data_sets:
        data_sets[""] = data_sets[first]
    if not data_sets:
        notes.append("Hours and sizes of files follow from the data: give --data DIR.")
    return data_sets


def _description(paths: Sequence[str], layout: str) -> DataSet | str:
    options = ["--layout", layout] if layout else []
    done = tool_process.run(child_process.tool("engine.data.dataset", "describe", *options, "--", *paths))
    return done.stderr.strip() if done.status else msgspec.json.decode(done.stdout, type=DataSet)


async def _tried(
    book: Presets, file: Path, data: dict[str, DataSet], mistakes: list[str], notes: list[str]
) -> dict[tuple[OwnModel, str], ModelFacts]:
    """Build the own models that the user approved, each in a process of its own."""
    from engine.host.model_trials import outcome_of

    def report(started: TrialStarted) -> None:
        print_error(trial_start_text(started))

    outcomes: dict[tuple[OwnModel, str], ModelFacts] = {}
    for index, question in enumerate(book.questions):
        configurations, name = book.configurations(question), book.data_of(question)
        unapproved = book.unapproved(configurations)
        for model in dict.fromkeys(some.network.model for some in configurations):
            if model is None or (model, name) in outcomes or name not in data:
                continue
            if model.sha256 in unapproved:
                path = book.sources[model.sha256].path
                notes.append(f"{path} was not tried; look at it, and let it run: svhn-tui trust {path}")
                continue
            source = book.sources[model.sha256]
            trial = Trial(model, data[name].shape, source.text, Path(source.path).name)
            facts = await outcome_of(trial, data[name].fingerprint, report)
            outcomes[model, name] = facts
            if facts.problem:
                where = f"{file}, questions[{index}] ({question.id}).networks"
                mistakes.append(f"{where}: {model.label}: {words.on_one_line(facts.problem)}")
    notes[:] = dict.fromkeys(notes)
    return outcomes


async def _times(workspace: Path) -> tuple[EpochTime, ...]:
    from svhn_tui.client.session import connected

    async with connected(workspace.expanduser(), is_read_only=True) as session:
        return session.state.times


def _described(course: Course) -> Group:
    parts: list[Table | Text] = []
    if course.plan is not None:
        plan = course.plan
        parts += [_questions(plan.questions), Text(""), *map(Text, _sentences(plan))]
        parts += [Text(_of_data(name, data)) for name, data in course.data.items() if name or len(course.data) == 1]
        parts += [Text(_of_file(file)) for file in plan.files]
    parts += [Text(clean(note)) for note in course.notes]
    parts += [Text(f"✗ {clean(mistake)}") for mistake in course.mistakes]
    good = "✓ no mistake found in what was looked at." if course.notes else "✓ no mistake found."
    parts.append(Text(f"{words.plural(len(course.mistakes), 'mistake')}." if course.mistakes else good))
    return Group(*parts)


def _questions(questions: Sequence[QuestionPlan]) -> Table:
    table = Table("id", "kind", "title", box=None, pad_edge=False)
    for name in ("points", "networks", "runs"):
        table.add_column(name, justify="right")
    for some in questions:
        runs = _range(some.fewest_runs, some.most_runs)
        table.add_row(some.question, some.kind, clean(some.title), str(some.points), str(some.configurations), runs)
    table.add_row("all", "", "", str(sum(some.points for some in questions)), "", "", style="bold")
    return table


def _sentences(plan: CoursePlan) -> list[str]:
    gpu = "not known, none was measured" if plan.gpu is None else _of_hours(plan.gpu)
    return [
        f"distinct runs   {_range(plan.fewest_runs, plan.most_runs)}, those of several questions counted once",
        f"on CPU          {_of_hours(plan.cpu)}",
        f"on a GPU        {gpu}",
    ]


def _of_hours(hours: Hours) -> str:
    known = words.duration(hours.fewest_seconds)
    if round(hours.most_seconds) != round(hours.fewest_seconds):
        known += f" to {words.duration(hours.most_seconds)}"
    basis = "as measured there" if hours.is_measured else "by a formula for two cores of a server of 2023"
    if not hours.most_seconds:
        return f"not known for {words.plural(hours.unknown_runs, 'run')}" if hours.unknown_runs else "nothing to train"
    if not hours.unknown_runs:
        return f"{known}, {basis}"
    return f"{known}, {basis}; and {words.plural(hours.unknown_runs, 'run')} of networks not measured"


def _of_data(name: str, data: DataSet) -> str:
    what = f"{data.train_images:,} + {data.test_images:,} of {data.input_shape}"
    return f"data            {clean(name or data.name)}: {len(data.labels)} classes, {what}"


def _of_file(file: FileSize) -> str:
    limit = "no limit" if file.limit_mib is None else f"limit {file.limit_mib:g} MiB"
    if file.weights_mib is None or file.whole_mib is None:
        return f"{clean(file.file):<15} size not known; {limit}"
    size = f"about {file.whole_mib:.2f} MiB, {file.weights_mib:.2f} without the optimizer's state"
    return f"{clean(file.file):<15} {file.parameters:,} parameters, {size}; {limit}"


def _range(fewest: int, most: int) -> str:
    return f"{fewest:,}" if fewest == most else f"{fewest:,} to {most:,}"
