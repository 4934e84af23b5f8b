//! An exporter with a web configuration in a directory of its own.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::authority::{Authority, Client, Identity};
use crate::exporter::{DEFAULT, Exporter, address, patience};
use crate::support::http::Response;
use crate::support::{http, tools};

pub const TLS: &str = "tls_server_config:\n  cert_file: server.pem\n  key_file: server.key\n";

pub struct Scene {
    directory: TempDir,
    pub authority: Authority,
}

impl Scene {
    /// Writes a server's certificate, its key, and the authority's certificate.
    pub fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let authority = Authority::new("of the test");
        let scene = Self {
            directory,
            authority,
        };
        scene.install(&scene.authority.server());
        scene.write("ca.pem", &scene.authority.pem);
        scene
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// As a careful program does: another file, then a rename.
    pub fn write(&self, name: &str, text: &str) {
        let fresh = self.path("fresh");
        fs::write(&fresh, text).unwrap();
        fs::rename(fresh, self.path(name)).unwrap();
    }

    pub fn install(&self, server: &Identity) {
        self.write("server.key", &server.key);
        self.write("server.pem", &server.certificate);
    }

    /// The exporter with this web configuration, ready.
    pub fn start(&self, web_config: &str, arguments: &[&str]) -> Exporter {
        self.write("web.yml", web_config);
        let exporter = Exporter::from(command(&self.path("web.yml")).args(arguments));
        let is_up = || std::net::TcpStream::connect(server()).is_ok();
        assert!(
            tools::wait_until(patience(), is_up),
            "{}",
            exporter.process.log()
        );
        exporter
    }

    pub fn client(&self) -> Client<'_> {
        Client::of(&self.authority)
    }

    /// The status that a client without a certificate gets over TLS.
    pub fn status(&self, headers: &[&str]) -> Option<u16> {
        let answer = self.client().get(server(), "/metrics", headers);
        answer.ok().map(|answer| answer.status)
    }
}

pub fn command(web_config: &Path) -> Command {
    let mut command = Command::new(tools::exporter());
    command.arg("--web.config.file").arg(web_config);
    command
}

pub fn server() -> SocketAddr {
    address(DEFAULT)
}

/// Without TLS.
pub fn plain(path: &str, headers: &[&str]) -> Response {
    http::request(server(), "GET", path, headers).unwrap()
}
