//! The command line: what may be said, and nothing of what it does.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use serde::de::{DeserializeOwned, IntoDeserializer, value};

use crate::config::{LogFormat, LogLevel, Overrides, parse_duration, parse_listen};

/// Release, as in `Cargo.toml`.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Commit that this was built from, or `unknown`; set by `build.rs`.
pub const REVISION: &str = env!("SOCKDIAG_EXPORTER_REVISION");

const LONG_VERSION: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    " (revision ",
    env!("SOCKDIAG_EXPORTER_REVISION"),
    ")"
);

/// Prometheus exporter for Linux sockets: states, peers, ephemeral port use and conntrack.
#[derive(Clone, Debug, PartialEq, Parser)]
#[command(name = "sockdiag-exporter", version = LONG_VERSION, args_conflicts_with_subcommands = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: ServeArgs,
}

impl Cli {
    /// What to do: `serve` unless another command was named.
    pub fn command(self) -> Command {
        self.command.unwrap_or(Command::Serve(self.serve))
    }
}

#[derive(Clone, Debug, PartialEq, Subcommand)]
pub enum Command {
    /// Poll the kernel and serve the metrics (the default).
    Serve(ServeArgs),
    /// Poll once, print what was found, and exit; exit 1 if anything could not be measured.
    Snapshot(SnapshotArgs),
    /// Print the configuration in force and where each value was set; exit 2 if it has errors.
    CheckConfig(CheckConfigArgs),
}

#[derive(Clone, Debug, Default, PartialEq, Args)]
pub struct ServeArgs {
    /// TOML file; without it the built-in defaults hold.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Address to serve on, for example "[::]:10061" or "127.0.0.1:9000"; may be repeated.
    #[arg(long, visible_alias = "web.listen-address", value_name = "ADDR", value_parser = parse_listen)]
    pub listen: Vec<SocketAddr>,
    /// Serve on the sockets that systemd hands in, and on nothing else; exit 2 if there are none.
    #[arg(long, visible_alias = "web.systemd-socket")]
    pub systemd_socket: bool,
    /// YAML file for TLS, client certificates and passwords, as other exporters take it.
    #[arg(long, visible_alias = "web.config.file", value_name = "FILE")]
    pub web_config_file: Option<PathBuf>,
    /// Where the metrics are served [default: /metrics].
    #[arg(long, visible_alias = "web.telemetry-path", value_name = "PATH")]
    pub telemetry_path: Option<String>,
    /// Time between polls, with its unit, for example "5s".
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub poll_interval: Option<Duration>,
    /// The least severe event that is logged.
    #[arg(long, visible_alias = "log.level", value_name = "LEVEL", value_parser = words::<LogLevel>(&LogLevel::NAMES))]
    pub log_level: Option<LogLevel>,
    /// How a log line is written.
    #[arg(long, visible_alias = "log.format", value_name = "FORMAT", value_parser = words::<LogFormat>(&LogFormat::NAMES))]
    pub log_format: Option<LogFormat>,
}

impl ServeArgs {
    /// What the flags change in the configuration.
    pub fn overrides(&self) -> Overrides {
        Overrides {
            listen: self.listen.clone(),
            systemd_socket: self.systemd_socket,
            web_config_file: self.web_config_file.clone(),
            telemetry_path: self.telemetry_path.clone(),
            poll_interval: self.poll_interval,
            log_level: self.log_level,
            log_format: self.log_format,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Args)]
pub struct SnapshotArgs {
    /// How to print it.
    #[arg(long, value_enum, default_value_t)]
    pub format: SnapshotFormat,
    /// TOML file; without it the built-in defaults hold.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Also look through /proc once for the processes that have the sockets of the worst
    /// destinations: all of them as root, else your own. With the format text only.
    #[arg(long)]
    pub processes: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum SnapshotFormat {
    /// Tables for a terminal, the worst destinations first.
    #[default]
    Text,
    /// What /api/v1/snapshot serves.
    Json,
    /// The metrics of the kernel as /metrics serves them, without the exporter's own.
    Prometheus,
}

#[derive(Clone, Debug, Default, PartialEq, Args)]
pub struct CheckConfigArgs {
    /// TOML file; without it the built-in defaults hold.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Takes one of `names`, and shows them in the help and in errors.
fn words<T: DeserializeOwned + Clone + Send + Sync + 'static>(
    names: &'static [&'static str],
) -> impl TypedValueParser<Value = T> {
    PossibleValuesParser::new(names)
        .try_map(|name| T::deserialize(IntoDeserializer::<value::Error>::into_deserializer(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &str) -> Result<Command, clap::Error> {
        let words = std::iter::once("sockdiag-exporter").chain(arguments.split_whitespace());
        Cli::try_parse_from(words).map(Cli::command)
    }

    #[test]
    fn the_flags_of_other_exporters_mean_the_same() {
        let theirs = "--web.listen-address=:9000 --web.listen-address=127.0.0.1:1 --log.level=debug --log.format=json --web.systemd-socket --web.config.file=w.yml --web.telemetry-path=/m";
        let ours = "--listen :9000 --listen 127.0.0.1:1 --log-level debug --log-format json --systemd-socket --web-config-file w.yml --telemetry-path /m";
        assert_eq!(parse(theirs).unwrap(), parse(ours).unwrap());
    }

    #[test]
    fn serve_is_the_default_and_takes_its_flags_in_both_forms() {
        let flags = "--config /a.toml --listen :9000 --listen 127.0.0.1:1 --systemd-socket --web-config-file w.yml --telemetry-path /m --poll-interval 2s --log-level debug --log-format json";
        let Command::Serve(bare) = parse(flags).unwrap() else {
            panic!("not serve");
        };
        assert_eq!(bare.config, Some(PathBuf::from("/a.toml")));
        let expected = Overrides {
            listen: ["[::]:9000", "127.0.0.1:1"]
                .map(|text| text.parse().unwrap())
                .to_vec(),
            systemd_socket: true,
            web_config_file: Some(PathBuf::from("w.yml")),
            telemetry_path: Some("/m".to_owned()),
            poll_interval: Some(Duration::from_secs(2)),
            log_level: Some(LogLevel::Debug),
            log_format: Some(LogFormat::Json),
        };
        assert_eq!(bare.overrides(), expected);
        assert_eq!(
            parse(&format!("serve {flags}")).unwrap(),
            Command::Serve(bare)
        );
        assert_eq!(parse("").unwrap(), parse("serve").unwrap());
    }

    #[test]
    fn the_other_commands_take_their_own_flags() {
        let Command::Snapshot(snapshot) = parse("snapshot --format json --config a").unwrap()
        else {
            panic!("not snapshot");
        };
        assert_eq!(snapshot.format, SnapshotFormat::Json);
        assert_eq!(snapshot.config, Some(PathBuf::from("a")));
        let Command::Snapshot(snapshot) = parse("snapshot").unwrap() else {
            panic!("not snapshot");
        };
        assert_eq!(snapshot.format, SnapshotFormat::Text);
        let Command::Snapshot(snapshot) = parse("snapshot --processes").unwrap() else {
            panic!("not snapshot");
        };
        assert!(snapshot.processes);
        let Command::CheckConfig(check) = parse("check-config --config a").unwrap() else {
            panic!("not check-config");
        };
        assert_eq!(check.config, Some(PathBuf::from("a")));
    }

    #[test]
    fn bad_usage_exits_2_and_says_what_is_allowed() {
        let cases = [
            ("--poll-interval 5", "needs a unit, for example \"5s\""),
            ("--listen localhost:9000", "host names are not looked up"),
            (
                "--log-level loud",
                "[possible values: error, warn, info, debug, trace]",
            ),
            (
                "snapshot --format xml",
                "[possible values: text, json, prometheus]",
            ),
            ("--config a check-config", "cannot be used with"),
            ("check-config --listen :1", "unexpected argument '--listen'"),
            ("start", "unrecognized subcommand"),
        ];
        for (arguments, expected) in cases {
            let error = parse(arguments).expect_err(arguments);
            assert_eq!(error.exit_code(), 2, "{arguments}");
            assert!(error.to_string().contains(expected), "{arguments}: {error}");
        }
    }

    #[test]
    fn the_version_names_the_revision() {
        let shown = parse("--version").unwrap_err();
        assert_eq!(shown.exit_code(), 0);
        let expected = format!("sockdiag-exporter {} (revision {})\n", VERSION, REVISION);
        assert_eq!(shown.to_string(), expected);
    }
}
