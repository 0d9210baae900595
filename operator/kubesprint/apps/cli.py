"""The command line: one command a room."""

import typer

from kubesprint import __version__

app = typer.Typer(
    name="kubesprint",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Computational sprinting for training jobs: which job, when, how hard, for how long.",
    epilog="Start with `kubesprint doctor` and `kubesprint demo`; your own jobs: `kubesprint run --help`.",
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"kubesprint {__version__}")
        raise typer.Exit


@app.callback()
def root(version: bool = typer.Option(False, "--version", callback=_version, is_eager=True)) -> None:
    """Computational sprinting for machine-learning training jobs."""


def build() -> typer.Typer:
    """The application with all its commands; imports happen here, not at import of this module."""
    from kubesprint.apps.demo.command import demo
    from kubesprint.apps.doctor import doctor
    from kubesprint.apps.evaluate import evaluate
    from kubesprint.apps.explain import explain
    from kubesprint.apps.export import export
    from kubesprint.apps.learn_command import learn
    from kubesprint.apps.profile_command import profile
    from kubesprint.apps.restore import restore
    from kubesprint.apps.run import RunCommand, run
    from kubesprint.apps.simulate import simulate

    app.command(short_help="What can this machine do for a sprint?")(doctor)
    app.command(short_help="See it work, in three minutes.")(demo)
    app.command(short_help="Measure the kinds of jobs of a queue.")(profile)
    app.command(cls=RunCommand, short_help="Run a queue of jobs within a budget.")(run)
    app.command(short_help="Tell why a job sprinted, or did not.")(explain)
    app.command(short_help="Put back what a killed run has left.")(restore)
    app.command(short_help="Simulate a queue; find the best time-out.")(simulate)
    app.command(short_help="Make a dataset of finished runs.")(export)
    app.command(short_help="Judge predictors on a dataset.")(evaluate)
    app.command(short_help="Fit the grey box to a dataset.")(learn)
    return app
