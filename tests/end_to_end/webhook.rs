//! The receiver of Alertmanager's notifications: remembers what came, and when.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::tools::wait_until;

/// One alert of one notification.
#[derive(Clone, Debug)]
pub struct Notice {
    pub at: Instant,
    pub firing: bool,
    labels: Value,
    annotations: Value,
}

impl Notice {
    /// A label, empty without one.
    pub fn label(&self, name: &str) -> &str {
        self.labels[name].as_str().unwrap_or_default()
    }

    pub fn annotation(&self, name: &str) -> &str {
        self.annotations[name].as_str().unwrap_or_default()
    }
}

/// An HTTP server that takes one notification per connection, until the test ends.
pub struct Webhook {
    came: Arc<Mutex<Vec<Notice>>>,
}

impl Webhook {
    /// # Errors
    /// When the address cannot be had.
    pub fn at(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        let came: Arc<Mutex<Vec<Notice>>> = Arc::default();
        let ours = Arc::clone(&came);
        thread::spawn(move || {
            for stream in listener.incoming() {
                match stream.and_then(receive) {
                    Ok(notices) => ours.lock().unwrap().extend(notices),
                    Err(error) => eprintln!("webhook: {error}"),
                }
            }
        });
        Ok(Self { came })
    }

    pub fn came(&self) -> Vec<Notice> {
        self.came.lock().unwrap().clone()
    }

    /// The first notice that `wanted` accepts.
    ///
    /// # Panics
    /// When there is none within `patience`, with what came instead.
    pub fn wait(&self, what: &str, patience: Duration, wanted: impl Fn(&Notice) -> bool) -> Notice {
        let mut found = None;
        let in_time = wait_until(patience, || {
            found = self.came().into_iter().find(&wanted);
            found.is_some()
        });
        assert!(in_time, "not told of {what}, but of {:#?}", self.came());
        found.expect("it was found")
    }
}

fn receive(stream: TcpStream) -> io::Result<Vec<Notice>> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().map_err(io::Error::other)?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let at = Instant::now();
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    reader.get_mut().write_all(answer.as_bytes())?;
    let body: Value = serde_json::from_slice(&body)?;
    let alerts = body["alerts"].as_array().cloned().unwrap_or_default();
    let notice = |alert: Value| Notice {
        at,
        firing: alert["status"] == "firing",
        labels: alert["labels"].clone(),
        annotations: alert["annotations"].clone(),
    };
    Ok(alerts.into_iter().map(notice).collect())
}
