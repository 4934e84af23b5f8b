//! The table of all cases: what the kernel did beside what the exporter said.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::fs;
use std::io::{Write, stdout};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::support::netns::in_netns_printing;

/// Marks a row in what the process of a case prints.
const ROW: &str = "@row\t";

/// Marks a figure there that the kernel did not confirm; `tests/kernels/run` reads it.
const DIFFERS: &str = "@differs\t";

/// Such figures of this process, which runs one case.
static DIFFERENCES: AtomicUsize = AtomicUsize::new(0);

/// The subjects in the order of the table, by module.
const SUBJECTS: [(&str, &str); 9] = [
    ("plain", "Plain connect()"),
    ("capacity", "What lowers the capacity"),
    ("time_wait", "TIME_WAIT and the other ways to end"),
    ("bind_first", "Bind first"),
    ("memory", "Over several polls"),
    ("devices", "Sockets bound to a device"),
    ("udp", "UDP"),
    ("ramp", "Over time"),
    ("random", "Random states"),
];

const PREFACE: &str = "\
# The oracle

`tests/oracle` brings a namespace of its own into each of these cases with real sockets, polls it through the code that
serves `/metrics`, and then opens sockets until the kernel refuses. *Kernel* is how many it opened, *exporter* how many the
metrics had said are free before; both have to be equal, and the utilization ratio has to read 1 after the refusal. The range
is 40000 to 40099 where nothing else is said. Made by `UPDATE_ORACLE=1 cargo test --test oracle`. Where a kernel keeps something to
itself ([kernels.md](kernels.md)) the metrics tell two ends, and the number has to lie between them; here they tell one.

The random states at the end are 300 of as many as one likes: `SOCKDIAG_SCENARIOS=2500 cargo test --test oracle random`, from
`SOCKDIAG_SEED` on; each that lies outside prints its seed.

A range of odd size is the one exception: the kernel's search rounds the size down to an even number (`remaining &= ~1`
in `__inet_hash_connect` and `inet_csk_find_open_port`) and so leaves out one port, another one each time. The last port may
be refused although it is free, and by luck may not.

One thing no dump tells: whether a connection in TIME_WAIT had timestamps, without which the kernel never gives its port away.
The exporter goes by `tcp_timestamps` of this host. So it says too much toward a peer that has them switched off (measured: 30
TIME_WAIT, 100 foretold, 70 opened), and for a minute too little after they were switched off here (70 foretold, 100 opened).
";

/// One test: `case!(name, ["programs", "it needs"], || { … })`.
macro_rules! case {
    ($name:ident, $needs:expr, $body:expr) => {
        #[test]
        fn $name() {
            crate::table::run(module_path!(), stringify!($name), &$needs, $body);
        }
    };
}

/// Runs a case in its own namespace, and shows the table after the last one.
pub fn run(module: &str, name: &str, needs: &[&str], body: impl FnOnce()) {
    let (_, subject) = module.split_once("::").expect("a module of the suite");
    let test = format!("{subject}::{name}");
    let printed = in_netns_printing(&test, needs, || {
        body();
        assert_eq!(
            DIFFERENCES.load(Ordering::Relaxed),
            0,
            "figures that differ"
        );
    });
    let Some(printed) = printed else { return };
    let rows = printed.lines().filter_map(|line| line.strip_prefix(ROW));
    let rows: Vec<_> = rows.map(str::to_owned).collect();
    assert!(!rows.is_empty(), "{test} proved nothing");
    finish(test, rows);
}

/// Notes a number, from inside of a case.
pub fn row(what: &str, kernel: impl Display, exporter: impl Display) {
    // A line of its own: libtest has begun one with the name of the test.
    writeln!(stdout(), "\n{ROW}| {what} | {kernel} | {exporter} |").expect("stdout is open");
}

/// Notes a figure that the kernel did not confirm. The case goes on to its other
/// figures, and fails at its end.
pub fn differs(what: &str, said: impl Display, granted: i64) {
    writeln!(
        stdout(),
        "\n{DIFFERS}{what}: said {said}, granted {granted}"
    )
    .expect("stdout is open");
    DIFFERENCES.fetch_add(1, Ordering::Relaxed);
}

/// Rows of the cases that went well, by test.
static DONE: Mutex<BTreeMap<String, Vec<String>>> = Mutex::new(BTreeMap::new());

fn finish(test: String, rows: Vec<String>) {
    let mut done = DONE.lock().unwrap_or_else(PoisonError::into_inner);
    done.insert(test, rows);
    if done.len() < cases() {
        return;
    }
    let table = render(&done);
    println!("{table}");
    if std::env::var("UPDATE_ORACLE").as_deref() == Ok("1") {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/oracle.md");
        fs::create_dir_all(concat!(env!("CARGO_MANIFEST_DIR"), "/docs")).expect("docs/");
        fs::write(path, format!("{PREFACE}{table}")).expect("docs/oracle.md");
    }
}

fn render(done: &BTreeMap<String, Vec<String>>) -> String {
    let mut text = String::new();
    for (module, title) in SUBJECTS {
        text += &format!("\n## {title}\n\n| case | kernel | exporter |\n|---|---|---|\n");
        for (test, rows) in done {
            if test.split_once("::").is_some_and(|(of, _)| of == module) {
                text += &(rows.join("\n") + "\n");
            }
        }
    }
    text
}

/// How many cases there are, whatever this run leaves out.
fn cases() -> usize {
    let list = Command::new("/proc/self/exe").arg("--list").output();
    let list = list.expect("the test binary starts again").stdout;
    let is_case = |line: &&str| {
        SUBJECTS
            .iter()
            .any(|(module, _)| line.starts_with(&format!("{module}::")))
    };
    String::from_utf8_lossy(&list)
        .lines()
        .filter(is_case)
        .count()
}
