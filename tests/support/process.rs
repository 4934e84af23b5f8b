//! A program that runs beside the test and dies with it, whatever comes first.

#![allow(unsafe_code, reason = "pre_exec has no safe form")]

use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};

use super::tools;

/// Killed when dropped, and when the thread that started it ends.
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command`; what it writes to either stream goes to the file `log`.
    ///
    /// # Panics
    /// When the program cannot be started.
    pub fn start(command: &mut Command, log: &Path) -> Self {
        let file = File::create(log).expect("the log can be created");
        let twin = file.try_clone().expect("a descriptor is left");
        command.stdin(Stdio::null()).stdout(file).stderr(twin);
        // SAFETY: between fork and exec the closure makes one system call.
        unsafe {
            command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::KILL))?));
        }
        let child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", command.get_program().display()));
        Self {
            child,
            log: log.to_owned(),
        }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has written so far, the last 200 lines of it at most.
    pub fn log(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(200)..].join("\n")
    }

    /// # Panics
    /// When it is gone already.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("the process is there");
    }

    /// How it ended, unless it is still there after `patience`.
    pub fn ended_within(&mut self, patience: Duration) -> Option<ExitStatus> {
        let mut status = None;
        let _ = tools::wait_until(patience, || {
            status = self.child.try_wait().expect("it can be awaited");
            status.is_some()
        });
        status
    }

    pub fn kill(&mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(drop)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}
