//! Writes the manual pages and the shell completions into a directory, from the command line's own
//! definition (src/cli.rs): `cargo run --example manual -- DIRECTORY`. The daemon carries none of it.

use std::io;
use std::path::Path;
use std::process::ExitCode;

use clap::{Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};
use sockdiag_exporter::cli::{Cli, VERSION};

const NAME: &str = "sockdiag-exporter";

/// What clap cannot know: title, and a paragraph or two for each entry.
type Section = (&'static str, &'static [(&'static str, &'static str)]);

/// Sections of sockdiag-exporter(1) after the options.
const SECTIONS: [Section; 4] = [
    (
        "EXIT STATUS",
        &[
            ("0", "Done."),
            (
                "1",
                "It failed, or the snapshot command could not measure something.",
            ),
            ("2", "Usage or configuration that is refused."),
        ],
    ),
    (
        "ENVIRONMENT",
        &[(
            "SOCKDIAG_EXPORTER__SECTION__KEY",
            "Any key of the configuration, for example SOCKDIAG_EXPORTER__POLL__INTERVAL=2s. It goes over the file; flags go over it.",
        )],
    ),
    (
        "FILES",
        &[
            (
                "/etc/sockdiag-exporter/config.toml",
                "The configuration that the packages' service reads: every key at its default, with its unit and range.",
            ),
            (
                "/etc/default/sockdiag-exporter",
                "The environment of the packages' service.",
            ),
        ],
    ),
    (
        "SEE ALSO",
        &[(
            "ss(8), sock_diag(7), ip(7)",
            "README and alert rules lie in the package's directory of documentation.",
        )],
    ),
];

/// A name below the directory, and what it holds.
type File = (String, Vec<u8>);

fn main() -> ExitCode {
    let Some(directory) = std::env::args_os().nth(1) else {
        eprintln!("usage: manual DIRECTORY");
        return ExitCode::from(2);
    };
    match files().and_then(|files| write(Path::new(&directory), &files)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("manual: {}: {error}", directory.display());
            ExitCode::FAILURE
        }
    }
}

fn write(directory: &Path, files: &[File]) -> io::Result<()> {
    std::fs::create_dir_all(directory)?;
    for (name, content) in files {
        std::fs::write(directory.join(name), content)?;
    }
    Ok(())
}

/// All pages and completions.
///
/// # Errors
/// None in memory: the type is that of what writes them.
pub fn files() -> io::Result<Vec<File>> {
    // `help` is no command of ours, and has no page.
    let mut command = <Cli as CommandFactory>::command()
        .version(VERSION)
        .disable_help_subcommand(true);
    command.build();
    let mut files = vec![(format!("{NAME}.1"), page(&command, NAME)?)];
    for subcommand in command.get_subcommands() {
        let title = format!("{NAME}-{}", subcommand.get_name());
        let content = page(subcommand, &title)?;
        files.push((format!("{title}.1"), content));
    }
    // The names under which each shell looks for them.
    let completions = [
        (Shell::Bash, format!("{NAME}.bash")),
        (Shell::Fish, format!("{NAME}.fish")),
        (Shell::Zsh, format!("_{NAME}")),
    ];
    for (shell, name) in completions {
        let mut content = Vec::new();
        clap_complete::generate(
            shell,
            &mut <Cli as CommandFactory>::command(),
            NAME,
            &mut content,
        );
        files.push((name, content));
    }
    Ok(files)
}

fn page(command: &Command, title: &str) -> io::Result<Vec<u8>> {
    let man = Man::new(command.clone().display_name(title.to_owned()));
    // No date: it would be that of the build, and differ from one to the next. clap_mangen would leave it
    // out, and man(7) then takes what follows for it.
    let heading = title.to_uppercase();
    let heading = format!(".TH \"{heading}\" 1 \"\" \"{NAME} {VERSION}\" \"User Commands\"\n");
    let mut out = heading.into_bytes();
    man.render_name_section(&mut out)?;
    man.render_synopsis_section(&mut out)?;
    man.render_description_section(&mut out)?;
    man.render_options_section(&mut out)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut out)?;
        sections().to_writer(&mut out)?;
    }
    Ok(out)
}

fn sections() -> Roff {
    let mut roff = Roff::default();
    for (title, entries) in SECTIONS {
        roff.control("SH", [title]);
        for (term, text) in entries {
            roff.control("TP", []);
            roff.text([bold(*term)]);
            roff.text([roman(*text)]);
        }
    }
    roff
}
