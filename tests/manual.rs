//! The manual pages and completions that the packages carry can be produced, and know every command and flag.

use std::collections::BTreeMap;

use clap::CommandFactory;
use sockdiag_exporter::cli::Cli;

#[path = "../examples/manual.rs"]
#[allow(dead_code, reason = "the example's own main is not called")]
mod manual;

fn files() -> BTreeMap<String, String> {
    let text = |(name, content)| (name, String::from_utf8(content).unwrap());
    manual::files().unwrap().into_iter().map(text).collect()
}

/// Long flags of the whole command line, by the name of the command.
fn flags() -> Vec<(String, String)> {
    let mut command = <Cli as CommandFactory>::command().disable_help_subcommand(true);
    command.build();
    let mut found = Vec::new();
    for each in std::iter::once(&command).chain(command.get_subcommands()) {
        for flag in each.get_arguments().filter_map(clap::Arg::get_long) {
            found.push((each.get_name().to_owned(), flag.to_owned()));
        }
    }
    found
}

#[test]
fn there_is_a_page_for_each_command_and_a_completion_for_each_shell() {
    let names: Vec<String> = files().into_keys().collect();
    let expected = [
        "_sockdiag-exporter",
        "sockdiag-exporter-check-config.1",
        "sockdiag-exporter-serve.1",
        "sockdiag-exporter-snapshot.1",
        "sockdiag-exporter.1",
        "sockdiag-exporter.bash",
        "sockdiag-exporter.fish",
    ];
    assert_eq!(names, expected);
}

#[test]
fn each_page_names_the_flags_of_its_command() {
    let files = files();
    let flags = flags();
    assert!(flags.len() > 10, "{flags:?}");
    for (command, flag) in flags {
        let page = match command.as_str() {
            "sockdiag-exporter" => "sockdiag-exporter.1".to_owned(),
            other => format!("sockdiag-exporter-{other}.1"),
        };
        // troff writes a hyphen that is a minus sign as `\-`.
        let written = format!("\\-\\-{}", flag.replace('-', "\\-"));
        assert!(files[&page].contains(&written), "{page} lacks --{flag}");
    }
}

#[test]
fn each_completion_names_every_flag_and_command() {
    let files = files();
    for shell in [
        "_sockdiag-exporter",
        "sockdiag-exporter.bash",
        "sockdiag-exporter.fish",
    ] {
        for (command, flag) in flags() {
            for word in [command, flag] {
                assert!(files[shell].contains(&word), "{shell} lacks {word}");
            }
        }
    }
}

#[test]
fn the_first_page_tells_exit_codes_and_files() {
    let files = files();
    let page = &files["sockdiag-exporter.1"];
    for section in ["EXIT STATUS", "ENVIRONMENT", "FILES", "SEE ALSO"] {
        assert!(page.contains(section), "no section {section}");
    }
}

#[test]
fn no_page_has_the_date_of_its_build() {
    for (name, page) in files().iter().filter(|(name, _)| name.ends_with(".1")) {
        let title = name.trim_end_matches(".1").to_uppercase();
        let version = env!("CARGO_PKG_VERSION");
        let heading =
            format!(".TH \"{title}\" 1 \"\" \"sockdiag-exporter {version}\" \"User Commands\"");
        assert_eq!(page.lines().next(), Some(heading.as_str()));
    }
}
