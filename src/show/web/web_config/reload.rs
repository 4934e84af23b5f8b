//! The web configuration in force: read again when one of its files has changed, and kept
//! where the change is no good.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tokio_rustls::rustls::ServerConfig;

use super::file::{self, Users};
use super::files::Files;
use super::http::Headers;
use super::rate::Rate;
use super::tls;

/// What holds for a connection or a request.
#[derive(Debug)]
pub struct Settings {
    /// None for plain HTTP.
    pub tls: Option<Arc<ServerConfig>>,
    /// Who has no certificate is not let in.
    pub demands_certificate: bool,
    pub headers: Headers,
    /// Everybody may ask where there are none.
    pub users: Users,
    pub rate: Option<Rate>,
    /// What is otherwise than the file says.
    pub notes: Vec<String>,
}

#[derive(Debug)]
pub struct WebConfig {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    good: Arc<Settings>,
    /// The last look, be it at something good or not.
    files: Files,
    /// What was wrong at the last look.
    fault: Option<String>,
}

impl WebConfig {
    /// Reads the file and all that it names.
    ///
    /// # Errors
    /// One line: the file, the key, the reason, what to do.
    pub fn load(path: &Path) -> Result<Self, String> {
        let mut files = Files::default();
        let good = settings(path, &mut files)?;
        good.tell_notes();
        let state = State {
            good: Arc::new(good),
            files,
            fault: None,
        };
        Ok(Self {
            path: path.to_owned(),
            state: Mutex::new(state),
        })
    }

    /// What is in force now.
    pub fn current(&self) -> Arc<Settings> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.files.may_have_changed() {
            self.reread(&mut state);
        }
        Arc::clone(&state.good)
    }

    fn reread(&self, state: &mut State) {
        let mut files = Files::default();
        let read = settings(&self.path, &mut files);
        let is_new = !files.read_the_same(&state.files);
        state.files = files;
        if !is_new {
            return;
        }
        match read.and_then(|new| self.keeps_the_locks(&state.good, new)) {
            Ok(new) => {
                tracing::info!(
                    file = %self.path.display(),
                    tls = new.tls.is_some(),
                    users = new.users.len(),
                    "the web configuration has changed and is in force"
                );
                new.tell_notes();
                state.good = Arc::new(new);
                state.fault = None;
            }
            Err(fault) if state.fault.as_ref() == Some(&fault) => {}
            Err(fault) => {
                tracing::error!("{fault}; what was read before stays in force");
                state.fault = Some(fault);
            }
        }
    }

    /// A file is empty, or half there, for a moment while an editor writes it: that must open
    /// nothing.
    fn keeps_the_locks(&self, old: &Settings, new: Settings) -> Result<Settings, String> {
        let opens = if old.tls.is_some() && new.tls.is_none() {
            "TLS is switched off"
        } else if old.demands_certificate && !new.demands_certificate {
            "certificates of clients are given up"
        } else if !old.users.is_empty() && new.users.is_empty() {
            "basic_auth_users is emptied"
        } else {
            return Ok(new);
        };
        let path = self.path.display();
        Err(format!("{path}: {opens} by a restart alone"))
    }
}

impl Settings {
    fn tell_notes(&self) {
        for note in &self.notes {
            tracing::warn!("{note}");
        }
    }
}

/// What the file says, or one line about why not.
fn settings(path: &Path, files: &mut Files) -> Result<Settings, String> {
    let mut settings = read(path, files).map_err(|fault| one_line(&fault))?;
    for note in &mut settings.notes {
        *note = one_line(&format!("{}: {note}", path.display()));
    }
    Ok(settings)
}

/// A name in the file may have any character.
fn one_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}

fn read(path: &Path, files: &mut Files) -> Result<Settings, String> {
    let shown = path.display();
    let bytes = files
        .read(path)
        .map_err(|reason| format!("web.config_file: {reason}"))?;
    let text = String::from_utf8(bytes).map_err(|_| format!("{shown}: is not UTF-8 text"))?;
    let directory = path.parent().unwrap_or(Path::new("/"));
    let at_fault = |reason: String| format!("{shown}: {reason}");
    let file = file::parse(&text, directory).map_err(at_fault)?;
    let mut notes = Vec::new();
    let said = file.tls.as_ref();
    let server = said.map(|tls| tls::server(tls, files, &mut notes));
    Ok(Settings {
        tls: server.transpose().map_err(at_fault)?.map(Arc::new),
        demands_certificate: said.is_some_and(tls::demands_certificate),
        headers: file.headers,
        users: file.users,
        rate: file.rate,
        notes,
    })
}
