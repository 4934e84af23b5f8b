//! Arguments, configuration, logging, exit code: 0 done, 1 failed, 2 asked for
//! something that cannot be.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use sockdiag_exporter::cli::{Cli, Command, ServeArgs, SnapshotArgs, SnapshotFormat};
use sockdiag_exporter::config::{ConfigError, Loaded, Overrides};
use sockdiag_exporter::show::text;
use sockdiag_exporter::{daemon, exposition, logging, once, process, web_setup};
use tokio::signal::unix::{SignalKind, signal};

fn main() -> ExitCode {
    match run(Cli::parse().command()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<ConfigError>() => {
            complain(&error.to_string());
            ExitCode::from(2)
        }
        Err(error) => {
            complain(&format!("sockdiag-exporter: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// The exit code must not depend on somebody listening, as eprintln! has it.
fn complain(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::Serve(arguments) => serve(&arguments),
        Command::Snapshot(arguments) => snapshot(&arguments),
        Command::CheckConfig(arguments) => {
            let loaded = load(arguments.config.as_deref(), &Overrides::default())?;
            // As the daemon will read the files: without the rights of root.
            let _ = process::give_up(&loaded.config);
            if let Some(web_config) = web_setup::web_config(&loaded.config)? {
                for note in &web_config.current().notes {
                    complain(note);
                }
            }
            print(&loaded.to_toml())
        }
    }
}

fn load(file: Option<&Path>, overrides: &Overrides) -> Result<Loaded> {
    Ok(Loaded::load(file, std::env::vars_os(), overrides)?)
}

fn serve(arguments: &ServeArgs) -> Result<()> {
    let config = load(arguments.config.as_deref(), &arguments.overrides())?.config;
    process::ensure_descriptors()?;
    let given_up = process::give_up(&config);
    let _log = logging::start(&config);
    process::say_given_up(given_up);
    // The network needs little: one thread for it, one for the kernel.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let ended = runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).context("cannot catch SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("cannot catch SIGINT")?;
        let mut hangup = signal(SignalKind::hangup()).context("cannot catch SIGHUP")?;
        let shutdown = async {
            loop {
                tokio::select! {
                    _ = terminate.recv() => return,
                    _ = interrupt.recv() => return,
                    _ = hangup.recv() => tracing::warn!(
                        "SIGHUP: the configuration is read at the start alone; restart to apply a change"
                    ),
                }
            }
        };
        daemon::run(config, shutdown).await
    });
    // A password that is being checked keeps nobody.
    runtime.shutdown_background();
    ended
}

fn snapshot(arguments: &SnapshotArgs) -> Result<()> {
    if arguments.processes && arguments.format != SnapshotFormat::Text {
        let why = "--processes goes with --format text only";
        let mut command = <Cli as CommandFactory>::command();
        command.error(ErrorKind::ArgumentConflict, why).exit();
    }
    let config = load(arguments.config.as_deref(), &Overrides::default())?.config;
    let snapshot = once::poll(&config)?;
    match arguments.format {
        SnapshotFormat::Text if arguments.processes => {
            let processes = once::processes(&config, &snapshot)?;
            print(&(text::render(&snapshot) + &text::processes(&processes)))
        }
        SnapshotFormat::Text => print(&text::render(&snapshot)),
        SnapshotFormat::Json => print(&(serde_json::to_string_pretty(&snapshot)? + "\n")),
        SnapshotFormat::Prometheus => {
            let page = exposition::render(&snapshot, Vec::new());
            print(std::str::from_utf8(&page.text)?)
        }
    }?;
    // What was measured is printed; a script must not take it for everything.
    match text::missing(&snapshot) {
        Some(missing) => bail!("not measured: {missing}"),
        None => Ok(()),
    }
}

/// To standard output; a reader that has seen enough (`| head`) is no error.
fn print(text: &str) -> Result<()> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        done => done.context("cannot write to standard output"),
    }
}
